"""A picture cut into patches, as a vision tower takes it."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

import numpy as np
from jaxtyping import UInt8

Detail = Literal["low", "high", "auto"]


@dataclass(frozen=True, eq=False)
class PatchedImage:
    """What a tower looks at: bytes, which it rescales and normalizes itself.

    A patch's values are in the order of the reference's weights: for each colour, for each copy
    that the family stacks, its rows from above, each from the left. In which order the patches
    come, each processor says.

    Attributes:
        patches: a row for each patch.
        grid: rows and columns of patches.
        tokens: vectors that it becomes in the prompt.
        digest: SHA-256 over the patches and their grid.
    """

    patches: UInt8[np.ndarray, "P values"]
    grid: tuple[int, int]
    tokens: int
    digest: bytes

    @classmethod
    def of(
        cls, patches: UInt8[np.ndarray, "P values"], grid: tuple[int, int], tokens: int
    ) -> "PatchedImage":
        """One with its digest."""
        digest = sha256(repr((grid, patches.shape)).encode())
        digest.update(np.ascontiguousarray(patches).data)
        return cls(patches, grid, tokens, digest.digest())


def cut(
    pixels: UInt8[np.ndarray, "height width 3"], patch: int, merge: int = 1
) -> UInt8[np.ndarray, "block_rows block_columns merge merge 3 patch patch"]:
    """Patches of `patch` × `patch` pixels, by blocks of `merge` × `merge` of them.

    Height and width are multiples of both together.
    """
    rows, columns = pixels.shape[0] // (patch * merge), pixels.shape[1] // (patch * merge)
    whole = pixels.reshape(rows, merge, patch, columns, merge, patch, 3)
    return whole.transpose(0, 3, 1, 4, 6, 2, 5)
