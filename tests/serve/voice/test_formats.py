"""Sound in each of the six formats is as long as it was, and sounds as it did."""

import importlib
import io
import sys
import wave

import av
import numpy as np
import numpy.typing as npt
import pytest

from serve.voice.formats import Format, encode
from serve.voice.types import SAMPLE_RATE

FILES: dict[Format, str] = {
    "wav": "wav",
    "mp3": "mp3",
    "flac": "flac",
    "opus": "ogg",
    "aac": "aac",
}
SECONDS = 5


def tone(samples: int) -> npt.NDArray[np.int16]:
    """440 Hz."""
    return (8000 * np.sin(2 * np.pi * 440 * np.arange(samples) / SAMPLE_RATE)).astype(np.int16)


def decoded(file: bytes, container: str) -> tuple[npt.NDArray[np.float32], int]:
    """Samples and their rate."""
    with av.open(io.BytesIO(file), format=container) as opened:
        resampler = av.AudioResampler("flt", "mono")
        frames = [each for frame in opened.decode(audio=0) for each in resampler.resample(frame)]
        sound = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        assert opened.streams.audio[0].channels == 1
        return sound, frames[0].sample_rate


@pytest.mark.parametrize("form", FILES)
def test_it_is_as_long_and_as_high_as_it_was(form: Format) -> None:
    sound, rate = decoded(encode(form, np.array_split(tone(SECONDS * SAMPLE_RATE), 7)), FILES[form])
    assert len(sound) / rate == pytest.approx(SECONDS, rel=0.02)
    highest = np.abs(np.fft.rfft(sound)).argmax() * rate / len(sound)
    assert highest == pytest.approx(440, abs=1)
    assert np.abs(sound[rate:-rate]).max() == pytest.approx(8000 / 32_768, rel=0.05)


@pytest.mark.parametrize("form", ["wav", "flac", "pcm16"])
def test_three_are_without_loss(form: Format) -> None:
    sound = tone(30_001)
    file = encode(form, [sound])
    if form == "pcm16":
        told = np.frombuffer(file, "<i2")
    else:
        samples, _ = decoded(file, FILES[form])
        told = np.round(samples * 32_768)
    assert np.array_equal(told, sound)


def test_a_waves_header_tells_its_length() -> None:
    file = encode("wav", [tone(1000), tone(500)])
    assert int.from_bytes(file[4:8], "little") == len(file) - 8
    with wave.open(io.BytesIO(file)) as told:
        assert told.getparams()[:4] == (1, 2, SAMPLE_RATE, 1500)


@pytest.mark.parametrize("form", [*FILES, "pcm16"])
def test_how_it_is_cut_changes_nothing_and_no_sound_is_a_file_too(form: Format) -> None:
    sound = tone(60_000)
    assert encode(form, [sound]) == encode(form, np.array_split(sound, 11))
    nothing = encode(form, [])
    assert nothing == encode(form, [sound[:0]])
    if form in ("wav", "pcm16"):
        assert len(nothing) == (44 if form == "wav" else 0)
    else:
        assert len(decoded(nothing, FILES[form])[0]) <= 0.1 * SAMPLE_RATE


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "serve.pyav")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"pip install '\.\[audio\]'"):
        importlib.import_module("serve.pyav")
