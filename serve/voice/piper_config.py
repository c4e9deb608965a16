"""What stands beside a Piper voice, in `voice.onnx.json`: how texts become the model's numbers."""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from serve.voice.types import VoiceError

_BEGIN, _END, _PAD = "^", "$", "_"
_TYPES = ("espeak", "text")


@dataclass(frozen=True, slots=True)
class PiperConfig:
    """One voice's.

    Attributes:
        rate: samples a second that the model makes.
        espeak_voice: says how words are pronounced; "" where the model reads letters.
        noise: of the sound.
        length: of the sound; 2 is half as fast.
        length_noise: of the phonemes' lengths.
        ids: of each phoneme.
        speakers: how many there are.
        speaker_ids: by name.
    """

    rate: int
    espeak_voice: str
    noise: float
    length: float
    length_noise: float
    ids: Mapping[str, Sequence[int]]
    speakers: int
    speaker_ids: Mapping[str, int]

    def numbers(self, phonemes: Iterable[str]) -> list[int]:
        """The model's input: each phoneme that it knows, and padding after each."""
        known = (self.ids[each] for each in (_BEGIN, *phonemes) if each in self.ids)
        padded = [number for ids in known for number in (*ids, *self.ids[_PAD])]
        return [*padded, *self.ids[_END]]

    def speaker(self, wanted: int | str) -> int:
        """The number of a speaker.

        Raises:
            VoiceError: there is none of that name or number.
        """
        number = self.speaker_ids.get(wanted, -1) if isinstance(wanted, str) else wanted
        if 0 <= number < self.speakers:
            return number
        names = ", ".join(list(self.speaker_ids)[:10]) or "none has a name"
        raise VoiceError(f"has no speaker {wanted!r} among {self.speakers} ({names})")


def read_config(model: Path) -> PiperConfig:
    """The settings beside a model.

    Raises:
        VoiceError: they cannot be read, or are not Piper's.
    """
    path = model.with_name(f"{model.name}.json")
    try:
        return _config(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise VoiceError(f"{path} cannot be read ({error.strerror}); a voice has both") from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise VoiceError(f"{path} holds no settings of a Piper voice: {error!r}") from error


def _config(told: Mapping[str, Any]) -> PiperConfig:
    kind = told.get("phoneme_type", "espeak")
    if kind not in _TYPES:
        raise ValueError(f"phoneme_type {kind!r}; {' and '.join(_TYPES)} are spoken")
    inference = cast("Mapping[str, float]", told.get("inference", {}))
    ids = {str(key): tuple(map(int, value)) for key, value in told["phoneme_id_map"].items()}
    if absent := [each for each in (_BEGIN, _END, _PAD) if each not in ids]:
        raise ValueError(f"phoneme_id_map without {absent[0]!r}")
    return PiperConfig(
        rate=int(told["audio"]["sample_rate"]),
        espeak_voice=str(told["espeak"]["voice"]) if kind == "espeak" else "",
        # What Piper takes where a file does not say.
        noise=float(inference.get("noise_scale", 0.667)),
        length=float(inference.get("length_scale", 1.0)),
        length_noise=float(inference.get("noise_w", 0.8)),
        ids=ids,
        speakers=int(told.get("num_speakers", 1)),
        speaker_ids={str(key): int(value) for key, value in told.get("speaker_id_map", {}).items()},
    )


def letters_of(text: str) -> str:
    """The phonemes of a model that reads letters."""
    return unicodedata.normalize("NFD", text.casefold())
