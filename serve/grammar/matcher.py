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
    """One choice's way through grammars that all hold; see `serve.engine.types.Matcher`."""

    def __init__(self, matchers: Sequence[LLMatcher], ledger: Ledger) -> None:
        self._matchers = matchers
        self._ledger = ledger

    @property
    def accepting(self) -> bool:
        """Whether the choice may end."""
        return all(each.is_accepting() for each in self._matchers)

    @property
    def finished(self) -> bool:
        """Whether the choice must end."""
        return any(each.is_stopped() for each in self._matchers)

    def accept(self, token: int) -> None:
        """Go on by one sampled token; see `serve.engine.types.Matcher`."""
        began = time.thread_time()
        refusing = next((each for each in self._matchers if not each.consume_token(token)), None)
        self._ledger.add(time.thread_time() - began)
        if refusing is not None:
            raise self._failure(refusing)

    def fill(self, allowed: NDArray[np.uint32]) -> None:
        """Write the bits of the tokens that may come next; see `serve.engine.types.Matcher`."""
        if self._ledger.overdrawn:
            raise _given_up(TOO_COSTLY)
        began = time.thread_time()
        first, *others = self._matchers
        first.unsafe_compute_mask_ptr(allowed.ctypes.data, allowed.nbytes)
        for each in others:
            theirs = np.empty_like(allowed)
            each.unsafe_compute_mask_ptr(theirs.ctypes.data, theirs.nbytes)
            allowed &= theirs
        self._ledger.add(time.thread_time() - began, masks=1)
        failed = next((each for each in self._matchers if each.is_error()), None)
        if failed is not None:
            raise self._failure(failed)

    def _failure(self, matcher: LLMatcher) -> ConstraintError:
        self._ledger.failed = True
        return _given_up(in_words(explained(matcher.get_error())))


def _given_up(reason: str) -> ConstraintError:
    return ConstraintError(f"the answer's grammar cannot be followed any further: {reason}")


class CompiledGrammar:
    """Grammars that answers can be held to; see `serve.engine.types.Constraint`.

    Args:
        matchers: at the beginning of a grammar each; never moved on.

    Attributes:
        ledger: what its answers have cost.
    """

    def __init__(self, matchers: Sequence[LLMatcher]) -> None:
        self._matchers = matchers
        self.ledger = Ledger()

    def matcher(self) -> GrammarMatcher:
        """Follows one choice from its beginning. Shares with others what they worked out."""
        return GrammarMatcher([each.deep_copy() for each in self._matchers], self.ledger)
