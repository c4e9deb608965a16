"""Answers that are spoken: told at once and as they come, named later, refused."""

import asyncio
import base64
import io
import time
import wave
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from support.senses import FakeSpeaker, sound_of

from serve.api.answering.choices import ChoiceDelta
from serve.api.answering.spoken import Sound, SpeakingSettings, Spoken
from serve.api.http.spoken_answers import HeldAnswers
from serve.api.wire.audio import AudioOutput
from serve.api.wire.response import ChatCompletion, ChatCompletionChunk, ErrorBody

WORDS = "One and two, and three."
PCM16 = {"modalities": ["text", "audio"], "audio": {"format": "pcm16", "voice": "alloy"}}


@pytest.fixture
def speaker() -> FakeSpeaker:
    return FakeSpeaker()


@pytest.fixture
def speaking(make_house: Any, answering: Any, speaker: FakeSpeaker) -> Any:
    return make_house(speaker=speaker, plan=answering(WORDS))


async def audio_of(house: Any, body: Any) -> Any:
    response = await house.post(body)
    answer = await response.get_json()
    assert response.status_code == 200, answer
    ChatCompletion.model_validate(answer)
    [choice] = answer["choices"]
    assert choice["message"]["content"] is None
    return choice["message"]["audio"]


async def test_an_answer_is_spoken(speaking: Any, ask: Any, speaker: FakeSpeaker) -> None:
    audio = await audio_of(speaking, ask(**PCM16))
    assert base64.b64decode(audio["data"]) == sound_of(WORDS).tobytes()
    assert audio["transcript"] == WORDS == speaker.speeches[0].said
    assert audio["id"].startswith("audio-")
    assert 3_590 < audio["expires_at"] - time.time() <= 3_600
    assert (speaker.speeches[0].voice, speaker.speeches[0].closed) == ("alloy", True)
    seconds = len(sound_of(WORDS)) / 24_000
    metrics = speaking.metrics.registry
    told = metrics.get_sample_value("parlance_sound_seconds_total", {"kind": "spoken"})
    assert told == pytest.approx(seconds)
    own = {"format": "wav", "voice": {"id": "own_1"}}
    audio = await audio_of(speaking, ask(modalities=["audio"], audio=own))
    with wave.open(io.BytesIO(base64.b64decode(audio["data"]))) as file:
        assert (file.getframerate(), file.getnchannels()) == (24_000, 1)
        assert file.readframes(file.getnframes()) == sound_of(WORDS).tobytes()
    assert speaker.speeches[1].voice == "own"


async def test_text_alone_has_no_member_audio(speaking: Any, ask: Any) -> None:
    for fields in ({}, {"modalities": ["text"]}):
        answer = await (await speaking.post(ask(**fields))).get_json()
        assert "audio" not in answer["choices"][0]["message"]
        assert answer["choices"][0]["message"]["content"] == WORDS


async def test_a_stream_tells_the_same_in_pieces(speaking: Any, ask: Any, read_stream: Any) -> None:
    response = await speaking.post(ask(stream=True, **PCM16))
    *chunks, done = read_stream(await response.get_data())
    assert done == "[DONE]"
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": None, "refusal": None}
    assert not any(delta.get("content") for delta in deltas)
    told = [delta["audio"] for delta in deltas if "audio" in delta]
    assert len({piece.pop("id") for piece in told}) == 1
    assert "".join(piece.get("transcript", "") for piece in told) == WORDS
    # Joined as they are: each piece but the last is whole groups.
    data = "".join(piece.get("data", "") for piece in told)
    assert base64.b64decode(data) == sound_of(WORDS).tobytes()
    assert sum("data" in piece for piece in told) > 1
    assert set(told[-1]) == {"expires_at"}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[-2:]] == [None, "stop"]


async def test_sound_comes_before_the_text_has_ended(
    speaking: Any, ask: Any, read_stream: Any
) -> None:
    *chunks, _ = read_stream(await (await speaking.post(ask(stream=True, **PCM16))).get_data())
    told = [chunk["choices"][0]["delta"].get("audio", {}) for chunk in chunks]
    first_sound = next(n for n, piece in enumerate(told) if "data" in piece)
    assert any("transcript" in piece for piece in told[first_sound:])


