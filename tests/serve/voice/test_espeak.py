"""espeak-ng speaks what it is given, and takes none of it for a command."""

import subprocess

import numpy as np
import numpy.typing as npt
import pytest
from support.espeak import needs_espeak

from serve.voice import espeak
from serve.voice.espeak import Espeak, check_voice, pronounced
from serve.voice.types import SAMPLE_RATE, Voice, VoiceError

SENTENCE = "The quick brown fox jumps over the lazy dog."

pytestmark = needs_espeak


def sound_of(text: str, voice: Voice | None = None) -> npt.NDArray[np.int16]:
    spoken = Espeak().speak(text, voice or Voice("espeak-ng", "en-us"), lambda: False)
    return np.concatenate(list(spoken))


def hertz(sound: npt.NDArray[np.int16]) -> float:
    """The voice's, between 60 and 220: where the sound is most like itself a period later."""
    power = np.abs(np.fft.rfft(sound.astype(np.float64), 2 * len(sound))) ** 2
    return SAMPLE_RATE / (110 + np.fft.irfft(power)[110:400].argmax())


def own_sound(text: str) -> npt.NDArray[np.int16]:
    """The program's own, at its own 22,050 samples a second."""
    command = ["espeak-ng", "--stdin", "--stdout", "-ven-us"]
    told = subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout
    return np.frombuffer(told[44:], "<i2")


def test_it_sounds_as_the_program_does() -> None:
    sound, own = sound_of(SENTENCE), own_sound(SENTENCE)
    assert len(sound) == pytest.approx(len(own) * SAMPLE_RATE / 22_050, abs=2)
    times = np.arange(len(own)) / 22_050 * SAMPLE_RATE
    resampled = np.interp(times, np.arange(len(sound)), sound.astype(np.float64))
    assert np.corrcoef(resampled, own)[0, 1] > 0.95


def test_the_first_piece_comes_before_the_last_is_spoken() -> None:
    pieces = Espeak().speak(SENTENCE * 3, Voice("espeak-ng", "en-us"), lambda: False)
    assert len(next(pieces)) < SAMPLE_RATE / 2
    pieces.close()  # pyright: ignore[reportAttributeAccessIssue]


def test_speed_and_pitch_are_heard() -> None:
    plain = sound_of(SENTENCE)
    fast = sound_of(SENTENCE, Voice("espeak-ng", "en-us", speed=2.0))
    assert len(fast) < 0.65 * len(plain)
    high = sound_of(SENTENCE, Voice("espeak-ng", "en-us", pitch=99))
    assert hertz(high) > 1.3 * hertz(plain)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("[[h@loU]]", "h at lou"),
        ("a\x01 300S b", "a  300S b"),
        ("a\x00b", "a b"),
        ("--voices", "voices"),
        ("-w/tmp/x hi", "-w/tmp/x hi"),
        ("a \ud800 b", "a b"),
    ],
)
def test_nothing_in_a_text_is_a_command(text: str, plain: str) -> None:
    if "[[" in text:
        assert pronounced(text, "en-us") != pronounced("hello", "en-us")
    else:
        assert pronounced(text, "en-us") == pronounced(plain, "en-us")
    assert len(sound_of(text))


@pytest.mark.parametrize("voice", ["en", "de", "en-us+f3", "en-us+Mr serious", "en-gb-scotland"])
def test_voices_that_there_are(voice: str) -> None:
    check_voice(voice)


@pytest.mark.parametrize(
    ("voice", "wrong"),
    [
        ("xx", "has no voice 'xx'"),
        ("en-us+nobody", r"has no voice 'en-us\+nobody'"),
        ("-w/tmp/x", "has no voice"),
    ],
)
def test_voices_that_there_are_not(voice: str, wrong: str) -> None:
    with pytest.raises(VoiceError, match=wrong):
        check_voice(voice)


def test_a_variant_that_changes_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_voice("en+f3")
    # As it is with en-gb+f3.
    monkeypatch.setattr(espeak, "_run", lambda command, text: b"a sound")
    with pytest.raises(VoiceError, match=r"speaks 'en\+f3' no other than 'en'"):
        check_voice("en+f3")


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak, "_PROGRAM", "espeak-ng-that-is-not-there")
    with pytest.raises(VoiceError, match="apt-get install espeak-ng"):
        check_voice("en")
