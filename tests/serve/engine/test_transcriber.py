"""Sounds of several callers are heard in turn, on a thread of their own."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from support.speech import CLIPS, FIXTURES, clip, read_out, speech_model

from model.config import CheckpointError
from model.mesh import make_mesh
from model.speech.config import SpeechConfig
from model.speech.recognizer import Heard
from model.speech.windows import windows
from serve.engine import transcriber as transcriber_module
from serve.engine.hearing import HearingError, Hears, Transcript, UnknownLanguageError
from serve.engine.transcriber import Transcriber, load_transcriber

pytestmark = pytest.mark.usefixtures("quickly")
SECOND = 16_000


@dataclass
class Script:
    """In the place of a model: a window is told by its loudness, which is counted in thousandths.

    Attributes:
        calls: loudnesses and languages of the windows of each call, and its rows.
        fails_at: a loudness that no device can bear.
        language: that it finds out.
    """

    calls: list[tuple[list[tuple[int, str | None]], int]] = field(default_factory=list)
    fails_at: int = 0
    language: str | None = "en"
    config: SpeechConfig = speech_model("tiny").config
    tokens: Any = speech_model("tiny").tokens
    mesh: Any = field(default_factory=make_mesh)

    def compile(self, rows: int) -> None:
        assert rows in (1, 2)

    def __call__(self, windows: Sequence[tuple[np.ndarray, str | None]], rows: int) -> list[Heard]:
        told = [(round(1000 * float(np.abs(each).max())), language) for each, language in windows]
        self.calls.append((told, rows))
        if any(loudness == self.fails_at for loudness, _ in told):
            raise RuntimeError("out of smoke")
        return [Heard(str(loudness), language or self.language) for loudness, language in told]


def sound(*loudnesses: int) -> np.ndarray:
    """A window of each loudness, with a pause after it for the cut."""
    pause = np.zeros(SECOND // 10, np.float32)
    spoken = [np.full(28 * SECOND // 10, each / 1000, np.float32) for each in loudnesses]
    return np.concatenate([part for each in spoken for part in (each, pause)])


def tell_nobody(done: int, total: int, doing: str) -> None:
    assert 0 <= done <= total


def running(script: Any, rows: int = 2) -> Transcriber:
    transcriber = Transcriber(script, rows)
    transcriber.start(tell_nobody)
    return transcriber


async def in_line(transcriber: Transcriber, *sounds: np.ndarray) -> list[asyncio.Task[Transcript]]:
    """Sounds that are there when the thread starts."""
    tasks = [asyncio.create_task(transcriber.transcribe(each)) for each in sounds]
    await asyncio.sleep(0)
    return tasks


@pytest.fixture
async def script() -> Script:
    return Script()


@pytest.fixture
async def transcriber(script) -> AsyncIterator[Transcriber]:
    made = running(script)
    yield made
    made.close()


async def test_one_after_another_of_a_sound(script, transcriber):
    assert isinstance(transcriber, Hears)
    assert await transcriber.transcribe(sound(100, 200, 300)) == Transcript("100 200 300", "en")
    # What was found out in the first window holds for the others.
    assert script.calls == [([(100, None)], 1), ([(200, "en")], 1), ([(300, "en")], 1)]


async def test_a_window_of_each_in_turn():
    script = Script()
    transcriber = Transcriber(script, 1)
    tasks = await in_line(transcriber, sound(100, 200, 300), sound(400), sound(500, 600))
    transcriber.start(tell_nobody)
    texts = [each.text for each in await asyncio.gather(*tasks)]
    assert texts == ["100 200 300", "400", "500 600"]
    assert [loudness for ((loudness, _),), _ in script.calls] == [100, 400, 500, 200, 600, 300]
    transcriber.close()


async def test_windows_of_several_share_a_call():
    script = Script()
    transcriber = Transcriber(script, 2)
    tasks = await in_line(transcriber, sound(100, 200), sound(300), sound(400))
    transcriber.start(tell_nobody)
    assert [each.text for each in await asyncio.gather(*tasks)] == ["100 200", "300", "400"]
    assert script.calls == [
        ([(100, None), (300, None)], 2),
        ([(400, None), (200, "en")], 2),
    ]
    transcriber.close()


async def test_a_sound_that_nobody_waits_for_is_not_heard():
    script = Script()
    transcriber = Transcriber(script, 1)
    left, stays = await in_line(transcriber, sound(100, 200), sound(300))
    left.cancel()
    await asyncio.sleep(0)
    transcriber.start(tell_nobody)
    assert (await stays).text == "300"
    assert script.calls == [([(300, None)], 1)]
    transcriber.close()


async def test_its_caller_leaves_amid_a_sound():
    entered, go_on = threading.Event(), threading.Event()

    class Slow(Script):
        def __call__(self, windows, rows):
            entered.set()
            assert go_on.wait(10)
            return super().__call__(windows, rows)

    script = Slow()
    transcriber = running(script, 1)
    (task,) = await in_line(transcriber, sound(100, 200))
    await asyncio.to_thread(entered.wait, 10)
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    assert (await transcriber.transcribe(sound(300))).text == "300"
    assert script.calls == [([(100, None)], 1), ([(300, None)], 1)]
    transcriber.close()


async def test_what_fails_is_one_callers_alone():
    script = Script(fails_at=200)
    transcriber = Transcriber(script, 2)
    tasks = await in_line(transcriber, sound(100), sound(200), sound(300))
    transcriber.start(tell_nobody)
    first, second, third = await asyncio.gather(*tasks, return_exceptions=True)
    assert (first, third) == (Transcript("100", "en"), Transcript("300", "en"))
    assert isinstance(second, HearingError)
    assert str(second) == "the speech model failed: out of smoke"
    assert await transcriber.transcribe(sound(400)) == Transcript("400", "en")
    transcriber.close()


async def test_whatever_fails_the_thread_goes_on(monkeypatch):
    def broken(samples, size):
        yield from windows(samples[: 3 * SECOND], size)
        raise OSError("no windows left")

    monkeypatch.setattr(transcriber_module, "windows", broken)
    transcriber = running(Script(), 1)
    with pytest.raises(HearingError, match="the speech model failed: no windows left"):
        await transcriber.transcribe(sound(100))
    monkeypatch.undo()
    assert (await transcriber.transcribe(sound(100))).text == "100"
    transcriber.close()


async def test_closing_tells_whoever_waits():
    transcriber = Transcriber(Script(), 1)
    (task,) = await in_line(transcriber, sound(100))
    # Never started: nobody has heard it.
    transcriber.close()
    with pytest.raises(HearingError, match="the server is going down"):
        await task
    with pytest.raises(HearingError, match="the server is going down"):
        await transcriber.transcribe(sound(100))
    transcriber.close()


async def test_nobody_speaks(script, transcriber):
    for samples in (np.zeros(10 * SECOND, np.float32), np.zeros(0, np.float32)):
        assert await transcriber.transcribe(samples) == Transcript("", None)
    assert script.calls == []


async def test_languages_without_spaces(script, transcriber):
    script.language = "zh"
    assert await transcriber.transcribe(sound(100, 200)) == Transcript("100200", "zh")
    assert await transcriber.transcribe(sound(100), "fr") == Transcript("100", "fr")


async def test_what_cannot_be_heard(script, transcriber):
    assert transcriber.languages == ("de", "en", "es", "fr", "zh")
    with pytest.raises(UnknownLanguageError, match="language is 'xx'; it must be one of de, en"):
        await transcriber.transcribe(sound(100), "xx")
    for samples in (np.zeros((2, 5), np.float32), np.zeros(5), np.array([np.nan], np.float32)):
        with pytest.raises(ValueError, match="they must be finite float32 numbers of one channel"):
            await transcriber.transcribe(samples)
    assert script.calls == []


@pytest.mark.parametrize("rows", [1, 4])
async def test_with_a_model(rows):
    transcriber = running(speech_model("tiny-128"), rows)
    told = await asyncio.gather(*(transcriber.transcribe(clip(each)) for each in CLIPS))
    assert [each.text for each in told] == [read_out("tiny-128", each) for each in CLIPS]
    transcriber.close()


async def test_a_model_of_english_alone():
    transcriber = running(speech_model("tiny.en"), 1)
    assert transcriber.languages == ("en",)
    told = await transcriber.transcribe(clip("en-1"), "en")
    assert told == Transcript(read_out("tiny.en", "en-1"), "en")
    transcriber.close()


def test_loading():
    assert load_transcriber(FIXTURES / "tiny").languages == ("de", "en", "es", "fr", "zh")
    with pytest.raises(CheckpointError, match="give the directory of one, as openai/whisper-tiny"):
        load_transcriber(FIXTURES.parent / "models" / "llama-2")