async def test_each_choice_has_its_own_sound(
    make_house: Any, answering: Any, ask: Any, read_stream: Any
) -> None:
    speaker = FakeSpeaker()
    house = make_house(speaker=speaker, plan=answering("One is long.", "Two."))
    answer = await (await house.post(ask(n=2, **PCM16))).get_json()
    audios = [choice["message"]["audio"] for choice in answer["choices"]]
    assert [each["transcript"] for each in audios] == ["One is long.", "Two."]
    assert [base64.b64decode(each["data"]) for each in audios] == [
        sound_of(each["transcript"]).tobytes() for each in audios
    ]
    assert len({each["id"] for each in audios}) == 2
    *chunks, _ = read_stream(await (await house.post(ask(n=2, stream=True, **PCM16))).get_data())
    for index, text in enumerate(("One is long.", "Two.")):
        own = [c["choices"][0] for c in chunks if c["choices"][0]["index"] == index]
        data = "".join(each["delta"].get("audio", {}).get("data", "") for each in own)
        assert base64.b64decode(data) == sound_of(text).tobytes()
        assert [each["finish_reason"] for each in own].count("stop") == 1
        assert own[-1]["finish_reason"] == "stop"


async def test_log_probabilities_go_with_the_transcript(
    speaking: Any, ask: Any, read_stream: Any
) -> None:
    fields = {"logprobs": True, "top_logprobs": 2}
    answer = await (await speaking.post(ask(**fields, **PCM16))).get_json()
    whole = answer["choices"][0]["logprobs"]["content"]
    assert "".join(each["token"] for each in whole) == WORDS
    response = await speaking.post(ask(stream=True, **fields, **PCM16))
    *chunks, _ = read_stream(await response.get_data())
    choices = [chunk["choices"][0] for chunk in chunks]
    told = [e for c in choices if c["logprobs"] for e in c["logprobs"]["content"]]
    assert [each["token"] for each in told] == [each["token"] for each in whole]


