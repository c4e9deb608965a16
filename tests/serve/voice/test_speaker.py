"""Texts are spoken while they are written; processes that end or hang harm nobody else."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from support.espeak import needs_espeak
from support.piper_voices import write_voice
from support.waiting import until

from serve.kept_helper import KeptHelper
from serve.voice import transfer
from serve.voice.settings import VoiceSettings
from serve.voice.speaker import Speaker
from serve.voice.speech import Speech
from serve.voice.types import Voice, VoiceError
from serve.voice.voices import STANDARD

TEXT = "Hello there, world. It is 3.5 degrees, Dr. Smith! Is it?\n\n- **One**\n- two"
VOICE = STANDARD["alloy"]


async def said(speaker: Speaker, *pieces: str, voice: Voice = VOICE) -> npt.NDArray[np.int16]:
    speech = speaker.begin(voice)
    for piece in pieces:
        speech.feed(piece)
    speech.flush()
    return await rest_of(speech)


async def rest_of(speech: Speech) -> npt.NDArray[np.int16]:
    try:
        return np.concatenate([np.zeros(0, np.int16), *[piece async for piece in speech]])
    finally:
        await speech.aclose()


def process_of(speaker: Speaker) -> Any:
    return speaker._processes[0]._helper


def pid_of(speaker: Speaker) -> int:
    return process_of(speaker)._process.pid


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Voice:
    """One that needs no espeak-ng; its sound is as long as its text, or a hundred times that."""
    path = write_voice(tmp_path_factory.mktemp("voices"), phoneme_type="text")
    return Voice("piper", model=str(path), steady=True)


@pytest.fixture
async def speaker(letters: Voice) -> AsyncIterator[Speaker]:
    made = Speaker({"letters": letters}, VoiceSettings(threads=1))
    await made.start()
    yield made
    made.close()


@pytest.fixture
def stopped(speaker: Speaker) -> Iterator[int]:
    """The process's number, while it stands still."""
    os.kill(pid_of(speaker), signal.SIGSTOP)
    return pid_of(speaker)


@needs_espeak
async def test_the_standard_voices_are_spoken_each_in_its_way_and_at_once() -> None:
    speaker = Speaker(STANDARD, VoiceSettings(processes=2))
    voices = list(STANDARD.values())
    together = await asyncio.gather(*(said(speaker, TEXT, voice=voice) for voice in voices))
    assert len({sound.tobytes() for sound in together}) == len(voices)
    assert np.array_equal(together[0], await said(speaker, *TEXT, voice=voices[0]))
    speaker.close()


async def test_a_sentence_is_heard_while_the_next_is_being_written(
    speaker: Speaker, letters: Voice
) -> None:
    speech = speaker.begin(letters)
    speech.feed("Aha. ")
    first = await anext(speech)
    assert len(first)
    assert speaker.open == 1
    speech.feed("Haha.")
    speech.flush()
    whole = np.concatenate([first, await rest_of(speech)])
    assert speaker.open == 0
    assert np.array_equal(whole, await said(speaker, "Aha. Haha.", voice=letters))


async def test_no_words_are_no_sound_and_the_end_stays_the_end(
    speaker: Speaker, letters: Voice
) -> None:
    speech = speaker.begin(letters)
    speech.feed("... \n --- ")
    speech.flush()
    for _ in range(2):
        with pytest.raises(StopAsyncIteration):
            await anext(speech)
    await speech.aclose()


async def test_speeches_take_turns_sentence_by_sentence(speaker: Speaker, letters: Voice) -> None:
    order: list[str] = []

    async def listen(name: str) -> None:
        speech = speaker.begin(letters)
        speech.feed("aha. " * 4)
        speech.flush()
        async for _ in speech:
            order.append(name)  # noqa: PERF401  (amid those of the other)
        await speech.aclose()

    await asyncio.gather(listen("one"), listen("two"))
    # Each sentence comes in a few pieces.
    turns = [name for number, name in enumerate(order) if order[number - 1 : number] != [name]]
    assert turns == ["one", "two"] * 4


async def test_it_is_spoken_no_further_ahead_than_allowed(letters: Voice) -> None:
    speaker = Speaker({"": letters}, VoiceSettings(ahead_seconds=0.5, threads=1))
    speech = speaker.begin(letters)
    # Each is about half a second.
    speech.feed("aha. " * 8)
    speech.flush()
    await until(lambda: speech._unheard > 12_000 and not speaker._idle.empty())
    ahead = speech._unheard
    assert ahead < 36_000
    assert np.array_equal(await rest_of(speech), await said(speaker, "aha. " * 8, voice=letters))
    speaker.close()


async def test_the_end_of_a_process_between_sentences_is_not_noticed(
    speaker: Speaker, letters: Voice
) -> None:
    before = await said(speaker, "Aha.", voice=letters)
    os.kill(pid_of(speaker), signal.SIGKILL)
    assert np.array_equal(before, await said(speaker, "Aha.", voice=letters))


