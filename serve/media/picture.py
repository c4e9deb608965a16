"""A picture as all of the server knows it: rows of red, green and blue."""

from dataclasses import dataclass

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
