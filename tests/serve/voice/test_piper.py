"""Voices of Piper's form get the numbers that belong to a text, and their sound comes back."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from support.espeak import needs_espeak
from support.piper_voices import RATE, SAMPLES_EACH, write_voice

from serve.voice import piper
from serve.voice.espeak import pronounced
from serve.voice.onnx_model import OnnxModel
from serve.voice.piper import Piper
from serve.voice.piper_config import read_config
from serve.voice.types import SAMPLE_RATE, Voice, VoiceError

PAUSE = 0.2
LETTERS = {"phoneme_type": "text"}


def voice_of(path: Path, **fields: Any) -> Voice:
    return Voice("piper", model=str(path), **fields)


def sound_of(voice: Voice, text: str) -> npt.NDArray[np.int16]:
    engine = Piper(threads=1)
    engine.prepare(voice)
    return np.concatenate(list(engine.speak(text, voice, lambda: False)))


def levels(sound: npt.NDArray[np.int16], count: int, length: float = 1.0) -> list[int]:
    """The middle of each number's part."""
    each = SAMPLES_EACH * length * SAMPLE_RATE / RATE
    return [int(sound[int((number + 0.5) * each)]) for number in range(count)]


def test_numbers_begin_and_end_as_piper_has_them_and_are_padded(tmp_path: Path) -> None:
    config = read_config(write_voice(tmp_path))
    # ^ _ h _ a _ $; what the voice does not know is left out.
    assert config.numbers("hça") == [1, 0, 6, 0, 7, 0, 2]


def test_the_sound_is_the_models_as_loud_as_can_be_and_a_pause(tmp_path: Path) -> None:
    sound = sound_of(voice_of(write_voice(tmp_path, **LETTERS), steady=True), "Ha")
    numbers = [1, 0, 6, 0, 7, 0, 2]
    assert len(sound) == pytest.approx((7 * SAMPLES_EACH / RATE + PAUSE) * SAMPLE_RATE, abs=2)
    told = [32_767 * number / 7 for number in numbers]
    assert levels(sound, 7) == pytest.approx(told, abs=40)
    assert not sound[-int(0.9 * PAUSE * SAMPLE_RATE) :].any()


def test_noise_is_the_files_unless_the_voice_is_steady(tmp_path: Path) -> None:
    path = write_voice(tmp_path, **LETTERS)
    # 0.25 and 0.125 are added to all: the loudest is 7.375.
    assert levels(sound_of(voice_of(path), "ha"), 2) == pytest.approx(
        [32_767 * 1.375 / 7.375, 32_767 * 0.375 / 7.375], abs=40
    )


def test_speed_and_the_files_length_say_how_long_it_is(tmp_path: Path) -> None:
    inference = {"noise_scale": 0.0, "noise_w": 0.0, "length_scale": 3.0}
    path = write_voice(tmp_path, inference=inference, **LETTERS)
    sound = sound_of(voice_of(path, speed=2.0), "ha")
    seconds = 1.5 * 7 * SAMPLES_EACH / RATE + PAUSE
    assert len(sound) == pytest.approx(seconds * SAMPLE_RATE, abs=2)


def test_a_speaker_has_a_number_or_a_name(tmp_path: Path) -> None:
    path = write_voice(tmp_path, speakers=3, **LETTERS)
    by_name, by_number = (
        sound_of(voice_of(path, speaker=speaker, steady=True), "ha") for speaker in ("p2", 2)
    )
    assert np.array_equal(by_name, by_number)
    # Twenty are added to all.
    assert levels(by_name, 3) == pytest.approx(
        [32_767 * number / 27 for number in (21, 20, 26)], abs=200
    )
    for stranger in ("p3", 3, -1):
        with pytest.raises(VoiceError, match=r"has no speaker .* among 3 \(p0, p1, p2\)"):
            Piper(1).prepare(voice_of(path, speaker=stranger))


@needs_espeak
def test_phonemes_are_those_of_espeak_with_marks_between_clauses(tmp_path: Path) -> None:
    config = read_config(write_voice(tmp_path))
    told = piper._phonemes('Hi, 3.5 "cats"… Yes! (No)', "en-us", config)
    # How they sound is espeak-ng's affair, of whatever version.
    hi, cats, yes, no = (pronounced(each, "en-us") for each in ("Hi", "3.5 cats", "Yes", "No"))
    assert told == f"{hi}, {cats}.{yes}!{no}"


@needs_espeak
def test_the_language_says_how_words_are_pronounced(tmp_path: Path) -> None:
    config = read_config(write_voice(tmp_path))
    # Decomposed: the cedilla is a character of its own. The change of language is not told.
    assert piper._phonemes("ich", "de", config) == "ˈɪc\u0327"
    assert "(" not in piper._phonemes("Das ist ein Computer shutdown", "de", config)


def test_one_that_nobody_waits_for_ends_and_the_next_runs(tmp_path: Path) -> None:
    model = OnnxModel(write_voice(tmp_path), threads=1)
    inputs = {
        "input": np.zeros((1, 200_000), np.int64),
        "input_lengths": np.array([200_000]),
        "scales": np.array([0, 8, 0], np.float32),
    }
    assert model.run(inputs, lambda: True).size == 0
    inputs["input"] = inputs["input"][:, :3]
    assert model.run(inputs, lambda: False).size == 3 * 8 * SAMPLES_EACH


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"phoneme_type": "pinyin"}, "phoneme_type 'pinyin'"),
        ({"phoneme_id_map": {"^": [1], "_": [0]}}, r"phoneme_id_map without '\$'"),
        ({"audio": {}}, "sample_rate"),
        ({"espeak": 3}, "no settings of a Piper voice"),
        ({"phoneme_id_map": ["a"]}, "no settings of a Piper voice"),
    ],
)
def test_settings_that_are_not_pipers_are_refused(
    changed: dict[str, Any], wrong: str, tmp_path: Path
) -> None:
    with pytest.raises(VoiceError, match=wrong):
        read_config(write_voice(tmp_path, **changed))


def test_files_that_are_missing_or_no_models_are_named(tmp_path: Path) -> None:
    with pytest.raises(VoiceError, match=r"none\.onnx\.json cannot be read \(No such file"):
        Piper(1).prepare(voice_of(tmp_path / "none.onnx"))
    path = write_voice(tmp_path)
    path.write_bytes(b"no model")
    with pytest.raises(VoiceError, match=r"tiny\.onnx cannot be loaded"):
        Piper(1).prepare(voice_of(path))


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "serve.voice.onnx_model")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"pip install '\.\[piper\]'"):
        importlib.import_module("serve.voice.onnx_model")
