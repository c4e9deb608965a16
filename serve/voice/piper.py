"""Voices of Piper: models that make a sentence's sound of its phonemes.

Code of our own: Piper itself is under the GPL, the form of its voices is public.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from serve.voice.espeak import check_voice, pronounced
from serve.voice.onnx_model import OnnxModel
from serve.voice.piper_config import PiperConfig, letters_of, read_config
from serve.voice.resampling import Resampler
from serve.voice.types import Samples, Voice, VoiceError

_INPUTS = frozenset({"input", "input_lengths", "scales"})
_SPEAKER = "sid"
_PIECE_SECONDS = 0.5
_PAUSE_SECONDS = 0.2
_LOUDEST = 32_767
# Quieter sounds are not made louder than this allows: silence stays silence.
_QUIETEST_PEAK = 0.01
_CLAUSE = re.compile(r"(.+?)(?:([,;:.!?…]+)[\"'”’»)]*(?:\s+|$)|$)", re.DOTALL)
_GOES_ON = ",;:"
# espeak-ng tells where it changes the language, as in (en)hello(de).
_LANGUAGE = re.compile(r"\([^()]*\)")


class Piper:
    """Speaks by Piper's models.

    Args:
        threads: of each model.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._loaded: dict[str, tuple[OnnxModel, PiperConfig]] = {}

    def prepare(self, voice: Voice) -> None:
        """See `Engine`."""
        path = Path(voice.model)
        if voice.model not in self._loaded:
            config = read_config(path)
            self._loaded[voice.model] = OnnxModel(path, self._threads), config
        model, config = self._loaded[voice.model]
        if absent := _INPUTS - model.inputs:
            raise VoiceError(f"{path} is no voice of Piper: it has no input {min(absent)!r}")
        try:
            config.speaker(voice.speaker)
        except VoiceError as error:
            raise VoiceError(f"{path} {error}") from error
        if config.espeak_voice:
            check_voice(voice.voice or config.espeak_voice)

    def speak(self, text: str, voice: Voice, stopped: Callable[[], bool]) -> Iterator[Samples]:
        """See `Engine`."""
        model, config = self._loaded[voice.model]
        numbers = config.numbers(_phonemes(text, voice.voice or config.espeak_voice, config))
        noise, length_noise = (0.0, 0.0) if voice.steady else (config.noise, config.length_noise)
        inputs: dict[str, npt.NDArray[np.generic]] = {
            "input": np.array([numbers], np.int64),
            "input_lengths": np.array([len(numbers)], np.int64),
            "scales": np.array([noise, config.length / voice.speed, length_noise], np.float32),
        }
        if _SPEAKER in model.inputs:
            inputs[_SPEAKER] = np.array([config.speaker(voice.speaker)], np.int64)
        sound = _as_loud_as_can_be(model.run(inputs, stopped).reshape(-1))
        pause = np.zeros(round(_PAUSE_SECONDS * config.rate), np.int16)
        resampler = Resampler(config.rate)
        step = round(_PIECE_SECONDS * config.rate)
        for start in range(0, len(sound), step):
            yield from resampler.feed(sound[start : start + step])
        yield from resampler.feed(pause)
        yield from resampler.flush()


def _phonemes(text: str, espeak_voice: str, config: PiperConfig) -> str:
    """With the marks between clauses, which espeak-ng does not tell."""
    if not config.espeak_voice:
        return letters_of(text)
    told: list[str] = []
    for clause, marks in _CLAUSE.findall(text):
        sounds = _LANGUAGE.sub("", pronounced(clause, espeak_voice))
        # The models have not seen every mark.
        mark = "." if marks.startswith("…") else str(marks[:1])
        told.append(sounds + mark + (" " if mark in _GOES_ON else ""))
    return unicodedata.normalize("NFD", "".join(told).strip())


def _as_loud_as_can_be(sound: npt.NDArray[np.float32]) -> Samples:
    peak = max(float(np.abs(sound).max(initial=0)), _QUIETEST_PEAK)
    return (sound * (_LOUDEST / peak)).astype(np.int16)
