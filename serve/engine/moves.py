"""Which pages go out of the device's pool, and which come back: what is to be done before a step.

Plain data between the scheduler's side, which decides, and the runner, which copies.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serve.engine.retention import Group

# What a page holds, over all layers, as one array of bytes.
PageBytes = NDArray[np.uint8]


class Save(NamedTuple):
    """A page to be copied out.

    Attributes:
        page: its number.
        name: what it holds.
        group: that it belongs to.
        for_days: whether it is for the directory; else for host memory.
    """

    page: int
    name: bytes
    group: Group | None
    for_days: bool


class Restore(NamedTuple):
    """A page to be filled.

    Attributes:
        page: its number.
        held: what it is to hold.
    """

    page: int
    held: PageBytes


class Moves(NamedTuple):
    """What is copied before the next step: first all that goes out, then what comes in."""

    saves: list[Save]
    restores: list[Restore]

    def __bool__(self) -> bool:
        return bool(self.saves or self.restores)


class Gathered(NamedTuple):
    """Pages on their way out.

    Attributes:
        saves: which they are.
        pages: an array whose first axis has them, in order, and perhaps padding behind them.
    """

    saves: Sequence[Save]
    pages: Any

    def fetch(self) -> list[PageBytes]:
        """Wait until they are here; each as an array of its own."""
        fetched = np.ascontiguousarray(np.asarray(self.pages)[: len(self.saves)])
        rows = fetched.reshape(len(self.saves), -1).view(np.uint8)
        return [row.copy() for row in rows]
