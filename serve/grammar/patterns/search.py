"""Finds patterns in short texts."""

from functools import lru_cache

from serve.grammar.patterns.syntax import parse
from serve.grammar.patterns.tree import Anchor, Choice, Letter, Node, Repeat, Sequence, letters

_MOST_STEPS = 1_000


def is_found(pattern: str, text: str) -> bool | None:
    """Whether a text has a part that matches.

    None where it is for Unicode's tables to say, or would take long.

    Raises:
        PatternError: the pattern is malformed.
    """
    tree = _searchable(pattern)
    if tree is None:
        return None
    try:
        return bool(_Search(text).ends(tree, set(range(len(text) + 1))))
    except TimeoutError:
        return None


@lru_cache(maxsize=64)
def _searchable(pattern: str) -> Node | None:
    tree = parse(pattern)
    named = any(letter.characters.properties for letter in letters(tree))
    return None if named else tree


class _Search:
    """One text, and how many more steps its search may take."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._left = _MOST_STEPS

    def ends(self, node: Node, starts: set[int]) -> set[int]:
        """Where matches end that begin at one of `starts`.

        Raises:
            TimeoutError: it takes too many steps.
        """
        self._left -= 1 + len(starts)
        if self._left < 0:
            raise TimeoutError
        text = self._text
        match node:
            case Letter(characters):
                within = (at for at in starts if at < len(text))
                return {at + 1 for at in within if characters.holds(ord(text[at]))}
            case Anchor(sign):
                return starts & {0 if sign == "^" else len(text)}
            case Sequence(parts):
                for part in parts:
                    starts = self.ends(part, starts)
                return starts
            case Choice(options):
                return set[int]().union(*(self.ends(option, starts) for option in options))
            case Repeat(part, least, most):
                return self._repeated(part, least, most, starts)

    def _repeated(self, part: Node, least: int, most: int | None, starts: set[int]) -> set[int]:
        for _ in range(least):
            before, starts = starts, self.ends(part, starts)
            # Every turn moves on, but where the part matches the empty text: then ends are added.
            if starts == before or not starts:
                break
        found = set(starts)
        for _ in range(len(self._text) if most is None else most - least):
            starts = self.ends(part, starts) - found
            if not starts:
                break
            found |= starts
        return found