async def test_one_that_hangs_fails_its_speech_alone_and_is_replaced(letters: Voice) -> None:
    speaker = Speaker({"": letters}, VoiceSettings(silence_seconds=2.0, threads=1))
    await speaker.start()
    stopped = pid_of(speaker)
    os.kill(stopped, signal.SIGSTOP)
    hanging = asyncio.create_task(said(speaker, "Aha.", voice=letters))
    await until(speaker._idle.empty)
    waiting = asyncio.create_task(said(speaker, "Haha.", voice=letters))
    with pytest.raises(VoiceError, match=r"gave no sound for 2 seconds\. .* ask again\.$"):
        await hanging
    assert len(await waiting)
    assert pid_of(speaker) != stopped
    speaker.close()


async def test_one_that_ends_amid_a_sentence_fails_it_and_is_replaced(
    speaker: Speaker, letters: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech = speaker.begin(letters, speed=0.01)
    take = speech._take

    def take_and_kill(piece: npt.NDArray[np.int16]) -> None:
        os.kill(pid, signal.SIGKILL)
        take(piece)

    pid = pid_of(speaker)
    monkeypatch.setattr(speech, "_take", take_and_kill)
    # Far more than fits into the connection.
    speech.feed("aha " * 50)
    speech.flush()
    with pytest.raises(VoiceError, match=r"ended with SIGKILL\. Another takes its place"):
        await rest_of(speech)
    assert len(await said(speaker, "Aha.", voice=letters))
    assert pid_of(speaker) != pid


async def test_one_that_ends_at_its_beginning_again_fails_the_speech(
    speaker: Speaker, letters: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = KeptHelper.start

    def killed(self: KeptHelper) -> tuple[Any, bool]:
        helper, fresh = start(self)
        helper.kill()
        return helper, fresh

    monkeypatch.setattr(KeptHelper, "start", killed)
    with pytest.raises(VoiceError, match="ended with SIGKILL"):
        await said(speaker, "Aha.", voice=letters)
    monkeypatch.undo()
    assert len(await said(speaker, "Aha.", voice=letters))


async def test_closing_a_speech_frees_its_process_at_once(
    speaker: Speaker, letters: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[object] = []

    def received(link: transfer.Link) -> object:
        pieces.append(receive_sound(link))
        return pieces[-1]

    receive_sound = transfer.receive_sound
    monkeypatch.setattr(transfer, "receive_sound", received)
    pid = pid_of(speaker)
    speech = speaker.begin(letters, speed=0.01)
    # Twenty minutes of sound, half a second in each piece.
    speech.feed("aha " * 70)
    speech.flush()
    await anext(speech)
    await speech.aclose()
    heard = speech._unheard
    assert len(await said(speaker, "Aha.", voice=letters))
    assert speech._unheard == heard
    assert len(pieces) < 1_000
    assert pid_of(speaker) == pid


async def test_whoever_listens_to_a_speech_that_is_closed_at_once_is_told(
    speaker: Speaker, letters: Voice
) -> None:
    speech = speaker.begin(letters)
    await speech.aclose()
    assert not len(await rest_of(speech))


async def test_a_speech_that_is_closed_before_its_turn_is_not_spoken(
    speaker: Speaker, letters: Voice, stopped: int
) -> None:
    first, second = (speaker.begin(letters) for _ in range(2))
    for each in (first, second):
        each.feed("Aha. ")
    await until(speaker._idle.empty)
    for each in (second, first):
        await each.aclose()
    os.kill(stopped, signal.SIGCONT)
    assert len(await said(speaker, "Aha.", voice=letters))
    assert pid_of(speaker) == stopped


async def test_a_sentence_that_the_engine_refuses_fails_its_speech_alone(
    letters: Voice, tmp_path: Path
) -> None:
    # Its model has room for no sound of that length.
    speaker = Speaker({"": letters}, VoiceSettings(threads=1))
    with pytest.raises(VoiceError, match="a voice's model fails"):
        await rest_of(failing(speaker.begin(letters, speed=1e-9)))
    assert len(await said(speaker, "Aha.", voice=letters))
    speaker.close()


def failing(speech: Speech) -> Speech:
    speech.feed("Aha.")
    speech.flush()
    return speech


async def test_closing_ends_what_is_being_spoken(
    speaker: Speaker, letters: Voice, stopped: int
) -> None:
    speaking = asyncio.create_task(said(speaker, "Aha.", voice=letters))
    await until(speaker._idle.empty)
    waiting = asyncio.create_task(said(speaker, "Aha.", voice=letters))
    speaker.close()
    for each in (speaking, waiting):
        with pytest.raises(VoiceError, match="is being stopped"):
            await each


@pytest.mark.parametrize(
    ("voice", "wrong"),
    [
        pytest.param(Voice("espeak-ng", "xx"), "has no voice 'xx'", marks=needs_espeak),
        (Voice("piper", model="/none.onnx"), "/none.onnx.json cannot be read"),
    ],
)
async def test_a_voice_that_is_not_there_is_named_at_the_start(voice: Voice, wrong: str) -> None:
    speaker = Speaker({"a": voice})
    with pytest.raises(OSError, match=f"the process that speaks does not start: .*{wrong}"):
        await speaker.start()
    speaker.close()
