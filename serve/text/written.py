"""Text that remembers which of its characters a template wrote itself.

    {{ '<|im_start|>' + message.content }}

    text    <|im_start|>say <|im_end|>
    marks   111111111111000000000000000

A template's words are `own`; whatever else comes into a rendering, a message above all, is plain
`str` and nobody's. So templates work on messages with Python's own methods, and what they find
there, cut out and count is what they would without marks.

Marks are kept by the operations below, which put text together and cut it. Any other gives plain
`str`: a mark can be lost on the way, but never won.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self, SupportsIndex, cast

from markupsafe import Markup

# Stands for a template's own characters where text is filled in. Any other would do as well.
_STAND_IN = "\ue000"
_PERCENT = re.compile(
    r"%(?:\([^)]*\))?[-#0 +]*(?:\*|\d*)(?:\.(?:\*|\d*))?[hlL]?[diouxXeEfFgGcrsa%]"
)
_BRACES = re.compile(r"\{\{|\}\}|\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}")


def _cased(name: str) -> Any:
    method = getattr(str, name)

    def call(self: "Written") -> str:
        return recased(self, method(self))

    return call


class Written(str):
    """A string and, for each character, whether a template wrote it.

    Args:
        text: the string.
        marks: a byte for each character, 0 where it is nobody's; all are without it.
    """

    __slots__ = ("marks",)

    marks: bytes

    def __new__(cls, text: object = "", marks: bytes | None = None) -> Self:  # noqa: D102
        made = super().__new__(cls, text)
        made.marks = bytes(len(made)) if marks is None else marks
        return made

    # Without it `str(text)`, which filters call, would lose the marks.
    def __str__(self) -> str:
        return self

    def plain(self) -> str:
        """The string without its marks."""
        return str.__str__(self)

    def __add__(self, other: object) -> "Written":
        # Markup escapes what it is added to, and so has the word.
        if not isinstance(other, str) or isinstance(other, Markup):
            return NotImplemented
        return Written(str.__add__(self, other), self.marks + marks_of(other))

    def __radd__(self, other: object) -> "Written":
        if not isinstance(other, str):
            return NotImplemented
        return Written(other + self.plain(), marks_of(other) + self.marks)

    def __mul__(self, count: SupportsIndex) -> "Written":
        return Written(str.__mul__(self, count), self.marks * count)

    def __rmul__(self, count: SupportsIndex) -> "Written":
        return self * count

    def __mod__(self, values: Any) -> str:
        return _filled(
            str.__mod__(self, values),
            lambda: str.__mod__(_hollow(self, _PERCENT, "%"), _hidden(values)),
        )

    def __getitem__(self, key: SupportsIndex | slice) -> "Written":
        marks = self.marks[key]
        return Written(
            str.__getitem__(self, key), marks if isinstance(marks, bytes) else bytes([marks])
        )

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))

    def join(self, iterable: Iterable[str], /) -> "Written":
        """As `str.join`."""
        pieces = list(iterable)
        return Written(str.join(self, pieces), self.marks.join(map(marks_of, pieces)))

    def lstrip(self, chars: str | None = None, /) -> "Written":
        """As `str.lstrip`."""
        return self[len(self) - len(str.lstrip(self, chars)) :]

    def rstrip(self, chars: str | None = None, /) -> "Written":
        """As `str.rstrip`."""
        return self[: len(str.rstrip(self, chars))]

    def strip(self, chars: str | None = None, /) -> "Written":
        """As `str.strip`."""
        return self.lstrip(chars).rstrip(chars)

    def removeprefix(self, prefix: str, /) -> "Written":
        """As `str.removeprefix`."""
        return self[len(self) - len(str.removeprefix(self, prefix)) :]

    def removesuffix(self, suffix: str, /) -> "Written":
        """As `str.removesuffix`."""
        return self[: len(str.removesuffix(self, suffix))]

    def partition(self, sep: str, /) -> tuple[str, str, str]:
        """As `str.partition`."""
        return self._three(str.partition(self, sep))

    def rpartition(self, sep: str, /) -> tuple[str, str, str]:
        """As `str.rpartition`."""
        return self._three(str.rpartition(self, sep))

    def _three(self, pieces: tuple[str, str, str]) -> tuple[str, str, str]:
        first, last = len(pieces[0]), len(self) - len(pieces[2])
        return self[:first], self[first:last], self[last:]

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        """As `str.split`."""
        return self._found(str.split(self, sep, maxsplit), sep)

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        """As `str.rsplit`."""
        return self._found(str.rsplit(self, sep, maxsplit), sep)

    def _found(self, pieces: list[str], sep: str | None) -> list[str]:
        """`pieces` with their marks, in order and parted by `sep`, or by white space."""
        found: list[str] = []
        position = 0
        for piece in pieces:
            start = position if sep is not None else self.index(piece, position)
            end = start + len(piece)
            found.append(self[start:end])
            position = end + len(sep or "")
        return found

    def splitlines(self, keepends: bool = False) -> list[str]:
        """As `str.splitlines`."""
        lines: list[str] = []
        position = 0
        for line, whole in zip(
            str.splitlines(self, keepends), str.splitlines(self, keepends=True), strict=True
        ):
            lines.append(self[position : position + len(line)])
            position += len(whole)
        return lines

    def replace(self, old: str, new: str, count: SupportsIndex = -1, /) -> "Written":
        """As `str.replace`; of the marks none are kept where `old` is empty."""
        if not old:
            return Written(str.replace(self, old, new, count))
        return Written(new, marks_of(new)).join(self.split(old, count))

    capitalize = _cased("capitalize")
    casefold = _cased("casefold")
    lower = _cased("lower")
    swapcase = _cased("swapcase")
    title = _cased("title")
    upper = _cased("upper")


class WrittenMarkup(Markup):
    """What the filter `safe` makes of text with marks. They are lost where it is worked on."""

    __slots__ = ("marks",)

    marks: bytes

    def __new__(cls, text: str = "") -> Self:  # noqa: D102
        made = super().__new__(cls, text)
        made.marks = marks_of(text)
        return made

    def __str__(self) -> str:
        return Written(str.__str__(self), self.marks)


def own(text: str) -> Written:
    """`text` as a template's own."""
    return Written(text, b"\1" * len(text))


