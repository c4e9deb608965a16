import asyncio
import io
import json
from typing import Any, cast

import httpx
import pytest
from quart import Request
from support.waiting import until
from werkzeug.datastructures import Headers

from serve.api.http.intake import PacedBody
from serve.api.http.upload import receive
from serve.api.wire.files import FileList, FileObject
from serve.store.blobs import Spool

URL = "/v1/files"
GOOD = "file-" + "0" * 22


def form(*parts: tuple[str, str | None, bytes], boundary: str = "b") -> bytes:
    """A form; a part is its name, its file name and its content."""
    written = [
        (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
            + ("" if filename is None else f'; filename="{filename}"')
            + "\r\n\r\n"
        ).encode()
        + content
        + b"\r\n"
        for name, filename, content in parts
    ]
    return b"".join(written) + f"--{boundary}--\r\n".encode()


PURPOSE = ("purpose", None, b"user_data")
FILE = ("file", "a.txt", b"hello")


async def call(house: Any, method: str, path: str, **more: Any) -> tuple[int, Any]:
    response = await house.app.test_client().open(path, method=method, **more)
    return response.status_code, json.loads(await response.get_data())


async def upload(house: Any, body: bytes, kind: str = "", **headers: str) -> tuple[int, Any]:
    kind = kind or "multipart/form-data; boundary=b"
    given = {"Content-Type": kind, **headers}
    return await call(house, "POST", URL, data=body, headers=given)


@pytest.mark.parametrize("parts", [(PURPOSE, FILE), (FILE, PURPOSE)])
async def test_an_upload_comes_back(storing: Any, parts: Any) -> None:
    house = storing()
    status, file = await upload(house, form(*parts))
    assert status == 200, file
    FileObject.model_validate(file)
    assert file["expires_at"] == file["created_at"] + 30 * 86_400
    assert {k: file[k] for k in ("bytes", "filename", "purpose", "object", "status")} == {
        "bytes": 5,
        "filename": "a.txt",
        "purpose": "user_data",
        "object": "file",
        "status": "processed",
    }
    assert await call(house, "GET", f"{URL}/{file['id']}") == (200, file)
    response = await house.get(f"{URL}/{file['id']}/content")
    assert await response.get_data() == b"hello"
    assert response.headers["Content-Length"] == "5"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Disposition"] == "attachment; filename*=UTF-8''a.txt"
    _, page = await call(house, "GET", URL)
    FileList.model_validate(page)
    assert page["data"] == [file]
    told = {"id": file["id"], "object": "file", "deleted": True}
    assert await call(house, "DELETE", f"{URL}/{file['id']}") == (200, told)
    assert (await call(house, "GET", f"{URL}/{file['id']}"))[0] == 404
    assert (await call(house, "GET", f"{URL}/{file['id']}/content"))[0] == 404


async def test_when_it_expires_can_be_said(storing: Any) -> None:
    house = storing()
    fields = (
        ("expires_after[anchor]", None, b"created_at"),
        ("expires_after[seconds]", None, b"3600"),
    )
    _, file = await upload(house, form(PURPOSE, *fields, FILE))
    assert file["expires_at"] == file["created_at"] + 3600


async def test_lists(storing: Any) -> None:
    house = storing()
    forms = [form(("purpose", None, p), FILE) for p in (b"user_data", b"vision", b"user_data")]
    ids = [(await upload(house, body))[1]["id"] for body in forms]
    _, page = await call(house, "GET", f"{URL}?limit=2")
    assert [file["id"] for file in page["data"]] == [ids[2], ids[1]]
    assert (page["first_id"], page["last_id"], page["has_more"]) == (ids[2], ids[1], True)
    _, page = await call(house, "GET", f"{URL}?purpose=user_data&order=asc&after={ids[0]}")
    assert [file["id"] for file in page["data"]] == [ids[2]]


async def test_one_key_sees_nothing_of_anothers(storing: Any) -> None:
    house = storing(settings={"api_keys": ("one", "two")})
    _, file = await upload(house, form(PURPOSE, FILE), Authorization="Bearer one")
    two = {"Authorization": "Bearer two"}
    assert (await call(house, "GET", URL, headers=two))[1]["data"] == []
    for method, path in (
        ("GET", "/{}"),
        ("GET", "/{}/content"),
        ("DELETE", "/{}"),
        ("GET", "?after={}"),
    ):
        answers = []
        for name in (file["id"], GOOD):
            status, told = await call(house, method, URL + path.format(name), headers=two)
            answers.append((status, json.dumps(told).replace(name, "ID")))
        assert answers[0] == answers[1]
        assert answers[0][0] in (400, 404)


