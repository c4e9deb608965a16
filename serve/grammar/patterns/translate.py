"""Writes patterns in the dialect of the library: Rust's `regex` syntax, for the whole text.

Two things are not just spelled otherwise. *Anchors*: the library has them at its own borders
only. So what may come before and after a match is written out, alternative by alternative, and an
anchor that no such border meets is refused. *Quoting*: the library writes strings as JSON, and
where a set of characters has all control characters, or all but the line feed, it also lets the
escapes of the quotation mark and of the backslash through, though the set has them not. One
control character that the pattern does not speak of is taken out of such sets.
"""

from functools import lru_cache
from typing import Literal

from serve.grammar.patterns.characters import Characters
from serve.grammar.patterns.properties import CONTROLS, MARKS
from serve.grammar.patterns.syntax import parse
from serve.grammar.patterns.tree import (
    Anchor,
    Choice,
    Letter,
    Node,
    PatternError,
    Repeat,
    Sequence,
    letters,
)

# What is known at a border of a part: it may stand anywhere in the text, it is at the text's own
# border, or other parts of the pattern are beyond it.
_Border = Literal["open", "anchored", "inner"]

_ANYTHING = "(?s:.)*"
_EMPTY = Sequence(())
# Control characters that no text has any use for, from DLE to SUB.
_EXPENDABLE = range(0x10, 0x1B)
_LINE_FEED = 0x0A


@lru_cache(maxsize=64)
def translate(pattern: str, *, exact: bool = False) -> str:
    """A pattern for the library that whole texts match where `pattern` is found in them.

    Args:
        pattern: as JSON schemas have it.
        exact: refuse to take a control character out of sets that have all of them. Without it
            some texts with one of U+0010 to U+001A do not match though they should.

    Raises:
        PatternError: it is malformed, or cannot be enforced.
    """
    tree = parse(pattern)
    writer = _Writer(_expendable(tree, exact=exact))
    return f"^{writer.whole(tree, 'open', 'open')}$"


def _expendable(tree: Node, *, exact: bool) -> int | None:
    """The control character to take out of the sets that the library would quote wrongly."""
    # Each set with the place where it comes first.
    places = {each.characters: each.position for each in reversed(letters(tree))}
    wrong = [each for each in places if _quoted_wrongly(each)]
    if not wrong:
        return None
    small = [each for each in places if not _has_all_controls(each)]
    # Were it in a smaller set, the library could put the two together again.
    free = [code for code in _EXPENDABLE if not any(each.holds(code) for each in small)]
    if exact or not free:
        raise PatternError(
            min(places[each] for each in wrong),
            "a set of characters with all control characters and without '\"' or '\\'; "
            "take out control characters, '\\x00-\\x1f'",
        )
    return free[0]


def _has_all_controls(characters: Characters) -> bool:
    return all(characters.holds(code) for code in CONTROLS - {_LINE_FEED})


def _quoted_wrongly(characters: Characters) -> bool:
    return _has_all_controls(characters) and not all(characters.holds(code) for code in MARKS)


class _Writer:
    """Writes trees.

    Args:
        expendable: what to take out of sets that the library would quote wrongly.
    """

    def __init__(self, expendable: int | None) -> None:
        self._expendable = expendable
        self._written: dict[Characters, str] = {}

    def whole(self, node: Node, left: _Border, right: _Border) -> str:
        """A part, and at open borders what may be beyond it; one that can stand in a sequence."""
        anchor = node.anchor
        if anchor is None:
            if node == _EMPTY and left == right == "open":
                return _ANYTHING
            text = self._plain(node)
            text = f"(?:{text})" if isinstance(node, Choice) else text
            return _filling(left) + text + _filling(right)
        match node:
            case Choice(options):
                return f"(?:{'|'.join(self.whole(each, left, right) for each in options)})"
            case Repeat(part, least, most):
                if most == 0:
                    return self.whole(_EMPTY, left, right)
                if most == 1:
                    once = part if least else Choice((part, _EMPTY))
                    return self.whole(once, left, right)
                raise _misplaced(anchor)
            case Sequence(parts):
                return self._sequence(parts, left, right)
            case _:
                return self._sequence((node,), left, right)

    def _sequence(self, parts: tuple[Node, ...], left: _Border, right: _Border) -> str:
        while left != "inner" and parts and _is(parts[0], "^"):
            left, parts = "anchored", parts[1:]
        while right != "inner" and parts and _is(parts[-1], "$"):
            right, parts = "anchored", parts[:-1]
        if len(parts) < 2:
            if parts and isinstance(parts[0], Anchor):
                raise _misplaced(parts[0])
            return self.whole(parts[0] if parts else _EMPTY, left, right)
        first, *middle, last = parts
        for each in middle:
            if each.anchor:
                raise _misplaced(each.anchor)
        return (
            self.whole(first, left, "inner")
            + "".join(self.whole(each, "inner", "inner") for each in middle)
            + self.whole(last, "inner", right)
        )

    def _plain(self, node: Node) -> str:
        """A part without anchors."""
        match node:
            case Letter(characters):
                return self._letter(characters)
            case Sequence(parts):
                return "".join(
                    f"(?:{self._plain(part)})" if isinstance(part, Choice) else self._plain(part)
                    for part in parts
                )
            case Choice(options):
                return "|".join(map(self._plain, options))
            case Repeat(part, least, most):
                text = self._plain(part)
                text = text if isinstance(part, Letter) else f"(?:{text})"
                return text + _times(least, most)
            case Anchor():
                raise _misplaced(node)

    def _letter(self, characters: Characters) -> str:
        text = self._written.get(characters)
        if text is None:
            text = characters.regex
            if self._expendable is not None and _quoted_wrongly(characters):
                text = rf"[{text}--\x{{{self._expendable:X}}}]"
            self._written[characters] = text
        return text


def _is(node: Node, sign: str) -> bool:
    return isinstance(node, Anchor) and node.sign == sign


def _misplaced(anchor: Anchor) -> PatternError:
    where = "beginning" if anchor.sign == "^" else "end"
    return PatternError(
        anchor.position,
        f"'{anchor.sign}' is supported only at the {where} of the pattern or of an alternative "
        f"that stands there; write '\\{anchor.sign}' for the sign itself",
    )


def _filling(border: _Border) -> str:
    return _ANYTHING if border == "open" else ""


def _times(least: int, most: int | None) -> str:
    if (least, most) == (0, 1):
        return "?"
    if most is None:
        return {0: "*", 1: "+"}.get(least, f"{{{least},}}")
    return f"{{{least}}}" if least == most else f"{{{least},{most}}}"
