"""What calls begin and end with, matched item by item. Knows no tool and no format."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from serve.text.calls.shape import CallId, Part, is_control, loosely, spelling

SPACE = frozenset(" \t\r\n")


@dataclass(frozen=True, slots=True)
class Control:
    """A control token in an answer."""

    spelling: str


class Hole(Enum):
    """A step that is not spelled out."""

    SPACE = "any white space, or none"
    NAME = "one of the names"
    ID = "letters and digits"


Item = str | Control
"""One character of an answer, or one control token."""

Step = Item | Hole
Verdict = Literal["more", "whole", "dead"]


def steps(parts: Sequence[Part], controls: Collection[str], *, exact: bool = False) -> list[Step]:
    """What to look for, for parts one after the other.

    Args:
        parts: as a shape has them.
        controls: spellings of the tokenizer's control tokens.
        exact: take white space as it is written.
    """
    found: list[Step] = []
    for part in parts:
        if isinstance(part, CallId):
            found.append(Hole.ID)
        elif is_control(part, controls):
            found.append(Control(spelling(part)))
        elif exact:
            found += spelling(part)
        else:
            for piece in loosely(part):
                found += [Hole.SPACE] if piece is None else piece
    return found


class Pattern:
    """A sequence of steps under way.

    Attributes:
        name: what has stood in the place of `Hole.NAME`.
        taken: how many steps have been taken.
    """

    def __init__(self, sought: Sequence[Step], names: Collection[str] = ()) -> None:
        self.name = ""
        self.taken = 0
        self._steps = sought
        self._names = names

    def advance(self, item: Item) -> Verdict:
        """Take one more item. The last step must be spelled out."""
        while True:
            step = self._steps[self.taken]
            if step is Hole.SPACE:
                if item in SPACE:
                    return "more"
            elif step is Hole.NAME:
                if isinstance(item, str) and self._goes_on(self.name + item):
                    self.name += item
                    return "more"
                if self.name not in self._names:
                    return "dead"
            elif step is Hole.ID:
                if isinstance(item, str) and item.isascii() and item.isalnum():
                    return "more"
            elif step == item:
                self.taken += 1
                return "whole" if self.taken == len(self._steps) else "more"
            else:
                return "dead"
            self.taken += 1

    def _goes_on(self, beginning: str) -> bool:
        return any(name.startswith(beginning) for name in self._names)
