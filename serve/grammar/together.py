"""Several grammars that an answer is held to at once. Knows nothing of what is in them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serve.engine.types import Constraint, Matcher


class Together:
    """Constraints that all hold; see `serve.engine.types.Constraint`.

    Whatever may begin under all of them has to have an end under all, and each mask after the
    first one's has to have every spelling of what may follow.
    """

    def __init__(self, *constraints: Constraint) -> None:
        self._constraints = constraints

    def matcher(self) -> "TogetherMatcher":
        """Follows one choice from its beginning."""
        return TogetherMatcher([each.matcher() for each in self._constraints])


class TogetherMatcher:
    """One choice's way through constraints; see `serve.engine.types.Matcher`."""

    def __init__(self, matchers: Sequence[Matcher]) -> None:
        self._matchers = matchers

    @property
    def accepting(self) -> bool:
        """Whether the choice may end."""
        return all(each.accepting for each in self._matchers)

    @property
    def finished(self) -> bool:
        """Whether the choice must end."""
        return any(each.finished for each in self._matchers)

    def accept(self, token: int) -> None:
        """Go on by one sampled token; see `serve.engine.types.Matcher`."""
        for each in self._matchers:
            each.accept(token)

    def fill(self, allowed: NDArray[np.uint32]) -> None:
        """Write the bits of the tokens that may come next; see `serve.engine.types.Matcher`."""
        first, *others = self._matchers
        first.fill(allowed)
        theirs = np.empty_like(allowed)
        for each in others:
            each.fill(theirs)
            allowed &= theirs

    def copy(self) -> "TogetherMatcher":
        """One that goes on by itself; see `serve.engine.types.Matcher`."""
        return TogetherMatcher([each.copy() for each in self._matchers])

    def forced(self) -> list[int]:
        """The tokens that must come next; see `serve.engine.types.Matcher`."""
        first, *others = self._matchers
        forced = first.forced()
        return forced[: _allowed(others, forced)]

    def allows(self, tokens: Sequence[int]) -> int:
        """How many of the tokens could be accepted; see `serve.engine.types.Matcher`."""
        return _allowed(self._matchers, tokens)


def _allowed(matchers: Sequence[Matcher], tokens: Sequence[int]) -> int:
    """How many of the tokens all the matchers could accept."""
    count = len(tokens)
    for each in matchers:
        count = each.allows(tokens[:count])
    return count