async def test_limits(storing: Any) -> None:
    house = storing(settings={"max_file_bytes": 10, "max_files_bytes": 15})
    status, told = await upload(house, form(PURPOSE, ("file", "a", b"x" * 11)))
    assert (status, told["error"]["code"]) == (413, "request_too_large")
    status, told = await upload(house, form(PURPOSE, ("file", "a", b"x" * 1_000_000)))
    assert status == 413
    assert (await upload(house, form(PURPOSE, ("file", "a", b"x" * 10))))[0] == 200
    status, told = await upload(house, form(PURPOSE, ("file", "a", b"x" * 10)))
    assert (status, told["error"]["code"]) == (400, "files_too_large")
    assert len((await call(house, "GET", URL))[1]["data"]) == 1


UNKNOWN, VALUE, MISSING = "unknown_parameter", "invalid_value", "missing_required_parameter"
FORM = "invalid_form"
SECONDS = "expires_after[seconds]"
ANCHOR = ("expires_after[anchor]", None, b"created_at")


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (form(), "file", MISSING),
        (form(PURPOSE), "file", MISSING),
        (form(FILE), "purpose", MISSING),
        (form(("purpose", None, b"fun"), FILE), "purpose", VALUE),
        (form(("purpose", None, b""), FILE), "purpose", VALUE),
        (form(PURPOSE, PURPOSE, FILE), "purpose", VALUE),
        (form(PURPOSE, FILE, FILE), "file", VALUE),
        (form(PURPOSE, ("file", None, b"x")), "file", "invalid_type"),
        (form(PURPOSE, ("file", "", b"x")), "file", VALUE),
        (form(PURPOSE, ("file", "n" * 256, b"x")), "file", VALUE),
        (form(PURPOSE, ("document", "a", b"x")), "document", UNKNOWN),
        (form(PURPOSE, ("more", None, b"x"), FILE), "more", UNKNOWN),
        (form(("purpose", None, b"x" * 2000), FILE), "purpose", "string_above_max_length"),
        (form(PURPOSE, ("expires_after", None, b"1"), FILE), "expires_after", "invalid_type"),
        (form(PURPOSE, ANCHOR, FILE), "expires_after.seconds", MISSING),
        (form(PURPOSE, (SECONDS, None, b"3600"), FILE), "expires_after.anchor", MISSING),
        (
            form(PURPOSE, ANCHOR, (SECONDS, None, b"3599"), FILE),
            "expires_after.seconds",
            "integer_below_min_value",
        ),
        (
            form(PURPOSE, ANCHOR, (SECONDS, None, b"2592001"), FILE),
            "expires_after.seconds",
            "integer_above_max_value",
        ),
        (form(PURPOSE, *[("a", None, b"")] * 8, FILE), None, FORM),
        (form(PURPOSE, FILE)[:-20], None, FORM),
        (b"", None, FORM),
        (b"nothing like a form", None, FORM),
        (b"--b\r\nX: " + b"x" * 600_000, None, FORM),
        (b"--b\r\nX: y\r\n\r\nx\r\n--b--\r\n", None, FORM),
        (b'--b\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--b--\r\n', None, FORM),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", None, FORM),
        (form(("purpose", None, b"\xff"), FILE), None, FORM),
    ],
)
async def test_malformed_forms(storing: Any, body: bytes, param: str | None, code: str) -> None:
    house = storing()
    status, told = await upload(house, body)
    assert (status, told["error"]["code"]) == (400, code), told
    if param is not None:
        assert told["error"]["param"] == param
    assert (await call(house, "GET", URL))[1]["data"] == []


