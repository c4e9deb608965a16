"""What moving pages asks of the device: which programs, and the host's arrays for each.

Knows nothing of devices.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Int, Shaped

from serve.engine.moves import Restore, Save

# Pages that one call moves: few, so that a step that moves one does not pay for many.
MOVE_WIDTHS = (1, 8)

_Item = TypeVar("_Item")


class Taking(NamedTuple):
    """One call that copies pages out.

    Attributes:
        saves: which.
        source: their numbers, and padding.
    """

    saves: Sequence[Save]
    source: Int[np.ndarray, " c"]


class Filling(NamedTuple):
    """One call that fills pages.

    Attributes:
        held: what with.
        target: their numbers; out of range for padding.
    """

    held: Shaped[np.ndarray, "c ..."]
    target: Int[np.ndarray, " c"]


def takings(saves: Sequence[Save]) -> Iterator[Taking]:
    """The calls that copy pages out."""
    for part in _parts(saves):
        source = np.zeros(_width(part), np.int32)
        source[: len(part)] = [save.page for save in part]
        yield Taking(part, source)


def fillings(
    restores: Sequence[Restore], page: tuple[int, ...], dtype: np.dtype, num_pages: int
) -> Iterator[Filling]:
    """The calls that fill pages.

    Args:
        restores: which, and with what.
        page: the shape of what one holds.
        dtype: of that.
        num_pages: that there are.
    """
    for part in _parts(restores):
        target = np.full(_width(part), num_pages, np.int32)
        target[: len(part)] = [restore.page for restore in part]
        held = np.zeros((len(target), *page), dtype)
        for row, restore in zip(held, part, strict=False):
            row[...] = restore.held.view(dtype).reshape(page)
        yield Filling(held, target)


def _parts(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """As many at a time as one call takes."""
    most = MOVE_WIDTHS[-1]
    return (items[start : start + most] for start in range(0, len(items), most))


def _width(part: Sequence[object]) -> int:
    return next(width for width in MOVE_WIDTHS if width >= len(part))