async def test_an_answer_without_words_has_no_sound(
    make_house: Any, answering: Any, ask: Any, read_stream: Any, speaker: FakeSpeaker
) -> None:
    house = make_house(speaker=speaker, plan=answering(""))
    answer = await (await house.post(ask(**PCM16))).get_json()
    assert answer["choices"][0]["message"]["audio"] is None
    assert answer["choices"][0]["message"]["content"] is None
    *chunks, _ = read_stream(await (await house.post(ask(stream=True, **PCM16))).get_data())
    assert not any("audio" in chunk["choices"][0]["delta"] for chunk in chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert speaker.speeches == []


async def test_what_fails_to_be_spoken_is_told(
    make_house: Any, answering: Any, ask: Any, read_stream: Any
) -> None:
    speaker = FakeSpeaker(fault="three")
    house = make_house(speaker=speaker, plan=answering(WORDS))
    response = await house.post(ask(**PCM16))
    answer = await response.get_json()
    ErrorBody.model_validate(answer)
    assert (response.status_code, answer["error"]["code"]) == (503, "voice_failed")
    assert "The voice has broken." in answer["error"]["message"]
    response = await house.post(ask(stream=True, **PCM16))
    *chunks, last = read_stream(await response.get_data())
    assert last["error"]["code"] == "voice_failed"
    assert any("data" in chunk["choices"][0]["delta"].get("audio", {}) for chunk in chunks)
    assert all(each.closed for each in speaker.speeches)
    assert 'parlance_sound_failures_total{kind="spoken"} 2.0' in house.metrics.render().decode()


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_ends_too_soon_is_told(
    make_house: Any, answering: Any, ask: Any, *, stream: bool
) -> None:
    """Nobody waits for the end of a speech whose text has none."""
    plan = answering(WORDS)
    house = make_house(speaker=FakeSpeaker(), plan=lambda request: plan(request)[:-1])
    async with asyncio.timeout(10):
        response = await house.post(ask(stream=stream, **PCM16))
        body = await response.get_data()
    assert response.status_code == (200 if stream else 500)
    assert b'"type":"server_error"' in body.replace(b": ", b":")
    assert b"[DONE]" not in body


async def test_an_answer_that_is_named_often_is_looked_up_once(
    speaking: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = await audio_of(speaking, ask(**PCM16))
    asked: list[str] = []
    told = HeldAnswers.transcript

    async def transcript(held: HeldAnswers, owner: str, answer_id: str) -> str | None:
        asked.append(answer_id)
        return await told(held, owner, answer_id)

    monkeypatch.setattr(HeldAnswers, "transcript", transcript)
    response = await speaking.post(ask(messages=3 * naming(audio["id"])))
    assert response.status_code == 200
    assert asked == [audio["id"]]


async def test_what_is_told_at_once_has_a_bound(make_house: Any, answering: Any, ask: Any) -> None:
    long = "word " * 100
    given = {"speaker": FakeSpeaker(), "plan": answering(long)}
    house = make_house(settings={"max_spoken_seconds": 2}, **given)
    assert await refusal(house, ask(**PCM16)) == (400, "audio", "audio_too_large")
    assert (await house.post(ask(stream=True, **PCM16))).status_code == 200


async def test_a_later_turn_names_it(speaking: Any, ask: Any) -> None:
    audio = await audio_of(speaking, ask(**PCM16))
    for sent in ({"id": audio["id"]}, audio):
        spoken = {"role": "assistant", "content": None, "audio": sent}
        told = [{"role": "user", "content": "Hi"}, spoken, {"role": "user", "content": "And?"}]
        response = await speaking.post(ask(messages=told))
        assert response.status_code == 200, await response.get_data()
        prompt = speaking.tokenizer.spell(speaking.engine.request.prompt)
        assert f"assistant\n{WORDS}[[<|im_end|>]]" in prompt
    assert response.headers["x-parlance-no-effect"] == (
        "messages[1].audio.data, messages[1].audio.expires_at, messages[1].audio.transcript"
    )


async def refusal(house: Any, body: Any, **headers: str) -> tuple[int, str, str]:
    response = await house.post(body, **headers)
    answer = await response.get_json()
    ErrorBody.model_validate(answer)
    error = answer["error"]
    return response.status_code, error["param"], error["code"]


def naming(answer_id: str) -> list[Any]:
    spoken = {"role": "assistant", "audio": {"id": answer_id}}
    return [spoken, {"role": "user", "content": "And?"}]


NOT_FOUND = (400, "messages[0].audio.id", "audio_not_found")


@pytest.mark.parametrize("stored", [False, True])
async def test_strange_and_expired_names_are_refused(
    storing: Any,
    make_house: Any,
    answering: Any,
    ask: Any,
    monkeypatch: pytest.MonkeyPatch,
    *,
    stored: bool,
) -> None:
    make = storing if stored else make_house
    given = {"speaker": FakeSpeaker(), "plan": answering(WORDS)}
    house = make(settings={"api_keys": ("a", "b")}, **given)
    mine, foreign = {"Authorization": "Bearer a"}, {"Authorization": "Bearer b"}
    response = await house.post(ask(**PCM16), **mine)
    answer_id = (await response.get_json())["choices"][0]["message"]["audio"]["id"]
    named = ask(messages=naming(answer_id))
    assert (await house.post(named, **mine)).status_code == 200
    assert await refusal(house, named, **foreign) == NOT_FOUND
    for unknown in ("audio-" + "0" * 22, "chatcmpl-1", "é", "../x", "a" * 256):
        assert await refusal(house, ask(messages=naming(unknown)), **mine) == NOT_FOUND
    late = time.time() + 3_601
    monkeypatch.setattr("time.time", lambda: late)
    assert await refusal(house, named, **mine) == NOT_FOUND


async def test_memory_holds_so_much_and_the_oldest_go_first() -> None:
    held = HeldAnswers(most=10)
    late = int(time.time()) + 60
    for name in "abc":
        await held.keep("me", name, name * 4, late)
    assert [await held.transcript("me", name) for name in "abc"] == [None, "bbbb", "cccc"]
    assert await held.transcript("you", "b") is None


async def test_a_stored_completion_has_its_sound(storing: Any, answering: Any, ask: Any) -> None:
    house = storing(speaker=FakeSpeaker(), plan=answering(WORDS))
    for stream in (False, True):
        response = await house.post(ask(store=True, stream=stream, **PCM16))
        assert response.status_code == 200
        await response.get_data()
    listed = await (await house.get("/v1/chat/completions")).get_json()
    for stored in listed["data"]:
        audio = stored["choices"][0]["message"]["audio"]
        assert audio["transcript"] == WORDS
        assert base64.b64decode(audio["data"]) == sound_of(WORDS).tobytes()


async def test_whoever_leaves_stops_the_speech() -> None:
    """And whoever takes nothing is not spoken to."""
    speaker = FakeSpeaker()
    nobody = cast("Any", None)
    settings = SpeakingSettings(
        lambda name: speaker.begin(speaker.voices[name]), nobody, nobody, 60, 60, 1, lambda _: None
    )
    audio = AudioOutput(format="pcm16", voice="alloy")
    spoken = Spoken(settings, audio, "me", whole=False)

    async def generation() -> AsyncIterator[list[Any]]:
        yield []
        await asyncio.Event().wait()

    source = spoken.source(generation())
    assert await anext(source) == []
    spoken.say(ChoiceDelta(0, "One two three ", (), None))
    first = await anext(source)
    assert isinstance(first, Sound)
    waiting = asyncio.ensure_future(anext(source))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    await spoken.take(first)
    second = await waiting
    assert isinstance(second, Sound)
    assert second.samples is not None
    assert second.samples.tobytes() == sound_of("two ").tobytes()
    await spoken.aclose()
    assert speaker.speeches[0].closed


def speak(modalities: Any = ("audio",), **audio: Any) -> dict[str, Any]:
    return {"modalities": list(modalities), "audio": {"format": "wav", "voice": "alloy", **audio}}


TYPE, MISSING, UNKNOWN = "invalid_type", "missing_required_parameter", "unknown_parameter"
VALUE, EMPTY, LONG = "invalid_value", "empty_string", "string_above_max_length"
MALFORMED: list[tuple[dict[str, Any], str, str]] = [
    # Modalities.
    ({"modalities": []}, "modalities", "empty_array"),
    ({"modalities": "audio"}, "modalities", TYPE),
    ({"modalities": {"audio": True}}, "modalities", TYPE),
    ({"modalities": [None]}, "modalities[0]", TYPE),
    ({"modalities": ["Audio"]}, "modalities[0]", VALUE),
    ({"modalities": ["text", "image"]}, "modalities[1]", VALUE),
    ({"modalities": ["text", "text"]}, "modalities", VALUE),
    (speak(["audio", "audio"]), "modalities", VALUE),
    (speak(["text", "audio", "text"]), "modalities", "array_above_max_length"),
    # One without the other.
    ({"modalities": ["audio"]}, "audio", MISSING),
    ({"modalities": ["text", "audio"]}, "audio", MISSING),
    ({"modalities": ["audio"], "audio": None}, "audio", MISSING),
    ({"modalities": ["audio"], "stream": True, "n": 2}, "audio", MISSING),
    ({"audio": speak()["audio"]}, "audio", VALUE),
    (speak(["text"]), "audio", VALUE),
    ({"audio": speak()["audio"], "modalities": None}, "audio", VALUE),
    ({"audio": speak()["audio"], "stream": True}, "audio", VALUE),
    # Audio: the shape.
    ({"modalities": ["audio"], "audio": "alloy"}, "audio", TYPE),
    ({"modalities": ["audio"], "audio": []}, "audio", TYPE),
    ({"modalities": ["audio"], "audio": {}}, "audio.format", MISSING),
    ({"modalities": ["audio"], "audio": {"format": "wav"}}, "audio.voice", MISSING),
    ({"modalities": ["audio"], "audio": {"voice": "alloy"}}, "audio.format", MISSING),
    (speak(speed=1.5), "audio.speed", UNKNOWN),
    # The format, with and without a stream.
    (speak(format="ogg"), "audio.format", VALUE),
    (speak(format="WAV"), "audio.format", VALUE),
    (speak(format=None), "audio.format", TYPE),
    (speak(format=16), "audio.format", TYPE),
    *(({**speak(format=f), "stream": True}, "audio.format", VALUE)
      for f in ("wav", "mp3", "flac", "opus", "aac")),
    ({**speak(["text", "audio"], format="wav"), "stream": True, "n": 3}, "audio.format", VALUE),
    # The voice.
    (speak(voice="nobody"), "audio.voice", VALUE),
    (speak(voice=""), "audio.voice", EMPTY),
    (speak(voice=None), "audio.voice", TYPE),
    (speak(voice=["alloy"]), "audio.voice", TYPE),
    (speak(voice={}), "audio.voice.id", MISSING),
    (speak(voice={"id": "nobody"}), "audio.voice.id", VALUE),
    (speak(voice={"id": ""}), "audio.voice.id", EMPTY),
    (speak(voice={"id": "own_1", "name": "x"}), "audio.voice.name", UNKNOWN),
    (speak(voice="v" * 257), "audio.voice", LONG),
    # Choices.
    ({**speak(), "n": 0}, "n", "integer_below_min_value"),
    ({**speak(), "n": 129}, "n", "integer_above_max_value"),
    # Earlier answers.
    ({"messages": [{"role": "assistant", "audio": {}}]}, "messages[0].audio.id", MISSING),
    ({"messages": [{"role": "assistant", "audio": "audio-1"}]}, "messages[0].audio", TYPE),
    ({"messages": [{"role": "user", "content": "x", "audio": {"id": "a"}}]},
     "messages[0].audio", UNKNOWN),
    ({"messages": [{"role": "assistant", "content": "x", "audio": {"id": "a"}}]},
     "messages[0].audio", VALUE),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "param", "code"), MALFORMED)
async def test_malformed_requests_are_refused(
    make_house: Any, ask: Any, fields: dict[str, Any], param: str, code: str
) -> None:
    speaker = FakeSpeaker()
    house = make_house(speaker=speaker)
    assert await refusal(house, ask(**fields)) == (400, param, code)
    assert speaker.speeches == []


async def test_an_unknown_voice_is_told_which_there_are(speaking: Any, ask: Any) -> None:
    response = await speaking.post(ask(**speak(voice="nobody")))
    message = (await response.get_json())["error"]["message"]
    assert message.endswith("This server has 'alloy', 'own_1'.")


async def test_without_voices_sound_is_refused_by_name(house: Any, ask: Any) -> None:
    refused = (400, "modalities", "unsupported_parameter")
    assert await refusal(house, ask(**PCM16)) == refused
    refused = (400, "messages[0].audio", "unsupported_parameter")
    assert await refusal(house, ask(messages=naming("audio-1"))) == refused
