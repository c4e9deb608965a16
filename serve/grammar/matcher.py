"""Compiled grammars as the engine's constraints."""

import numpy as np
from llguidance import LLMatcher
from numpy.typing import NDArray

from serve.engine.types import ConstraintError
from serve.grammar.library import explained


class GrammarMatcher:
    """One choice's way through a grammar; see `serve.engine.types.Matcher`."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    @property
    def accepting(self) -> bool:
        """Whether the choice may end."""
        return self._matcher.is_accepting()

    @property
    def finished(self) -> bool:
        """Whether the choice must end."""
        return self._matcher.is_stopped()

    def accept(self, token: int) -> None:
        """Go on by one sampled token; see `serve.engine.types.Matcher`."""
        if not self._matcher.consume_token(token):
            raise self._failure()

    def fill(self, allowed: NDArray[np.uint32]) -> None:
        """Write the bits of the tokens that may come next; see `serve.engine.types.Matcher`."""
        self._matcher.unsafe_compute_mask_ptr(allowed.ctypes.data, allowed.nbytes)
        if self._matcher.is_error():
            raise self._failure()

    def _failure(self) -> ConstraintError:
        reason = explained(self._matcher.get_error())
        return ConstraintError(f"the answer's grammar cannot be followed any further: {reason}")


class CompiledGrammar:
    """A grammar that answers can be held to; see `serve.engine.types.Constraint`.

    Args:
        matcher: at the grammar's beginning; never moved on.
    """

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def matcher(self) -> GrammarMatcher:
        """Follows one choice from its beginning."""
        return GrammarMatcher(self._matcher.deep_copy())
