"""A file that has been read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """One page, or the whole text of a kind that knows no pages. A blank one has nothing.

    Attributes:
        text: lines that end with a line feed, the last one without; "" if there is none.
        picture: uint8 `[height, width, 3]`, RGB on white; of a page without text.
        unreadable: why there is neither, or "".
    """

    text: str = ""
    picture: npt.NDArray[np.uint8] | None = None
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """What was read of a file.

    Attributes:
        name: as it is shown: one line, not too long.
        kind: what it is, such as `PDF`.
        paged: whether its kind has pages.
        pages: in order; one, if its kind has none.
        left_out: what it has beside that is not read, such as `2 pictures`.
    """

    name: str
    kind: str
    paged: bool
    pages: Sequence[Page]
    left_out: Sequence[str] = ()
