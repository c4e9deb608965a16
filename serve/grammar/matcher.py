"""Compiled grammars as the engine's constraints."""

import time
from collections.abc import Sequence

import numpy as np
from llguidance import LLMatcher
from numpy.typing import NDArray

from serve.engine.types import ConstraintError
from serve.grammar.ledger import Ledger
from serve.grammar.library import explained, in_words

TOO_COSTLY = "it takes too much time to follow; make it smaller, or less ambiguous"


class GrammarMatcher:
    """One choice's way through a grammar; see `serve.engine.types.Matcher`."""

    def __init__(self, matcher: LLMatcher, ledger: Ledger) -> None:
        self._matcher = matcher
        self._ledger = ledger

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
        began = time.thread_time()
        accepted = self._matcher.consume_token(token)
        self._ledger.add(time.thread_time() - began)
        if not accepted:
            raise self._failure()

    def fill(self, allowed: NDArray[np.uint32]) -> None:
        """Write the bits of the tokens that may come next; see `serve.engine.types.Matcher`."""
        if self._ledger.overdrawn:
            raise _given_up(TOO_COSTLY)
        began = time.thread_time()
        self._matcher.unsafe_compute_mask_ptr(allowed.ctypes.data, allowed.nbytes)
        self._ledger.add(time.thread_time() - began, masks=1)
        if self._matcher.is_error():
            raise self._failure()

    def copy(self) -> "GrammarMatcher":
        """One that goes on by itself; see `serve.engine.types.Matcher`."""
        began = time.thread_time()
        copied = self._matcher.deep_copy()
        self._ledger.add(time.thread_time() - began)
        return GrammarMatcher(copied, self._ledger)

    def forced(self) -> list[int]:
        """The tokens that must come next; see `serve.engine.types.Matcher`."""
        began = time.thread_time()
        forced = self._matcher.compute_ff_tokens()
        self._ledger.add(time.thread_time() - began)
        return forced

    def allows(self, tokens: Sequence[int]) -> int:
        """How many of the tokens could be accepted; see `serve.engine.types.Matcher`."""
        began = time.thread_time()
        # What it takes too much to look into would end the matcher itself.
        allowed = self._matcher.deep_copy().validate_tokens(list(tokens))
        self._ledger.add(time.thread_time() - began)
        return allowed

    def _failure(self) -> ConstraintError:
        self._ledger.failed = True
        return _given_up(in_words(explained(self._matcher.get_error())))


def _given_up(reason: str) -> ConstraintError:
    return ConstraintError(f"the answer's grammar cannot be followed any further: {reason}")


class CompiledGrammar:
    """A grammar that answers can be held to; see `serve.engine.types.Constraint`.

    Args:
        matcher: at the grammar's beginning; never moved on.

    Attributes:
        ledger: what its answers have cost.
    """

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher
        self.ledger = Ledger()

    def matcher(self) -> GrammarMatcher:
        """Follows one choice from its beginning. Shares with others what they worked out."""
        return GrammarMatcher(self._matcher.deep_copy(), self.ledger)
