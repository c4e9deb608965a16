"""Reads patterns by the grammar of ECMA-262 (2024), section 22.2.1, with the `u` flag.

What that grammar has no meaning for is read by its Annex B.1.2, where people write it and it has
one meaning only: braces and brackets that stand for themselves, a backslash before any sign
(`\\-`, `\\_`, `\\"`), a class in a range (`[\\w-.]`). What other dialects take for something else
(`\\A`, `\\z`, `\\Q`, `\\1`, `{,3}`) is refused, and so is what no automaton can do.
"""

import re
from typing import NoReturn

from serve.grammar.patterns.characters import LAST, Characters
from serve.grammar.patterns.properties import property_named
from serve.grammar.patterns.tree import (
    Anchor,
    Choice,
    Letter,
    Node,
    PatternError,
    Repeat,
    Sequence,
)

# Groups in groups; the library allows some more.
_DEEPEST = 100
# The library counts in 32 bits.
_MOST_DIGITS = 9
_QUANTIFIER = re.compile(r"(?:([*+?])|\{([0-9]+)(?:(,)([0-9]*))?\})\??")
_SIGNS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_NO_LOWER_NUMBER = re.compile(r"\{,[0-9]+\}")
_LOOK_AROUND = ("?=", "?!", "?<=", "?<!")
_NAME = re.compile(r"\?<([^\W\d]|\$)[\w$\u200c\u200d]*>")

