"""What a pattern consists of. Groups leave no trace: nothing here depends on what they capture."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from serve.grammar.library import GrammarError
from serve.grammar.patterns.characters import Characters


class PatternError(GrammarError):
    """A pattern that is malformed, or cannot be said to the library.

    Attributes:
        position: where in the pattern, from 0.
        reason: what is wrong there.
    """

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"character {position + 1}: {reason}")
        self.position = position
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Letter:
    """One character of a set.

    Attributes:
        characters: the set.
        position: where it stands in the pattern.
    """

    characters: Characters
    position: int
    anchor = None


@dataclass(frozen=True, slots=True)
class Anchor:
    """The text's beginning or its end.

    Attributes:
        sign: which.
        position: where it stands in the pattern.
    """

    sign: Literal["^", "$"]
    position: int

    @property
    def anchor(self) -> "Anchor":
        """Itself."""
        return self


@dataclass(frozen=True)
class Sequence:
    """Parts one after the other; none for the empty text."""

    parts: "tuple[Node, ...]"

    @cached_property
    def anchor(self) -> Anchor | None:
        """The first anchor in it."""
        return _first(self.parts)


@dataclass(frozen=True)
class Choice:
    """One of two or more."""

    options: "tuple[Node, ...]"

    @cached_property
    def anchor(self) -> Anchor | None:
        """The first anchor in it."""
        return _first(self.options)


@dataclass(frozen=True)
class Repeat:
    """A part again and again, greedy or not: that changes what is captured, not what matches.

    Attributes:
        part: what is repeated.
        least: how often at least.
        most: how often at most; None for no bound.
    """

    part: "Node"
    least: int
    most: int | None

    @property
    def anchor(self) -> Anchor | None:
        """The first anchor in it."""
        return self.part.anchor


Node = Letter | Anchor | Sequence | Choice | Repeat


def _first(nodes: Iterable[Node]) -> Anchor | None:
    return next((node.anchor for node in nodes if node.anchor is not None), None)


def letters(node: Node) -> "list[Letter]":
    """The sets of characters in a tree, in the pattern's order."""
    found: list[Letter] = []
    waiting = [node]
    while waiting:
        match waiting.pop():
            case Letter() as letter:
                found.append(letter)
            case Sequence(parts) | Choice(parts):
                waiting += reversed(parts)
            case Repeat(part):
                waiting.append(part)
            case Anchor():
                pass
    return found
