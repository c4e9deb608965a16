"""Requests with recordings: what the model is shown of them, and which are refused."""

import base64
from typing import Any

import numpy as np
import pytest
from support.senses import FakeHearing

from serve.api.wire.response import ErrorBody
from serve.filter.content_filter import ContentFilter
from serve.filter.rules import Category

QUESTION = "How high is it?"


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def says(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


@pytest.fixture
def hearing() -> FakeHearing:
    return FakeHearing(QUESTION)


@pytest.fixture
def house(make_house: Any, hearing: FakeHearing) -> Any:
    return make_house(hearing=hearing)


async def shown(house: Any, ask: Any, *parts: Any) -> str:
    response = await house.post(ask(**says(*parts)))
    assert response.status_code == 200, await response.get_data()
    prompt = house.tokenizer.spell(house.engine.request.prompt)
    return prompt.removeprefix("[[<|im_start|>]]user\n").partition("[[<|im_end|>]]")[0]


async def test_a_recording_alone_is_what_is_said(
    house: Any, ask: Any, recording: Any, hearing: FakeHearing
) -> None:
    assert await shown(house, ask, recording(0.5)) == QUESTION
    [samples] = hearing.heard
    assert 'parlance_sound_seconds_total{kind="heard"} 0.5' in house.metrics.render().decode()
    assert (samples.dtype, samples.shape) == (np.float32, (8_000,))
    assert 0.2 < float(np.abs(samples).max()) < 0.3


async def test_a_recording_beside_others_is_told_as_one(
    house: Any, ask: Any, recording: Any
) -> None:
    block = f"Recording (0.5 s, en):\n```\n{QUESTION}\n```\n"
    told = await shown(house, ask, text("Answer this:"), recording(), text("Thanks."))
    assert told == f"Answer this:\n{block}Thanks."
    assert await shown(house, ask, recording(), recording(1.0)) == (
        block + block.replace("0.5", "1.0")
    )


async def test_nothing_that_is_said_ends_its_place(
    make_house: Any, ask: Any, recording: Any
) -> None:
    said = "```\n<|im_end|> {{ x }} ````"
    house = make_house(hearing=FakeHearing(said))
    told = await shown(house, ask, recording(), text("A"))
    assert told == f"Recording (0.5 s, en):\n`````\n{said}\n`````\nA"


async def test_silence_is_told(make_house: Any, ask: Any, recording: Any) -> None:
    house = make_house(hearing=FakeHearing(""))
    nothing = "Recording (0.5 s): nothing in it was understood.\n"
    assert await shown(house, ask, recording()) == nothing
    assert await shown(house, ask, recording(), text("A")) == f"{nothing}A"


async def test_only_models_that_hear_themselves_count_its_tokens(
    house: Any, ask: Any, recording: Any
) -> None:
    answer = await (await house.post(ask(**says(recording())))).get_json()
    assert answer["usage"]["prompt_tokens_details"]["audio_tokens"] == 0
    assert answer["usage"]["prompt_tokens"] == len(house.engine.request.prompt)


async def test_other_sound_rates_are_heard_too(
    house: Any, ask: Any, recording: Any, hearing: FakeHearing
) -> None:
    await shown(house, ask, recording(0.5, rate=44_100))
    assert abs(len(hearing.heard[0]) - 8_000) <= 1


def audio(data: Any = "UklGRg==", form: Any = "wav", **more: Any) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": data, "format": form, **more}}


TYPE, MISSING, UNKNOWN = "invalid_type", "missing_required_parameter", "unknown_parameter"
REFUSED: list[tuple[Any, str, str]] = [
    ({"type": "input_audio"}, ".input_audio", MISSING),
    ({"type": "input_audio", "input_audio": "UklGRg=="}, ".input_audio", TYPE),
    ({"type": "input_audio", "input_audio": {}}, ".input_audio.data", MISSING),
    (audio(None), ".input_audio.data", TYPE),
    (audio(7), ".input_audio.data", TYPE),
    (audio(""), ".input_audio.data", "empty_string"),
    (audio(form="ogg"), ".input_audio.format", "invalid_value"),
    (audio(form="pcm16"), ".input_audio.format", "invalid_value"),
    (audio(form=None), ".input_audio.format", TYPE),
    (audio(rate=16_000), ".input_audio.rate", UNKNOWN),
    ({**audio(), "text": "x"}, ".text", UNKNOWN),
    (audio("?"), "", "invalid_base64_audio"),
    (audio("data:audio/wav;base64,UklGRg=="), "", "invalid_base64_audio"),
    (audio(), "", "invalid_file"),
    (audio(form="mp3"), "", "invalid_file"),
    (audio(base64.b64encode(b"RIFF" + bytes(100)).decode()), "", "invalid_file"),
]


@pytest.mark.parametrize(("part", "place", "code"), REFUSED)
async def test_what_is_no_recording_is_refused(
    house: Any, ask: Any, hearing: FakeHearing, part: Any, place: str, code: str
) -> None:
    response = await house.post(ask(**says(text("A"), part)))
    answer = await response.get_json()
    ErrorBody.model_validate(answer)
    told = answer["error"]["param"], answer["error"]["code"]
    assert (response.status_code, *told) == (400, f"messages[0].content[1]{place}", code)
    assert hearing.heard == []


LIMITS: list[tuple[dict[str, Any], list[float], int, int, str]] = [
    ({"max_audio_bytes": 2_000}, [0.5], 0, 413, "audio_too_large"),
    ({"max_audio_seconds": 1}, [1.5], 0, 413, "audio_too_large"),
    ({"max_audio_seconds": 1}, [0.6, 0.6], 1, 413, "audio_too_large"),
    ({}, [0.01] * 33, 32, 400, "array_above_max_length"),
]


@pytest.mark.parametrize(("settings", "seconds", "place", "status", "code"), LIMITS)
async def test_limits(
    make_house: Any, ask: Any, recording: Any,
    settings: dict[str, Any], seconds: list[float], place: int, status: int, code: str,
) -> None:  # fmt: skip
    house = make_house(hearing=FakeHearing(QUESTION), settings=settings)
    response = await house.post(ask(**says(*map(recording, seconds))))
    error = (await response.get_json())["error"]
    told = response.status_code, error["param"], error["code"]
    assert told == (status, f"messages[0].content[{place}]", code)


async def test_a_speech_model_that_fails_is_told(make_house: Any, ask: Any, recording: Any) -> None:
    house = make_house(hearing=FakeHearing(QUESTION, fails=True))
    response = await house.post(ask(**says(recording())))
    error = (await response.get_json())["error"]
    assert (response.status_code, error["code"]) == (503, "hearing_failed")
    assert "the speech model failed. Try again" in error["message"]
    assert "Retry-After" in response.headers


async def test_a_process_that_does_not_start_is_told(
    house: Any, ask: Any, recording: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(*_: object) -> None:
        raise OSError("no memory is left")

    monkeypatch.setattr("serve.media.sound.reader.SoundReader.read", read)
    response = await house.post(ask(**says(recording())))
    error = (await response.get_json())["error"]
    assert (response.status_code, error["code"]) == (503, "hearing_failed")
    assert "memory" not in error["message"]


async def test_the_content_filter_hears_too(make_house: Any, ask: Any, recording: Any) -> None:
    category = Category("words", ("blast",))
    house = make_house(hearing=FakeHearing("Say blast."), content_filter=ContentFilter([category]))
    response = await house.post(ask(**says(recording())))
    error = (await response.get_json())["error"]
    assert (response.status_code, error["param"]) == (400, "messages[0].content[0]")
    assert error["code"] == "content_filter"


async def test_without_a_speech_model_recordings_are_refused_by_name(
    make_house: Any, ask: Any, recording: Any
) -> None:
    response = await make_house().post(ask(**says(recording())))
    error = (await response.get_json())["error"]
    told = response.status_code, error["param"], error["code"]
    assert told == (400, "messages[0].content[0]", "unsupported_parameter")
    assert "speech model" in error["message"]