_DIGITS = Characters.of((0x30, 0x39))
_WORD = Characters.of((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
# Section 12.2 and 12.3: white space with the byte order mark, and ends of lines.
_SPACE = Characters.of(
    *((0x09, 0x0D), (0x20, 0x20), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A)),
    *((0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
)
_NOT_A_LINE_END = Characters.of((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029)).complement
_CLASSES = {
    "d": _DIGITS,
    "D": _DIGITS.complement,
    "w": _WORD,
    "W": _WORD.complement,
    "s": _SPACE,
    "S": _SPACE.complement,
}
_SURROGATES = "gc=Cs"
_CONTROLS = {"f": 0x0C, "n": 0x0A, "r": 0x0D, "t": 0x09, "v": 0x0B}


def parse(pattern: str) -> Node:
    """The tree of a pattern.

    Raises:
        PatternError: it is malformed, or asks for what cannot be enforced.
    """
    parser = _Parser(pattern)
    node = parser.disjunction(0)
    if parser.position < len(pattern):
        parser.refuse(parser.position, "unopened group; write '\\)' for the sign itself")
    return node


class _Parser:
    """A pattern, and how far it has been read."""

    def __init__(self, text: str) -> None:
        self.position = 0
        self._text = text

    def refuse(self, position: int, reason: str) -> NoReturn:
        raise PatternError(position, reason)

    def disjunction(self, depth: int) -> Node:
        """Alternatives up to a `)` or the end."""
        options = [self._alternative(depth)]
        while self._took("|"):
            options.append(self._alternative(depth))
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _alternative(self, depth: int) -> Node:
        parts: list[Node] = []
        while self.position < len(self._text) and self._text[self.position] not in "|)":
            parts.append(self._term(depth))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _term(self, depth: int) -> Node:
        start = self.position
        match self._text[start]:
            case "^" | "$" as sign:
                self.position += 1
                return Anchor(sign, start)
            case "(":
                atom = self._group(depth)
            case "[":
                atom = Letter(self._class(), start)
            case ".":
                self.position += 1
                atom = Letter(_NOT_A_LINE_END, start)
            case "\\":
                atom = Letter(_set(self._escape(in_class=False)), start)
            case _:
                if self._quantifier() is not None:
                    self.refuse(start, "nothing to repeat")
                self.position += 1
                atom = Letter(Characters.one(ord(self._text[start])), start)
        return self._quantified(atom)

    def _quantified(self, atom: Node) -> Node:
        start = self.position
        found = self._quantifier()
        if found is None:
            return atom
        self.position = found.end()
        sign, low, comma, high = found.groups()
        if sign:
            return Repeat(atom, *_SIGNS[sign])
        if max(len(low), len(high or "")) > _MOST_DIGITS:
            self.refuse(start, f"a number of more than {_MOST_DIGITS} digits")
        least = int(low)
        most = int(high) if high else None if comma else least
        if most is not None and most < least:
            self.refuse(start, "the numbers of a repetition are out of order")
        return Repeat(atom, least, most)

    def _quantifier(self) -> "re.Match[str] | None":
        if _NO_LOWER_NUMBER.match(self._text, self.position):
            self.refuse(self.position, "a repetition has no lower number; write '{0,' for it")
        return _QUANTIFIER.match(self._text, self.position)

    def _group(self, depth: int) -> Node:
        start = self.position
        inside = self._text[start + 1 : start + 4]
        if inside.startswith(_LOOK_AROUND):
            self.refuse(start, "look-around is not supported")
        if depth == _DEEPEST:
            self.refuse(start, f"groups are nested more than {_DEEPEST} deep")
        self.position += 1
        if inside.startswith("?:"):
            self.position += 2
        elif inside.startswith("?"):
            name = _NAME.match(self._text, self.position)
            if name is None:
                self.refuse(start, "'(?' begins only '(?:' and '(?<name>'; flags are not supported")
            self.position = name.end()
        node = self.disjunction(depth + 1)
        if not self._took(")"):
            self.refuse(start, "unclosed group")
        return node

    def _class(self) -> Characters:
        start = self.position
        self.position += 1
        negated = self._took("^")
        parts: list[Characters] = []
        while not self._took("]"):
            at = self.position
            first = self._class_atom(start)
            parts.append(_set(first))
            if not self._text.startswith("-", self.position):
                continue
            if self._text.startswith("-]", self.position):
                parts.append(_set(ord("-")))
                self.position += 1
                continue
            self.position += 1
            last = self._class_atom(start)
            if isinstance(first, int) and isinstance(last, int):
                if first > last:
                    self.refuse(at, "the ends of a range are out of order")
                parts.append(Characters.of((first, last)))
            elif any(isinstance(end, Characters) and end.properties for end in (first, last)):
                self.refuse(at, "a range from or to a property; write '\\-' for the sign itself")
            else:
                parts += [_set(ord("-")), _set(last)]
        whole = Characters.union(parts)
        return whole.complement if negated else whole

    def _class_atom(self, start: int) -> int | Characters:
        """One code point, or what a class escape stands for."""
        if self.position == len(self._text):
            self.refuse(start, "unclosed class; write '\\[' for the sign itself")
        if self._text[self.position] == "\\":
            return self._escape(in_class=True)
        self.position += 1
        return ord(self._text[self.position - 1])

    def _escape(self, *, in_class: bool) -> int | Characters:
        """What a backslash and what follows it stand for."""
        start = self.position
        sign = self._text[start + 1 : start + 2]
        self.position += 2
        if sign in _CLASSES:
            return _CLASSES[sign]
        if sign in _CONTROLS:
            return _CONTROLS[sign]
        match sign:
            case "p" | "P":
                return self._property(start, negated=sign == "P")
            case "b" if in_class:
                return 0x08
            case "c":
                return ord(self._expected("[A-Za-z]", start, "a letter")) % 32
            case "x":
                return int(self._expected("[0-9A-Fa-f]{2}", start, "two hexadecimal digits"), 16)
            case "u":
                return self._unicode(start)
            case "0" if not re.match("[0-9]", self._text[self.position : self.position + 1]):
                return 0
            case _ if sign and not (sign.isascii() and sign.isalnum()):
                return ord(sign)
            case _:
                raise PatternError(start, _no_escape(sign))

    def _unicode(self, start: int) -> int:
        if self._took("{"):
            digits = self._expected("([0-9A-Fa-f]+)\\}", start, "hexadecimal digits and '}'")[:-1]
            code = int(digits, 16)
            if code > LAST:
                self.refuse(start, "a code point beyond 10FFFF")
            return code
        code = int(self._expected("[0-9A-Fa-f]{4}", start, "four hexadecimal digits or '{'"), 16)
        low = re.compile(r"\\u([Dd][C-Fc-f][0-9A-Fa-f]{2})").match(self._text, self.position)
        if 0xD800 <= code < 0xDC00 and low:
            self.position = low.end()
            return 0x10000 + ((code - 0xD800) << 10) + int(low[1], 16) - 0xDC00
        return code

    def _property(self, start: int, *, negated: bool) -> Characters:
        braced = self._expected(r"\{[\w=]+\}", start, "the name of a property in braces")
        found = property_named(braced[1:-1], negated=negated)
        if found is None:
            self.refuse(start, f"there is no property '{braced[1:-1]}' that could be enforced")
        if found.name == _SURROGATES:
            # No text has any, and the library no name for them.
            return Characters.of() if not negated else Characters.of().complement
        return Characters((), (found,))

    def _expected(self, regex: str, start: int, named: str) -> str:
        found = re.compile(regex).match(self._text, self.position)
        if found is None:
            self.refuse(start, f"{named} must follow '{self._text[start : start + 2]}'")
        self.position = found.end()
        return found[0]

    def _took(self, sign: str) -> bool:
        found = self._text.startswith(sign, self.position)
        self.position += found * len(sign)
        return found


def _no_escape(sign: str) -> str:
    """Why a backslash cannot stand before a sign."""
    match sign:
        case "":
            return "nothing follows the backslash"
        case "b" | "B":
            return "borders of words are not supported"
        case "k":
            return "backreferences are not supported"
        case _ if sign.isdigit():
            return "backreferences and octal numbers are not supported"
        case _:
            return f"'\\{sign}' is not an escape of ECMA-262"


def _set(given: int | Characters) -> Characters:
    return Characters.one(given) if isinstance(given, int) else given