@pytest.mark.parametrize(
    ("kind", "headers"),
    [
        ("application/json", {}),
        ("multipart/form-data", {}),
        ("multipart/form-data; boundary=" + "b" * 71, {}),
        ("multipart/form-data; boundary=b", {"Content-Encoding": "gzip"}),
        ("multipart/form-data; boundary=\u00e9", {}),
    ],
)
async def test_uploads_are_forms(storing: Any, kind: str, headers: Any) -> None:
    status, told = await upload(storing(), form(PURPOSE, FILE), kind, **headers)
    assert (status, told["error"]["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("path", "status", "param"),
    [
        ("?limit=10001", 400, "limit"),
        ("?limit=0", 400, "limit"),
        ("?order=up", 400, "order"),
        ("?purpose=fun", 400, "purpose"),
        ("?after=file-x", 400, "after"),
        (f"?after={GOOD}", 400, "after"),
        ("?more=1", 400, "more"),
        (f"/{GOOD}", 404, None),
        ("/nothing", 404, None),
        (f"/{GOOD}/content", 404, None),
        ("/..%2f..%2fetc%2fpasswd/content", 404, None),
    ],
)
async def test_malformed_calls(storing: Any, path: str, status: int, param: str | None) -> None:
    given, told = await call(storing(), "GET", URL + path)
    assert (given, told["error"]["param"]) == (status, param)


async def test_long_uploads_are_held_in_no_memory(storing: Any, listening: Any) -> None:
    house = storing(settings={"max_body_bytes": 1024})
    content = bytes(range(256)) * 4096 * 12

    async def slowly() -> Any:
        body = form(PURPOSE, ("file", "a", content))
        for start in range(0, len(body), 2**20):
            yield body[start : start + 2**20]

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    async with listening(house.app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        response = await client.post(URL, content=slowly(), headers=kind)
        assert response.status_code == 200, response.text
        file = response.json()
        assert file["bytes"] == len(content)
        assert (await client.get(f"{URL}/{file['id']}/content")).content == content
        # The framework's own bound still holds elsewhere.
        long = {"model": "tiny", "messages": [{"role": "user", "content": "x" * 2000}]}
        assert (await client.post("/v1/chat/completions", json=long)).status_code == 413


async def test_an_uploader_waits_for_the_disk(
    storing: Any, listening: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = [0]
    append, write = PacedBody.append, Spool.write

    def watched(body: Any, data: bytes) -> None:
        append(body, data)
        held.append(len(body._data))

    async def slow(spool: Any, data: bytes) -> None:
        await asyncio.sleep(0.001)
        await write(spool, data)

    monkeypatch.setattr(PacedBody, "append", watched)
    monkeypatch.setattr(Spool, "write", slow)
    house = storing()
    async with listening(house.app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        sent = {"file": ("a", b"x" * 8_000_000)}
        response = await client.post(URL, data={"purpose": "user_data"}, files=sent)
        assert response.status_code == 200
    assert 0 < max(held) < 1_000_000


async def test_whoever_leaves_amid_an_upload_leaves_nothing(
    storing: Any, listening: Any, tmp_path: Any
) -> None:
    house = storing()
    async with listening(house.app) as url:
        host, port = url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        body = form(PURPOSE, ("file", "a", b"x" * 600_000))
        head = (
            f"POST {URL} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
            f"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        )
        writer.write(head.encode() + body[:500_000])
        await writer.drain()
        directory = tmp_path / "s.sqlite.files"
        await until(lambda: directory.is_dir() and any(directory.iterdir()))
        writer.close()
        await until(lambda: not any(directory.iterdir()))


@pytest.mark.parametrize("steps", range(5))
async def test_whoever_leaves_as_more_comes_is_not_waited_for(steps: int) -> None:
    request = Request(
        "POST",
        "http",
        URL,
        b"",
        Headers({"Content-Type": "multipart/form-data; boundary=b"}),
        "",
        "1.1",
        cast("Any", {}),
        send_push_promise=cast("Any", None),
    )
    taking = asyncio.create_task(receive(request, Spool(io.BytesIO()), 2**20, 60))
    for data in (b"--b\r\n", b"Content-"):
        request.body.append(data)
        await asyncio.sleep(0.01)
    request.body.append(b"Disposition")
    # Somewhere among these steps of the loop, what is waited for is there and not yet taken.
    for _ in range(steps):
        await asyncio.sleep(0)
    taking.cancel()
    await asyncio.wait([taking], timeout=5)
    assert taking.cancelled()


async def test_the_key_is_asked_for_before_the_file(storing: Any, listening: Any) -> None:
    house = storing(settings={"api_keys": ("one",)})
    async with listening(house.app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        sent = {"file": ("a", b"x" * 3_000_000)}
        response = await client.post(URL, data={"purpose": "user_data"}, files=sent)
        assert response.status_code == 401
