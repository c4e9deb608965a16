"""What strangers name is fetched from the public internet alone, and within bounds."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.certificates import self_signed
from support.image_server import (
    Answer,
    ImageServer,
    drop_by_drop,
    image_server,
    raw,
    redirect,
    response,
)

from serve.media.errors import MediaError
from serve.media.fetcher import FetchLimits, ImageFetcher

# In these tests one address of this machine is of the public internet, and no other.
PUBLIC, PRIVATE = "127.0.0.1", "127.0.0.2"
NAMES = {
    "pictures.example": [PUBLIC],
    "other.example": [PUBLIC],
    "private.example": [PRIVATE],
    "both.example": [PRIVATE, PUBLIC],
    "nowhere.example": [],
}


async def resolve(host: str, port: int) -> list[str]:
    return NAMES[host]


@asynccontextmanager
async def fetching(server: ImageServer, **settings: Any) -> AsyncIterator[ImageFetcher]:
    limits = {"ports": frozenset({server.port, server.port + 1}), "seconds": 20.0}
    keywords: dict[str, Any] = {"resolve": resolve, "public": PUBLIC.__eq__}
    for name in ("resolve", "public", "trusted"):
        if name in settings:
            keywords[name] = settings.pop(name)
    fetcher = ImageFetcher(FetchLimits(**(limits | settings)), **keywords)
    try:
        yield fetcher
    finally:
        await fetcher.close()


async def fetched(server: ImageServer, path: str = "/", **settings: Any) -> bytes:
    host = settings.pop("host", "pictures.example")
    scheme = "https" if "trusted" in settings else "http"
    async with fetching(server, **settings) as fetcher:
        return await fetcher.fetch(httpx.URL(f"{scheme}://{host}:{server.port}{path}"))


async def refused(server: ImageServer, path: str = "/", **settings: Any) -> MediaError:
    with pytest.raises(MediaError) as fault:
        await fetched(server, path, **settings)
    return fault.value


async def test_a_picture_comes_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.3:9")
    async with image_server() as server:
        server.answers["/cat.png?size=2"] = response(b"\x89PNG", "Set-Cookie: known=1; Path=/")
        async with fetching(server) as fetcher:
            url = httpx.URL(f"http://pictures.example:{server.port}/cat.png?size=2#ears")
            assert [await fetcher.fetch(url) for _ in range(2)] == [b"\x89PNG"] * 2
    for head in server.asked:
        assert head.startswith("GET /cat.png?size=2 HTTP/1.1\r\n")
        names = {line.split(":")[0].lower() for line in head.splitlines()[1:] if line}
        assert names == {"host", "user-agent", "accept", "accept-encoding", "connection"}
        assert f"Host: pictures.example:{server.port}\r\n" in head
        assert "Accept-Encoding: identity\r\n" in head


async def test_pieces_are_put_together() -> None:
    chunks = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    async with image_server() as server:
        server.answers["/"] = raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        assert await fetched(server) == b"abcde"


@pytest.mark.parametrize("host", ["private.example", "nowhere.example"])
async def test_private_addresses_are_not_connected_to(host: str) -> None:
    async with image_server() as server, image_server(PRIVATE, server.port) as private:
        fault = await refused(server, host=host)
        assert "no address on the public internet" in fault.reason
        assert (server.asked, private.asked) == ([], [])


async def test_of_a_names_addresses_the_public_ones_are_taken() -> None:
    async with image_server() as server, image_server(PRIVATE, server.port) as private:
        server.answers["/"] = response(b"abc")
        assert await fetched(server, host="both.example") == b"abc"
        assert private.asked == []


async def test_a_name_that_changes_its_address_is_asked_once() -> None:
    answers = iter([[PUBLIC], [PRIVATE]])

    async def changing(host: str, port: int) -> list[str]:
        return next(answers)

    async with image_server() as server, image_server(PRIVATE, server.port) as private:
        server.answers["/"] = response(b"abc")
        assert await fetched(server, resolve=changing) == b"abc"
        # The second answer is still there: nobody asked for it.
        assert next(answers) == [PRIVATE]
        assert private.asked == []


async def test_a_redirect_is_a_new_address() -> None:
    answers = iter([[PUBLIC], [PRIVATE]])

    async def changing(host: str, port: int) -> list[str]:
        return next(answers)

    async with image_server() as server, image_server(PRIVATE, server.port) as private:
        server.answers["/"] = redirect("/again")
        fault = await refused(server, resolve=changing)
        assert "no address on the public internet" in fault.reason
        assert (server.paths, private.asked) == (["/"], [])


@pytest.mark.parametrize(
    "to",
    [
        "http://private.example:{port}/",
        "http://127.0.0.2:{port}/",
        "//private.example:{port}/",
        "http://user:word@pictures.example:{port}/",
        "file:///etc/passwd",
        "ftp://pictures.example/",
        "data:image/png;base64,AAAA",
        "http://pictures.example:22/",
        "http://pictures.example:0/",
        "http://[",
        "",
    ],
)
async def test_redirects_lead_nowhere_else(to: str) -> None:
    async def numeric(host: str, port: int) -> list[str]:
        return NAMES.get(host, [host])

    async with image_server() as server, image_server(PRIVATE, server.port) as private:
        server.answers["/"] = redirect(to.format(port=server.port))
        fault = await refused(server, resolve=numeric)
        assert fault.code == "failed_to_download_image"
        assert private.asked == []


async def test_few_redirects_are_followed() -> None:
    async with image_server() as server:
        for number, status in enumerate(["301 A", "302 B", "307 C", "308 D"]):
            server.answers[f"/{number}"] = redirect(f"{number + 1}", status)
        server.answers["/4"] = response(b"abc")
        assert await fetched(server, "/1") == b"abc"
        fault = await refused(server, "/0")
        assert "redirected more than 3 times" in fault.reason
        assert server.paths == ["/1", "/2", "/3", "/4", "/0", "/1", "/2", "/3"]


async def test_ports_are_those_of_the_web() -> None:
    async with image_server() as server:
        fault = await refused(server, ports=FetchLimits().ports)
        assert "allowed are 80, 443" in fault.reason
        assert server.asked == []


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f000001", "localhost", "[::ffff:127.0.0.1]", "[::1]"]
)
async def test_other_spellings_of_this_machine_are_seen_through(host: str) -> None:
    async with image_server() as server:
        limits = FetchLimits(ports=frozenset({server.port}), seconds=20)
        fetcher = ImageFetcher(limits)
        with pytest.raises(MediaError, match="no address on the public internet"):
            await fetcher.fetch(httpx.URL(f"http://{host}:{server.port}/"))
        await fetcher.close()
        assert server.asked == []


LARGE = 50 * 2**20


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE,
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % LARGE,
    ],
)
async def test_fifty_megabytes_are_too_many(head: bytes) -> None:
    async with image_server() as server:
        server.answers["/"] = raw(head + bytes(LARGE))
        fault = await refused(server)
        assert fault.code == "image_file_too_large"
        # The rest was not taken.
        await asyncio.wait_for(server.left.wait(), 20)


async def test_the_limit_holds_at_its_border() -> None:
    async with image_server() as server:
        server.answers["/"] = response(b"abc")
        assert await fetched(server, file_bytes=3) == b"abc"
        assert (await refused(server, file_bytes=2)).code == "image_file_too_large"


SLOW: dict[str, Answer] = {
    "a head without end": drop_by_drop(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10_000),
    "a body without end": drop_by_drop(b"HTTP/1.1 200 OK\r\n\r\n" + b"y" * 10_000, 0.001),
    "nothing": drop_by_drop(b"H", 1000),
}


@pytest.mark.parametrize("name", SLOW)
async def test_slow_servers_are_left(name: str) -> None:
    async with image_server() as server:
        server.answers["/"] = SLOW[name]
        fault = await refused(server, seconds=0.3)
        assert "took more than 0.3 seconds" in fault.reason
        await asyncio.wait_for(server.left.wait(), 20)


@pytest.mark.timeout(30)
async def test_redirects_take_from_one_time() -> None:
    async def late(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        await redirect("/")(writer)

    async with image_server() as server:
        server.answers["/"] = late
        fault = await refused(server, seconds=0.5, redirects=1_000_000)
        assert "took more" in fault.reason


async def test_slow_names_are_left() -> None:
    async def slow(host: str, port: int) -> list[str]:
        await asyncio.sleep(1000)
        return [PUBLIC]

    async with image_server() as server:
        assert "took more" in (await refused(server, resolve=slow, seconds=0.2)).reason


ANSWERS: dict[str, tuple[Answer, str]] = {
    "not found": (response(b"abc", status="404 Not Found"), "the status 404"),
    "no content": (response(b"", status="204 No Content"), "the status 204"),
    "a redirect to nowhere": (response(b"", status="302 Found"), "the status 302"),
    "packed": (response(gzip.compress(bytes(10**6)), "Content-Encoding: gzip"), "compressed"),
    "packed twice": (response(b"abc", "Content-Encoding: gzip, gzip"), "compressed"),
    "nothing": (raw(b""), "did not answer as HTTP wants it"),
    "no HTTP": (raw(b"SSH-2.0-OpenSSH_9.6\r\n"), "did not answer as HTTP wants it"),
    "a head of a megabyte": (response(b"abc", "X: " + "y" * 10**6), "did not answer as HTTP"),
    "half": (response(b"abc", length=6), "broke off"),
    "a broken chunk": (
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n?\r\n"),
        "broke off",
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_odd_answers_are_told_of(name: str) -> None:
    answer, reason = ANSWERS[name]
    async with image_server() as server:
        server.answers["/"] = answer
        fault = await refused(server)
        assert reason in fault.reason
        assert fault.code == "failed_to_download_image"


async def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    async def two(host: str, port: int) -> list[str]:
        return [PRIVATE, PUBLIC]

    async def none(host: str, port: int) -> list[str]:
        return [PRIVATE]

    async with image_server() as server:
        server.answers["/"] = response(b"abc")
        everywhere: Callable[[str], bool] = lambda address: True  # noqa: E731
        assert await fetched(server, resolve=two, public=everywhere) == b"abc"
        fault = await refused(server, resolve=none, public=everywhere)
        assert "does not answer" in fault.reason


async def test_names_that_nobody_knows_are_told_of() -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    async with image_server() as server:
        assert (
            "no address on the public internet" in (await refused(server, resolve=unknown)).reason
        )


async def test_certificates_are_checked_for_the_name(tmp_path: Path) -> None:
    chain, key = self_signed(tmp_path, "DNS:pictures.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    trusting = ssl.create_default_context(cafile=chain)
    async with image_server(context=context) as server:
        server.answers["/"] = response(b"abc")
        assert await fetched(server, trusted=trusting) == b"abc"
        # The same server under a name that its certificate does not have.
        fault = await refused(server, trusted=trusting, host="other.example")
        assert "certificate" in fault.reason
        fault = await refused(server, trusted=ssl.create_default_context())
        assert "certificate" in fault.reason
        assert len(server.asked) == 1


async def test_whoever_cancels_ends_the_connection() -> None:
    async with image_server() as server, fetching(server) as fetcher:
        server.answers["/"] = drop_by_drop(b"HTTP/1.1 200 OK\r\n\r\n" + b"y" * 10_000)
        url = httpx.URL(f"http://pictures.example:{server.port}/")
        task = asyncio.create_task(fetcher.fetch(url))
        await asyncio.wait_for(server.visited.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.left.wait(), 20)