def marks_of(text: str) -> bytes:
    """A byte for each character of `text`, 0 where no template wrote it."""
    return text.marks if isinstance(text, Written | WrittenMarkup) else bytes(len(text))


def concat(pieces: Iterable[str]) -> Written:
    """`pieces` in a row."""
    return Written().join(pieces)


def recased(text: str, result: str) -> str:
    """`result`, which is `text` in other letters, with its marks.

    A character becomes one or more others, so where the lengths are the same, it is one for one.
    """
    return Written(result, marks_of(text)) if len(result) == len(text) else result


def formatted(
    text: Written,
    call: Callable[..., str],
    values: tuple[object, ...],
    named: Mapping[str, object],
) -> str:
    """`text.format(…)` with its marks.

    Args:
        text: what is filled in.
        call: does the formatting, given a string and the values.
        values: by position.
        named: by name.
    """
    return _filled(
        call(text.plain(), *values, **named),
        lambda: call(_hollow(text, _BRACES, "{}"), *_hidden(values), **_hidden(named)),
    )


def _filled(result: str, again: Callable[[], str]) -> str:
    """`result` with marks where the stand-in is when it is made again of stand-ins."""
    try:
        shape = again()
    except (ValueError, TypeError, LookupError):
        return result
    pairs = list(zip(result, shape, strict=False))
    if len(result) != len(shape) or any(b not in (a, _STAND_IN) for a, b in pairs):
        return result
    return Written(result, bytes(b == _STAND_IN != a for a, b in pairs))


def _hidden(value: Any) -> Any:
    """`value`, or values, with the stand-in for characters that a template wrote."""
    if isinstance(value, tuple):
        return tuple(map(_hidden, cast("tuple[object, ...]", value)))
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, object]", value)
        return {key: _hidden_text(inner) for key, inner in fields.items()}
    return _hidden_text(value)


def _hidden_text(value: object) -> object:
    if not isinstance(value, Written):
        return value
    pairs = zip(value.plain(), value.marks, strict=True)
    return "".join(_STAND_IN if mark else character for character, mark in pairs)


def _hollow(text: Written, places: re.Pattern[str], signs: str) -> str:
    """`text` with the stand-in for its own characters, but for the places to fill.

    Raises:
        ValueError: one of the `signs` that places begin or end with stands beside them.
    """
    pieces: list[str] = []
    position = 0
    for place in (*places.finditer(text), None):
        words = text[position : place and place.start()]
        if any(sign in words for sign in signs):
            raise ValueError("a place of a kind that the pattern does not know")
        pieces.append(str(_hidden_text(words)))
        if place:
            pieces.append(place[0])
            position = place.end()
    return "".join(pieces)
