"""Sets of characters, and how they are written for the library."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from serve.grammar.patterns.properties import Property

Range = tuple[int, int]

LAST = 0x10FFFF
# Strings of an answer are UTF-8, in which there are none of these.
_SURROGATES = range(0xD800, 0xE000)
_SPECIAL = frozenset(r"\.+*?()|[]{}^$")
_SPECIAL_IN_CLASSES = frozenset(r"\[]^-&~")


@dataclass(frozen=True, slots=True)
class Characters:
    """A set of characters.

    Attributes:
        ranges: first and last code points, in order, apart from each other.
        properties: characters that have one of these are in it too.
        negated: the set is all the others; only where there are properties.
    """

    ranges: tuple[Range, ...]
    properties: tuple[Property, ...] = ()
    negated: bool = False

    @classmethod
    def of(cls, *ranges: Range) -> "Characters":
        """The characters of ranges in any order, surrogates left out.

        What borders on these on both sides is one range: the library complements no other.
        """
        merged: list[Range] = []
        for first, last in sorted((_next(first), _previous(last)) for first, last in ranges):
            if merged and first <= _next(merged[-1][1] + 1):
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            elif first <= last:
                merged.append((first, last))
        return cls(tuple(merged))

    @classmethod
    def one(cls, code: int) -> "Characters":
        """One character; none for a surrogate."""
        return cls.of((code, code)) if code > 0xFF else _LATIN[code]

    @classmethod
    def union(cls, parts: "Iterable[Characters]") -> "Characters":
        """What is in one of them, of which none is negated."""
        given = list(parts)
        whole = cls.of(*(each for part in given for each in part.ranges))
        properties = dict.fromkeys(each for part in given for each in part.properties)
        return replace(whole, properties=tuple(properties))

    @property
    def complement(self) -> "Characters":
        """All characters that are not in it."""
        if self.properties:
            return replace(self, negated=not self.negated)
        borders = [-1, *(code for each in self.ranges for code in each), LAST + 1]
        gaps = zip(borders[::2], borders[1::2], strict=True)
        return Characters.of(*((last + 1, first - 1) for last, first in gaps if first - last > 1))

    def holds(self, code: int) -> bool:
        """Whether a character is in it.

        Of properties only control characters, the quotation mark and the backslash are known.
        """
        listed = any(first <= code <= last for first, last in self.ranges)
        return (listed or any(each.holds(code) for each in self.properties)) != self.negated

    @property
    def regex(self) -> str:
        """In the dialect of the library: one atom."""
        if self.properties:
            if len(self.properties) == 1 and not self.ranges and not self.negated:
                return self.properties[0].regex
            named = "".join(each.regex for each in self.properties)
            return f"[{'^' if self.negated else ''}{_listed(self.ranges)}{named}]"
        if len(self.ranges) == 1 and self.ranges[0][0] == self.ranges[0][1]:
            return _written(self.ranges[0][0], _SPECIAL)
        others = self.complement.ranges
        if not others:
            return "(?s:.)"
        if self.holds(0) and self.ranges[-1][1] == LAST:
            return f"[^{_listed(others)}]"
        return f"[{_listed(self.ranges)}]" if self.ranges else rf"[^\x{{0}}-\x{{{LAST:X}}}]"


_LATIN = [Characters(((code, code),)) for code in range(0x100)]


def _next(code: int) -> int:
    return _SURROGATES.stop if code in _SURROGATES else code


def _previous(code: int) -> int:
    return _SURROGATES.start - 1 if code in _SURROGATES else code


def _listed(ranges: Iterable[Range]) -> str:
    text = ""
    for first, last in ranges:
        text += _written(first, _SPECIAL_IN_CLASSES)
        if last > first:
            dash = "-" if last > first + 1 else ""
            text += dash + _written(last, _SPECIAL_IN_CLASSES)
    return text


def _written(code: int, special: frozenset[str]) -> str:
    character = chr(code)
    if character in special:
        return "\\" + character
    # Quoting a pattern in an error, the library would put a backslash before a slash.
    plain = character.isprintable() and character != "/"
    return character if plain else rf"\x{{{code:X}}}"
