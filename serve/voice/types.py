"""What is said between those who want texts spoken and those who speak them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 24_000
"""Samples a second of all that is spoken."""

Samples: TypeAlias = npt.NDArray[np.int16]
"""`[samples]`, one channel."""

EngineName: TypeAlias = Literal["espeak-ng", "piper"]


class VoiceError(Exception):
    """Something is not spoken; the message is one sentence for whoever asked."""


@dataclass(frozen=True, slots=True)
class Voice:
    """How something is spoken.

    Attributes:
        engine: what speaks.
        voice: of espeak-ng, such as `en-us+f3`. It says for Piper how words are pronounced; there
            "" is what the model's own settings name.
        model: Piper's file; "" for espeak-ng.
        speaker: of a model with several.
        speed: 1 is the voice's own.
        pitch: of espeak-ng, 0 to 99.
        steady: without Piper's noise, so that the same text always sounds the same.
    """

    engine: EngineName
    voice: str = ""
    model: str = ""
    speaker: int | str = 0
    speed: float = 1.0
    pitch: int = 50
    steady: bool = False


class Engine(Protocol):
    """What speaks sentences, in a process of its own."""

    def prepare(self, voice: Voice) -> None:
        """Load what the voice takes.

        Raises:
            VoiceError: there is no such voice, or the engine is not there.
        """
        ...

    def speak(self, text: str, voice: Voice, stopped: Callable[[], bool]) -> Iterator[Samples]:
        """The sound of one sentence, in pieces as they are spoken.

        Args:
            text: plain, with a letter or a digit in it.
            voice: that was prepared.
            stopped: whether nobody wants the rest; is looked at where much time passes between
                pieces.

        Raises:
            VoiceError: it cannot be spoken.
        """
        ...
