"""A picture as all of the server knows it: rows of red, green and blue."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np
from jaxtyping import UInt8


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture, as it is to be looked at: upright, and on white where it was transparent.

    Attributes:
        pixels: red, green and blue of each; not to be written to.
    """

    pixels: UInt8[np.ndarray, "height width 3"]

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        """Pixels in a row."""
        return self.pixels.shape[1]

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 over its shape and its pixels: equal for pictures that look the same."""
        return array_digest(self.pixels)


def array_digest(array: np.ndarray) -> bytes:
    """SHA-256 over the shape of an array and its numbers."""
    digest = sha256(repr(array.shape).encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
