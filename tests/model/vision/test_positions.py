"""Positions of parts of a prompt with images are those of the whole."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from model.vision.positions import behind, turns


@dataclass(frozen=True)
class Placed:
    start: int
    tokens: int
    grid: tuple[int, int]


# Of 6 × 4 patches, 2 × 2, and 2 × 12 right behind it: squares of 2 are tokens.
IMAGES = [Placed(3, 6, (6, 4)), Placed(11, 1, (2, 2)), Placed(12, 6, (2, 12))]
# Time, row and column of each token, by hand.
WHOLE = np.array(
    [
        [0, 1, 2, 3, 3, 3, 3, 3, 3, 6, 7, 8, 9, 9, 9, 9, 9, 9, 15, 16],
        [0, 1, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9, 15, 16],
        [0, 1, 2, 3, 4, 3, 4, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
    ]
)


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_each_part_is_as_in_the_whole(count: int) -> None:
    length = WHOLE.shape[1]
    for start in range(length - count + 1):
        found = turns(IMAGES, 2, start, count)
        np.testing.assert_array_equal(found, WHOLE[:, start : start + count])


@pytest.mark.parametrize(("images", "less"), [(IMAGES[:0], 0), (IMAGES[:1], 3), (IMAGES, 3)])
def test_text_behind_images(images: Sequence[Placed], less: int) -> None:
    assert behind(images, 2) == less
    np.testing.assert_array_equal(turns(images, 2, 30, 2), [[30 - less, 31 - less]] * 3)
