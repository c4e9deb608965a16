"""What calls look like in an answer, said once: grammar and parser are both made from it.

An answer is text, or text and then a run of calls:

    run        trigger opening call (between call)* closing
    function   head NAME separator {…} tail
    custom     head NAME custom_separator input custom_end

A custom tool's input is raw text and always the last thing of its run. It ends with
`custom_end`, or with the turn where there is none. Spelled with ordinary characters,
`custom_end` begins a line, which other inputs than Lark's leave out; an input bound by a Lark
grammar ends with the turn, for nothing else could promise that it does not hold such a line.

The grammar writes white space as it stands here. The parser takes any, or none, where there is
some and beside JSON's punctuation; but markers, and the line break before an input, are exact.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeGuard


@dataclass(frozen=True, slots=True)
class Marker:
    """A control token where the tokenizer has one of this spelling, the characters elsewhere."""

    spelling: str


@dataclass(frozen=True, slots=True)
class CallId:
    """An id that the model makes up for a call: nine letters and digits. Clients get ours."""


Part = str | Marker | CallId
Parts = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class CallShape:
    """One way in which calls are written; the module's docstring has the picture.

    Attributes:
        trigger: what no text that is not a call may hold.
        opening: what follows it once.
        head: what each call begins with.
        separator: between name and arguments.
        tail: what a function call ends with.
        between: between two calls; None where there can only be one.
        closing: what ends a run of function calls.
        custom_separator: between name and input.
        custom_end: what ends an input.
        at_start: the trigger is one at the beginning of the answer only.
        control_only: the trigger is none where the tokenizer has no control token for it.
    """

    trigger: str | Marker
    head: str
    separator: Parts
    custom_separator: Parts
    opening: Parts = ()
    tail: str = ""
    between: Parts | None = None
    closing: Parts = ()
    custom_end: str | Marker | None = None
    at_start: bool = False
    control_only: bool = False

    @property
    def markers(self) -> set[str]:
        """Spellings of all its markers."""
        ends = () if self.custom_end is None else (self.custom_end,)
        parts = (self.trigger, *self.opening, *self.separator, *(self.between or ()))
        parts = (*parts, *self.closing, *self.custom_separator, *ends)
        return {part.spelling for part in parts if isinstance(part, Marker)}

    def usable(self, controls: Collection[str]) -> bool:
        """Whether the trigger can be told from text, given the tokenizer's control spellings."""
        return not self.control_only or is_control(self.trigger, controls)

    def input_end(self, controls: Collection[str], *, free: bool) -> str | Marker | None:
        """What ends an input; `free` where its language can leave the spelling out."""
        end = self.custom_end
        if end is None or is_control(end, controls):
            return end
        return f"\n{spelling(end)}" if free else None


def is_control(part: Part, controls: Collection[str]) -> TypeGuard[Marker]:
    """Whether `part` arrives as one control token rather than as characters."""
    return isinstance(part, Marker) and part.spelling in controls


def spelling(part: str | Marker) -> str:
    """The characters of a part."""
    return part.spelling if isinstance(part, Marker) else part


def loosely(part: str | Marker) -> list[str | None]:
    """The pieces of a part that the parser looks for; None for any white space, or none."""
    if isinstance(part, Marker):
        return [part.spelling]
    pieces: list[str | None] = []
    for piece in re.findall(r"\s+|[{}\[\],:]|[^\s{}\[\],:]+", part):
        if piece.isspace():
            pieces.append(None)
        elif piece in "{}[],:":
            pieces += [None, piece, None]
        else:
            pieces.append(piece)
    return [piece for index, piece in enumerate(pieces) if piece or not index or pieces[index - 1]]
