"""What recognizing speech is to its callers: samples in, text out. Imports no JAX."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

# Samples of a second.
SAMPLE_RATE = 16_000


class Transcript(NamedTuple):
    """What a sound says.

    Attributes:
        text: empty where nobody speaks.
        language: its code, as `en`; None where nobody speaks.
    """

    text: str
    language: str | None


class HearingError(Exception):
    """A sound could not be recognized, through no fault of who asked; the message says why."""


class UnknownLanguageError(ValueError):
    """A language that the model does not know; the message names those that it does."""

    def __init__(self, language: str, known: Sequence[str]) -> None:
        super().__init__(f"language is {language!r}; it must be one of {', '.join(known)}")


@runtime_checkable
class Hears(Protocol):
    """A speech model that runs beside the engine."""

    @property
    def languages(self) -> Sequence[str]:
        """Codes of those that it knows."""
        ...

    async def transcribe(self, samples: np.ndarray, language: str | None = None) -> Transcript:
        """What a sound says; whoever stops waiting has it given up.

        Args:
            samples: [N], float32 within ±1, mono, of 16 kHz.
            language: that is spoken; None to find it out from the first half minute.

        Raises:
            HearingError: it could not be recognized.
            UnknownLanguageError: the model does not know the language.
            ValueError: the samples are not such as described.
        """
        ...
