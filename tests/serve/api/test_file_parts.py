"""Files of requests on their way into the prompt."""

import base64
import json
import time
from typing import Any

import pytest
from support.documents import drawn_pdf, pdf, picture, stream
from support.moderation_server import moderation_server
from support.seeing import CONTROLS, data_url, file, image, seeing_house, text

from serve.filter.content_filter import ContentFilter
from serve.filter.moderation_settings import ModerationSettings
from serve.filter.rules import Category

URL = "/v1/chat/completions"
START, PAD, END = (f"[[{name}]]" for name in CONTROLS)
NOTES = base64.b64encode(b"Buy milk.\n").decode()
SHOWN = 'File "notes.txt" (text):\n```\nBuy milk.\n```\n'
PART = file(filename="notes.txt", file_data=NOTES)


def user(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


async def asked(house: Any, *parts: Any, key: str = "", **fields: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    body = {"model": "tiny", "messages": user(*parts), **fields}
    response = await house.post(body, **headers)
    return response.status_code, await response.get_json()


async def refused(house: Any, *parts: Any, key: str = "") -> tuple[int, str, str, str]:
    status, told = await asked(house, *parts, key=key)
    error = told["error"]
    return status, error["code"], error["param"], error["message"]


async def upload(house: Any, name: str, content: bytes, key: str) -> str:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="'
        + name.encode()
        + b'"\r\n\r\n'
        + content
        + b"\r\n--b--\r\n"
    )
    headers = {
        "Content-Type": "multipart/form-data; boundary=b",
        "Authorization": f"Bearer {key}",
    }
    client = house.app.test_client()
    response = await client.post("/v1/files", data=body, headers=headers)
    return (await response.get_json())["id"]


async def test_a_file_stands_in_its_place_on_lines_of_its_own(house: Any) -> None:
    prompt = await house.prompt_of(user(text("Read this:"), PART, text("What to buy?")))
    assert f"user\nRead this:\n{SHOWN}What to buy?[[<|im_end|>]]" in prompt
    prompt = await house.prompt_of(user(PART, PART))
    assert f"user\n{SHOWN}{SHOWN}[[<|im_end|>]]" in prompt


async def test_a_template_that_trims_parts_joins_no_lines(make_house: Any) -> None:
    trimming = (
        "{% for m in messages %}<|im_start|>{% if m.content is string %}{{ m.content }}{% else %}"
        "{% for part in m.content %}{{ part.text | trim }}{% endfor %}{% endif %}<|im_end|>"
        "{% endfor %}"
    )
    house = make_house(template=trimming)
    prompt = await house.prompt_of(user(text("Read this:"), PART, text("What to buy?")))
    assert f"Read this:\n{SHOWN}What to buy?[[<|im_end|>]]" in prompt


async def test_what_a_file_spells_stays_text(house: Any) -> None:
    said = base64.b64encode(b"<|im_end|>").decode()
    prompt = await house.prompt_of(user(file(file_data=said)))
    assert "```\n<|im_end|>\n```" in prompt


async def test_a_long_file_goes_to_a_worker(make_house: Any) -> None:
    words = "".join(f"line {n}\n" for n in range(2_000))
    part = file(filename="l.txt", file_data=data_url(words.encode(), "text/plain"))
    house = make_house(context_length=100_000)
    assert words in await house.prompt_of(user(part))


SCANNED = file(filename="s.pdf", file_data=base64.b64encode(pdf("One.", picture())).decode())


async def test_pages_without_text_are_pictures_for_a_model_that_sees(make_house: Any) -> None:
    house = seeing_house(make_house)
    prompt = await house.prompt_of(user(image(64, 32), SCANNED, text("Well?")))
    request = house.engine.request
    assert len(request.images) == 2
    before, _, after = prompt.partition("Page 2 is this picture:\n")
    assert before.endswith(f'{END}File "s.pdf" (PDF, 2 pages)\nPage 1:\n```\nOne.\n```\n')
    assert after.startswith(f"{START}{PAD * request.images[1].tokens}{END}Well?")
    assert request.images[1].tokens > 100
    assert [each.start for each in request.images] == [
        request.prompt.index(house.tokenizer.controls["<|vision_start|>"]) + 1,
        len(request.prompt)
        - request.prompt[::-1].index(house.tokenizer.controls["<|vision_start|>"]),
    ]


async def test_a_request_has_pages_as_pictures_up_to_a_limit(make_house: Any) -> None:
    scans = base64.b64encode(pdf(*[picture()] * 16)).decode()
    house = seeing_house(make_house, context_length=100_000)
    parts = [file(filename="a.pdf", file_data=scans), SCANNED]
    prompt = await house.prompt_of(user(*parts))
    assert len(house.engine.request.images) == 16
    assert prompt.endswith(
        "Page 2 cannot be read: it has no readable text.\n[[<|im_end|>]]\n"
        "[[<|im_start|>]]assistant\n"
    )


async def test_a_page_that_the_model_cannot_look_at_is_told_at_its_file(make_house: Any) -> None:
    long = drawn_pdf(stream(b"0 0 m 9 9 l S"), box=b"0 0 100000000 0.001")
    for content, room, answer in (
        (long, 4096, (400, "invalid_image", "messages[0].content[1]")),
        (pdf(picture()), 9, (413, "image_too_large", "messages[0].content[1]")),
    ):
        house = seeing_house(make_house, image_tokens=room)
        part = file(file_data=base64.b64encode(content).decode())
        assert (await refused(house, text("A"), part))[:3] == answer


async def test_pages_without_text_are_named_to_a_model_that_does_not_see(house: Any) -> None:
    prompt = await house.prompt_of(user(SCANNED))
    assert "Page 2 cannot be read: it has no readable text.\n" in prompt


async def test_an_uploaded_file_is_its_owners_alone(storing: Any) -> None:
    house = storing(settings={"api_keys": ("one", "two")})
    name = await upload(house, "notes.txt", b"Buy milk.\n", "one")
    status, told = await asked(house, file(file_id=name), key="one")
    assert status == 200, told
    assert SHOWN in house.tokenizer.spell(house.engine.request.prompt)
    status, told = await asked(house, file(file_id=name, filename="other.txt"), key="one")
    assert 'File "other.txt"' in house.tokenizer.spell(house.engine.request.prompt)
    place = "messages[0].content[1]"
    for given in (name, "file-" + "0" * 22, "../etc/passwd", "x" * 50):
        answer = await refused(house, text("A"), file(file_id=given), key="two")
        assert answer[:3] == (400, "file_not_found", place)
        assert answer[3].startswith(f"Invalid '{place}': you have no file '{given}'. It may have")


async def test_a_file_that_goes_while_it_is_read_is_like_none(
    storing: Any, monkeypatch: Any
) -> None:
    async def half(self: Any, file_id: str) -> bytes:
        return b"Buy"

    house = storing(settings={"api_keys": ("one",)})
    name = await upload(house, "notes.txt", b"Buy milk.\n", "one")
    monkeypatch.setattr("serve.api.http.uploaded.UploadedFiles.content", half)
    assert (await refused(house, file(file_id=name), key="one"))[:2] == (400, "file_not_found")


async def test_an_expired_file_is_like_none(storing: Any, monkeypatch: Any) -> None:
    house = storing(settings={"api_keys": ("one",)})
    name = await upload(house, "notes.txt", b"Buy milk.\n", "one")
    now = time.time()
    monkeypatch.setattr("serve.store.files.time.time", lambda: now + 40 * 86_400)
    assert (await refused(house, file(file_id=name), key="one"))[:2] == (400, "file_not_found")


async def test_a_server_without_a_store_says_so(house: Any) -> None:
    status, code, param, message = await refused(house, file(file_id="file-" + "0" * 22))
    assert (status, code) == (400, "unsupported_parameter")
    assert param == "messages[0].content[0].file.file_id"
    assert "--store" in message


async def test_stored_completions_keep_parts_as_they_were_sent(storing: Any) -> None:
    house = storing()
    status, told = await asked(house, text("A"), PART, store=True)
    assert status == 200, told
    response = await house.get(f"{URL}/{told['id']}/messages")
    [message] = (await response.get_json())["data"]
    assert message["content_parts"] == [text("A"), PART]
    assert message["content"] is None


async def test_the_content_filter_searches_files(make_house: Any) -> None:
    house = make_house(content_filter=ContentFilter([Category("dairy", ("milk",))]))
    answer = await refused(house, text("A"), PART)
    assert answer[:3] == (400, "content_filter", "messages[0].content[1]")
    assert (await refused(house, text("milk"), PART))[2] == "messages[0].content"
    assert house.engine.generations == []


async def test_files_are_judged_too(make_house: Any) -> None:
    with moderation_server() as judge:
        moderation = ModerationSettings(judge.url, "sk-judge")
        house = make_house(settings={"moderation": moderation})
        await house.app.startup()
        await asked(house, text("Read:"), PART)
        await house.app.shutdown()
        said = json.dumps(judge.asked)
    assert "Buy milk." in said


LIMITS = {
    "max_document_bytes": 4_000,
    "max_document_pages": 2,
    "max_document_characters": 2_000,
}
LINES = data_url(b"a line\n" * 200, "text/plain")
TOO_MUCH = [
    ([file(file_data=base64.b64encode(b"x" * 4_001).decode())], 413, "file_too_large", 0),
    ([file(file_data=base64.b64encode(pdf("1", "2", "3")).decode())], 413, "file_too_large", 0),
    ([file(file_data=base64.b64encode(b"x" * 2_001).decode())], 413, "file_too_large", 0),
    ([file(file_data=LINES)] * 3, 413, "file_too_large", 1),
    ([PART] * 33, 400, "array_above_max_length", 32),
]


@pytest.mark.parametrize(("parts", "status", "code", "place"), TOO_MUCH)
async def test_limits_are_those_of_the_settings(
    make_house: Any, parts: Any, status: int, code: str, place: int
) -> None:
    answer = await refused(make_house(settings=LIMITS), *parts)
    assert answer[:3] == (status, code, f"messages[0].content[{place}]")
