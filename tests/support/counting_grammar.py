"""A constraint that a person can check by hand, without a grammar library."""

from collections.abc import Sequence

import numpy as np

from serve.engine.types import ConstraintError


class Counting:
    """Tokens that rise by 1 or 2, from 1 or 2 on, until `last` is reached; it may be passed.

    At `last` the answer may end or go on by 1; past it nothing may follow.

    Args:
        last: see above.
        end_ids: bits of these are set where the answer may end.
        fails_at: number of the token whose mask is too much.
    """

    def __init__(self, last: int, end_ids: frozenset[int], fails_at: int = -1) -> None:
        self.last, self.end_ids, self.fails_at = last, end_ids, fails_at

    def matcher(self) -> "CountingMatcher":
        return CountingMatcher(self)


class CountingMatcher:
    def __init__(self, constraint: Counting) -> None:
        self.constraint = constraint
        self.tokens: list[int] = []

    @property
    def _next(self) -> set[int]:
        now, last = self.tokens[-1] if self.tokens else 0, self.constraint.last
        return set() if now > last else {now + 1} if now == last else {now + 1, now + 2}

    @property
    def accepting(self) -> bool:
        return bool(self.tokens) and self.tokens[-1] >= self.constraint.last

    @property
    def finished(self) -> bool:
        return not self._next

    def accept(self, token: int) -> None:
        if token not in self._next:
            raise ConstraintError(f"{token} does not follow {self.tokens}")
        self.tokens.append(token)

    def fill(self, allowed: np.ndarray) -> None:
        if len(self.tokens) == self.constraint.fails_at:
            raise ConstraintError("too much")
        ends = self.constraint.end_ids if self.accepting else frozenset()
        allowed[:] = 0
        for token in self._next | ends:
            allowed[token // 32] |= np.uint32(1 << token % 32)

    def copy(self) -> "CountingMatcher":
        copied = CountingMatcher(self.constraint)
        copied.tokens = list(self.tokens)
        return copied

    def forced(self) -> list[int]:
        """At `last` there is a choice: the answer may end."""
        return []

    def allows(self, tokens: Sequence[int]) -> int:
        copied = self.copy()
        for count, token in enumerate(tokens):
            if token not in copied._next:
                return count
            copied.accept(token)
        return len(tokens)


def is_counted(tokens: list[int], last: int) -> bool:
    """Whether an answer is what `Counting` asks for."""
    steps = [b - a for a, b in zip([0, *tokens], tokens, strict=False)]
    return set(steps) <= {1, 2} and tokens[-1] >= last and tokens[-2] <= last
