"""What one sound of a prompt may be and take."""

from dataclasses import dataclass

RATE = 16_000
"""Samples a second of what is read."""


@dataclass(frozen=True, slots=True)
class SoundLimits:
    """Nothing of a sound is cut off: one that goes beyond a limit is refused.

    Attributes:
        bytes: of the file.
        sound_seconds: that it lasts.
        memory: bytes that the process may take beyond those that it begins with: for ten minutes
            thrice what the samples and the file take.
        seconds: of a core. An hour of mp3 takes two.
    """

    bytes: int = 25 * 2**20
    sound_seconds: float = 600.0
    memory: int = 256 * 2**20
    seconds: float = 4.0

    @property
    def samples(self) -> int:
        """That are read at most."""
        return round(self.sound_seconds * RATE)
