"""What one sound of a prompt may be and take."""

from dataclasses import dataclass, replace

RATE = 16_000
"""Samples a second of what is read."""

_SAMPLE_BYTES = 4
_LEAST_MEMORY = 64 * 2**20


@dataclass(frozen=True, slots=True)
class SoundLimits:
    """Nothing of a sound is cut off: one that goes beyond a limit is refused.

    Attributes:
        bytes: of the file.
        sound_seconds: that it lasts.
        memory: bytes that the process may take beyond those that it begins with.
        seconds: of a core. An hour of mp3 takes two.
    """

    bytes: int = 25 * 2**20
    sound_seconds: float = 600.0
    memory: int = 256 * 2**20
    seconds: float = 4.0

    @classmethod
    def of(cls, size: int, sound_seconds: float) -> "SoundLimits":
        """Those of files of so many bytes and seconds, with what it takes to read them."""
        plain = cls(size, sound_seconds)
        # Samples are there in pieces, as one, and twice while they are sent.
        memory = _LEAST_MEMORY + 2 * size + 4 * _SAMPLE_BYTES * plain.samples
        seconds = max(plain.seconds, plain.seconds * sound_seconds / 3_600)
        return replace(plain, memory=max(plain.memory, memory), seconds=seconds)

    @property
    def samples(self) -> int:
        """That are read at most."""
        return round(self.sound_seconds * RATE)
