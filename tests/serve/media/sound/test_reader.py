"""Good files are read as they sound, and processes that end or hang are replaced."""

import asyncio
import os
import signal
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest
from support.sounds import chunk, mp3, tone, wav, wav_form, wav_of
from support.waiting import until

from serve.media import file_process
from serve.media.errors import MediaError
from serve.media.sound import transfer
from serve.media.sound.limits import RATE, SoundLimits
from serve.media.sound.reader import SoundReader
from serve.media.sound.transfer import Sound


@pytest.fixture(scope="module")
def reader() -> Iterator[SoundReader]:
    made = SoundReader()
    yield made
    made.close()


@pytest.fixture
def own() -> Iterator[SoundReader]:
    """One whose process a test may harm."""
    made = SoundReader(SoundLimits(seconds=1.0))
    yield made
    made.close()


def pid_of(reader: SoundReader) -> int:
    return cast("Any", reader._processes[0]._helper)._process.pid


def assert_tone(sound: Sound, seconds: float = 1.0, *, within: float = 0.02) -> None:
    """440 Hz, a quarter as loud as can be, but for its ends."""
    assert sound.dtype == np.float32
    assert len(sound) == pytest.approx(seconds * RATE, rel=0.02)
    inner = sound[RATE // 10 : -RATE // 10]
    power = np.abs(np.fft.rfft(inner * np.hanning(len(inner))))
    assert power.argmax() * RATE / len(inner) == pytest.approx(440, abs=2)
    assert np.abs(inner).max() == pytest.approx(0.25, abs=within)


async def test_a_wav_of_the_same_rate_is_read_to_the_sample(reader: SoundReader) -> None:
    sound = await reader.read(wav(), "wav")
    assert np.allclose(sound, tone(), atol=1 / 16_000)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
async def test_any_rate_becomes_ours(rate: int, reader: SoundReader) -> None:
    assert_tone(await reader.read(wav(tone(2, rate), rate), "wav"), 2)


@pytest.mark.parametrize(
    ("kind", "bits", "scale", "form"),
    [
        (1, 8, 127, "u1"),
        (1, 24, 2**31 - 256, "<i4"),
        (1, 32, 2**31 - 256, "<i4"),
        (3, 32, 1, "<f4"),
        (3, 64, 1, "<f8"),
    ],
)
async def test_any_plain_samples_are_read(
    kind: int, bits: int, scale: float, form: str, reader: SoundReader
) -> None:
    samples = (tone().astype(np.float64) * scale + 128 * (bits == 8)).astype(form)
    data = samples.tobytes()
    if bits == 24:
        data = samples.view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()
    file = wav_of(wav_form(kind=kind, bits=bits), chunk(b"data", data))
    assert_tone(await reader.read(file, "wav"))


async def test_channels_are_mixed(reader: SoundReader) -> None:
    both = np.stack([tone(), np.zeros(RATE, np.float32)], 1) * 32_767
    form = wav_form(channels=2)
    sound = await reader.read(wav_of(form, chunk(b"data", both.astype("<i2").tobytes())), "wav")
    assert np.allclose(sound, tone() / 2, atol=0.001)


@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("layout", ["mono", "stereo"])
@pytest.mark.parametrize("length", [True, False])
async def test_an_mp3_is_read(rate: int, layout: str, length: bool, reader: SoundReader) -> None:
    file = mp3(tone(10, rate), rate, layout=layout, length=length)
    assert_tone(await reader.read(file, "mp3"), 10)


async def test_ten_minutes_are_read(reader: SoundReader) -> None:
    sound = await reader.read(wav(np.tile(tone(10, 8_000), 60), 8_000), "wav")
    assert len(sound) == 600 * RATE
    assert_tone(sound[-10 * RATE :], 10)


async def test_several_processes_read_at_once() -> None:
    reader = SoundReader(count=2)
    await reader.start()
    files = [wav(tone(number / 10)) for number in range(1, 9)]
    sounds = await asyncio.gather(*(reader.read(file, "wav") for file in files))
    reader.close()
    assert [len(sound) for sound in sounds] == [1600 * number for number in range(1, 9)]


async def test_one_that_takes_too_much_time_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    reader = SoundReader(SoundLimits(bytes=2**26, sound_seconds=2000.0, seconds=0.1))
    with pytest.raises(MediaError, match="takes too much time to be read") as refused:
        await reader.read(wav(np.tile(tone(), 2000)), "wav")
    assert refused.value.code == "file_too_large"
    assert not caplog.records
    assert len(await reader.read(wav(), "wav")) == RATE
    reader.close()


async def test_one_that_takes_too_much_memory_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader = SoundReader(SoundLimits(memory=16 * 2**20))
    with pytest.raises(MediaError, match="takes too much memory"):
        await reader.read(wav(np.tile(tone(), 500)), "wav")
    assert "MemoryError" in caplog.text
    assert len(await reader.read(wav(), "wav")) == RATE
    reader.close()


async def test_one_that_hangs_is_ended_by_the_clock(
    own: SoundReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_process, "_PATIENCE", 0.2)
    await own.start()
    os.kill(pid_of(own), signal.SIGSTOP)
    with pytest.raises(MediaError, match="takes too much time"):
        await own.read(wav(), "wav")
    monkeypatch.undo()
    assert len(await own.read(wav(), "wav")) == RATE


async def test_the_end_of_a_process_between_files_is_no_files_fault(own: SoundReader) -> None:
    await own.start()
    os.kill(pid_of(own), signal.SIGKILL)
    assert len(await own.read(wav(), "wav")) == RATE


@pytest.mark.timeout(60)
async def test_whoever_leaves_frees_the_process_at_once(
    own: SoundReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_process, "_PATIENCE", 1000.0)
    await own.start()
    os.kill(pid_of(own), signal.SIGSTOP)
    reading = asyncio.create_task(own.read(wav(), "wav"))
    await until(lambda: own._processes[0]._errand)
    reading.cancel()
    assert len(await own.read(wav(), "wav")) == RATE
    assert reading.cancelled()


class Saying:
    """An end of a connection over which these have come."""

    def __init__(self, *messages: bytes) -> None:
        self._messages = list(messages)

    def recv_bytes(self, most: int) -> bytes:
        message = self._messages.pop(0)
        if len(message) > most:
            raise OSError("bad message length")
        return message


@pytest.mark.parametrize(
    "nonsense",
    [[b"[]"], [b'{"a": 1}'], [b"\xff"], [b"", bytes(3)], [b"", bytes(64_001)], [b"", b"\xff" * 4]],
)
def test_an_answer_that_is_none_is_noticed(nonsense: list[bytes]) -> None:
    with pytest.raises((TypeError, ValueError)):
        transfer.receive_answer(cast("Any", Saying(*nonsense)), SoundLimits(sound_seconds=1.0))


async def test_who_allows_longer_ones_allows_what_they_take() -> None:
    """Half an hour, for which what is enough for ten is not."""
    file = wav_of(wav_form(rate=8_000, bits=8), chunk(b"data", bytes(1_800 * 8_000)))
    reader = SoundReader(SoundLimits.of(len(file), 1_800.0))
    assert len(await reader.read(file, "wav")) == 1_800 * RATE
    reader.close()
    assert SoundLimits.of(2**20, 60.0).memory == SoundLimits().memory
