"""Finds patterns in texts, in a time that the text and the pattern bound."""

from serve.grammar.patterns.syntax import parse
from serve.grammar.patterns.tree import Anchor, Choice, Letter, Node, Repeat, Sequence, letters


def is_found(pattern: str, text: str) -> bool | None:
    """Whether a text has a part that matches; None where that is for Unicode's tables to say.

    Raises:
        PatternError: the pattern is malformed.
    """
    tree = parse(pattern)
    if any(letter.characters.properties for letter in letters(tree)):
        return None
    return bool(_ends(tree, text, set(range(len(text) + 1))))


def _ends(node: Node, text: str, starts: set[int]) -> set[int]:
    """Where matches end that begin at one of `starts`."""
    match node:
        case Letter(characters):
            within = (at for at in starts if at < len(text))
            return {at + 1 for at in within if characters.holds(ord(text[at]))}
        case Anchor(sign):
            return starts & {0 if sign == "^" else len(text)}
        case Sequence(parts):
            for part in parts:
                starts = _ends(part, text, starts)
            return starts
        case Choice(options):
            return set[int]().union(*(_ends(option, text, starts) for option in options))
        case Repeat(part, least, most):
            return _repeated(part, least, most, text, starts)


def _repeated(part: Node, least: int, most: int | None, text: str, starts: set[int]) -> set[int]:
    for _ in range(least):
        before, starts = starts, _ends(part, text, starts)
        # Every turn moves on, but where the part matches the empty text: then ends are added.
        if starts == before or not starts:
            break
    found = set(starts)
    for _ in range(len(text) if most is None else most - least):
        starts = _ends(part, text, starts) - found
        if not starts:
            break
        found |= starts
    return found
