"""Pictures of requests on their way to the engine."""

import io
import json
from functools import partial
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.image_server import image_server, response
from support.seeing import (
    CONTROLS,
    GEMMA,
    PROCESSOR,
    TEMPLATE,
    data_url,
    image,
    png,
    seeing_house,
    text,
)

from serve import gathering
from serve.api.asking import prepare
from serve.media.fetcher import FetchLimits, ImageFetcher
from serve.media.images import read_picture
from serve.media.limits import PictureLimits
from serve.media.public import is_public

START, PAD, END = (f"[[{name}]]" for name in CONTROLS)


@pytest.fixture
def seeing(make_house: Any) -> Any:
    return seeing_house(make_house)


def user(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


async def error_of(house: Any, *parts: Any) -> tuple[int, str, str, str]:
    response = await house.post({"model": "tiny", "messages": user(*parts)})
    error = (await response.get_json())["error"]
    return response.status_code, error["code"], error["param"], error["message"]


async def test_pictures_stand_in_the_prompt_and_reach_the_engine(seeing: Any) -> None:
    prompt = await seeing.prompt_of(
        user(text("A"), image(64, 32), text("B"), image(32, 96, detail="high"))
    )
    assert f"A{START}{PAD * 2}{END}B{START}{PAD * 3}{END}[[<|im_end|>]]" in prompt
    request = seeing.engine.request
    token = seeing.tokenizer.controls["<|image_pad|>"]
    assert [each.tokens for each in request.images] == [2, 3]
    for each in request.images:
        assert request.prompt[each.start : each.start + each.tokens] == [token] * each.tokens
        assert request.prompt[each.start - 1] == seeing.tokenizer.controls["<|vision_start|>"]
    [expected] = PROCESSOR(read_picture(png(64, 32), PictureLimits()), "auto")
    assert np.array_equal(request.images[0].patches, expected.patches)
    assert request.images[0].digest == expected.digest
    assert request.images[0].grid == (2, 4)


async def test_usage_counts_the_tokens_of_pictures(seeing: Any) -> None:
    answers = [
        await (await seeing.post({"model": "tiny", "messages": user(text("A"), each)})).get_json()
        for each in (image(32, 32), image(320, 32))
    ]
    one, ten = (answer["usage"]["prompt_tokens"] for answer in answers)
    assert ten - one == 9
    assert one == len(seeing.engine.generations[0].request.prompt)


async def test_equal_pictures_have_equal_digests(seeing: Any) -> None:
    other = {"type": "image_url", "image_url": {"url": data_url(png(64, 32, (0, 0, 9)))}}
    await seeing.prompt_of(user(image(), other, image()))
    first, second, third = (each.digest for each in seeing.engine.request.images)
    assert first == third != second


async def test_a_spelling_in_a_message_stays_text(seeing: Any) -> None:
    said = "<|vision_start|><|image_pad|><|vision_end|>"
    prompt = await seeing.prompt_of(user(text(said), image(32, 32), text(said)))
    assert f"{said}{START}{PAD}{END}{said}" in prompt
    assert len(seeing.engine.request.images) == 1


async def test_a_long_body_goes_to_a_worker_and_back(seeing: Any) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (64, 96, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    assert len(file.getvalue()) > 8_000
    part = {"type": "image_url", "image_url": {"url": data_url(file.getvalue())}}
    prompt = await seeing.prompt_of(user(text("See"), part))
    assert f"See{START}{PAD * 6}{END}" in prompt
    [got] = seeing.engine.request.images
    assert got.tokens == 6
    assert got.patches.shape == (24, 1536)


async def test_gemma_writes_a_picture_apart(make_house: Any) -> None:
    template = TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", "<|vision_start|>")
    house = seeing_house(make_house, template=template, sight=GEMMA)
    prompt = await house.prompt_of(user(text("A"), image(64, 32), text("B")))
    assert f"A\n\n{START}{PAD * 2}{END}\n\nB" in prompt


_STRINGS = "{% for m in messages %}<|im_start|>{{ m.content + '' }}<|im_end|>{% endfor %}"


@pytest.mark.parametrize("template", [_STRINGS, TEMPLATE.replace("<|image_pad|>", "")])
async def test_a_template_without_pictures_is_named(make_house: Any, template: str) -> None:
    house = seeing_house(make_house, template=template)
    status, code, param, message = await error_of(house, image())
    assert (status, code, param) == (400, "invalid_value", "messages")
    assert "images" in message


async def test_a_model_that_does_not_see_refuses_by_name(house: Any) -> None:
    status, code, param, message = await error_of(house, text("A"), image())
    assert (status, code, param) == (400, "unsupported_parameter", "messages[0].content[1]")
    assert "'image_url'" in message
    assert "does not see" in message


async def test_without_the_extra_it_is_named(make_house: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("serve.media.extra.find_spec", lambda name: None)
    for part in (image(), {"type": "file", "file": {"file_data": "aGk="}}):
        status, code, param, message = await error_of(make_house(), part)
        assert (status, code, param) == (400, "unsupported_parameter", "messages[0].content[0]")
        assert "extra media" in message


async def test_an_address_is_fetched_only_where_that_is_on(make_house: Any) -> None:
    part = {"type": "image_url", "image_url": {"url": "http://pictures.example/a.png"}}
    status, code, param, message = await error_of(seeing_house(make_house), part)
    assert (status, code, param) == (400, "invalid_image_url", "messages[0].content[0]")
    assert "--fetch-images" in message


async def test_fetched_pictures_come_from_where_the_fetcher_may_go(
    make_house: Any, monkeypatch: Any
) -> None:
    async def here(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async with image_server() as server:
        server.answers["/a.png"] = response(png(96, 64))
        url = f"http://pictures.example:{server.port}/a.png"
        part = {"type": "image_url", "image_url": {"url": url}}
        monkeypatch.setattr(gathering, "FetchLimits", partial(FetchLimits, ports={server.port}))
        for public, answer in (
            (is_public, (400, "failed_to_download_image", "messages[0].content[0]")),
            (bool, (200, 6, 1)),
        ):
            fetcher = partial(ImageFetcher, resolve=here, public=public)
            monkeypatch.setattr(gathering, "ImageFetcher", fetcher)
            house = seeing_house(make_house, settings={"fetch_images": True})
            got = await house.post({"model": "tiny", "messages": user(part)})
            if got.status_code == 200:
                told: Any = (200, house.engine.request.images[0].tokens, len(server.asked))
            else:
                error = (await got.get_json())["error"]
                told = (got.status_code, error["code"], error["param"])
            assert told == answer


async def test_limits_are_those_of_the_settings(make_house: Any) -> None:
    settings = {"max_images": 2, "max_image_bytes": 2_000, "max_image_pixels": 10_000}
    house = seeing_house(make_house, settings=settings)
    status, code, param, _ = await error_of(house, *[image(32, 32)] * 3)
    assert (status, code, param) == (400, "array_above_max_length", "messages[0].content[2]")
    status, code, param, _ = await error_of(house, image(32, 32), image(320, 320))
    assert (status, code, param) == (413, "image_too_large", "messages[0].content[1]")
    long = {"type": "image_url", "image_url": {"url": data_url(b"\0" * 2_100)}}
    assert (await error_of(house, long))[:2] == (413, "image_file_too_large")


async def test_a_prompt_of_pictures_that_is_too_long_says_so(make_house: Any) -> None:
    house = seeing_house(make_house, context_length=60)
    for parts in ([image(320, 160)] * 2, [*[image(320, 160)] * 2, image(url="nothing")]):
        status, code, param, message = await error_of(house, *parts)
        assert (status, code, param) == (400, "context_length_exceeded", "messages")
        assert "resulted in more than 60 tokens" in message


@pytest.mark.parametrize("room", [{"image_tokens": 60}, {"context_length": 60}])
async def test_a_picture_that_never_fits_is_refused_before_the_engine_sees_it(
    make_house: Any, room: Any
) -> None:
    house = seeing_house(make_house, **room)
    status, code, param, message = await error_of(house, image(32, 32), image(320, 320))
    assert (status, code, param) == (413, "image_too_large", "messages[0].content[1]")
    assert "becomes 100 tokens, and one may become 60 here" in message
    assert house.engine.generations == []


async def test_what_waits_for_the_answer_keeps_no_picture(seeing: Any, monkeypatch: Any) -> None:
    kept: list[Any] = []
    original = prepare._with

    def spy(prepared: Any, gathered: Any) -> Any:
        kept.append(original(prepared, gathered))
        return kept[-1]

    monkeypatch.setattr(prepare, "_with", spy)
    await seeing.prompt_of(user(image()))
    assert kept[0].wire.messages == []
    assert "base64" not in json.dumps(kept[0].wire.model_dump(mode="json"))
