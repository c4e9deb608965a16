"""What images do to positions: what their tokens are rotated by, and how far they see.

Of a prompt whose images stand at known places; NumPy alone.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class PlacedImage(Protocol):
    """An image in a prompt: see `PromptImage`."""

    @property
    def start(self) -> int:
        """Position of its first token."""
        ...

    @property
    def tokens(self) -> int:
        """How many it has, side by side."""
        ...

    @property
    def grid(self) -> tuple[int, int]:
        """Its rows and columns of patches."""
        ...


def turns(images: Sequence[PlacedImage], merge: int, start: int, count: int) -> NDArray[np.int32]:
    """[3, count]: what tokens from `start` on are rotated by on the axes of time, rows and columns.

    An image's tokens are all of one time, and as many rows and columns behind it as they are in the
    image. What comes next goes on behind the furthest of them.

    Args:
        images: of the prompt, in their order.
        merge: patches along a side of the square that becomes a token.
        start: position of the first token.
        count: tokens.
    """
    before = [image for image in images if image.start + image.tokens <= start]
    less = behind(before, merge)
    found = np.tile(np.arange(start, start + count, dtype=np.int32) - less, (3, 1))
    for image in images[len(before) :]:
        if image.start >= start + count:
            break
        rows, columns = (side // merge for side in image.grid)
        first, end = image.start - start, image.start + image.tokens - start
        here = slice(max(0, first), end)
        time = image.start - less
        less += behind([image], merge)
        found[:, end:] = np.arange(start + end, start + count) - less
        places = np.stack([np.zeros(image.tokens), *np.indices((rows, columns)).reshape(2, -1)])
        wanted = slice(here.start - first, min(here.stop, count) - first)
        found[:, here] = (time + places[:, wanted]).astype(np.int32)
    return found


def behind(images: Sequence[PlacedImage], merge: int) -> int:
    """By how much text after these images is rotated less than by its position; see `turns`."""
    return sum(image.tokens - max(image.grid) // merge for image in images)


def ends(images: Sequence[PlacedImage], start: int, count: int) -> NDArray[np.int32]:
    """[count]: the last position that each token sees, where those of an image see all of it."""
    found = np.arange(start, start + count, dtype=np.int32)
    for image in images:
        first, end = image.start - start, image.start + image.tokens - start
        found[max(0, first) : max(0, end)] = start + end - 1
    return found
