"""Which tokens the constrained rows of a step may sample.

Asks the matchers, a few at a time on threads of its own, and takes out what the request bans
itself, so that a row is never left without a token unnoticed. Knows nothing of grammars.
"""

import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from sampling.batch import mask_words
from serve.engine.plan import ConstrainedRow, Mask
from serve.engine.sequence import Phase, Sequence
from serve.engine.types import ConstraintError, Matcher

_MOST_THREADS = 8
# Who asks gets this: the grammar and the bans contradict each other.
_NOTHING_LEFT = (
    "logit_bias bans every token that could continue the answer as its format asks; "
    "raise some of the biases above -100"
)


class MaskMaker:
    """Makes masks for a vocabulary.

    A choice whose constraint is satisfied ends where its request's bans leave nothing to
    sample: `min_tokens` and `ignore_eos` never hold up an answer that cannot go on. A choice
    whose constraint is not satisfied fails there.
    """

    def __init__(self, vocab_size: int) -> None:
        self._words = mask_words(vocab_size)
        self._pool = ThreadPoolExecutor(
            min(_MOST_THREADS, os.cpu_count() or 1), thread_name_prefix="mask"
        )
        self._seconds: list[float] = []

    def make(
        self, rows: Iterable[ConstrainedRow]
    ) -> tuple[list[Mask], list[tuple[Sequence, ConstraintError | None]]]:
        """The masks of the next draws of rows, whose tokens have all come back.

        Returns:
            Masks, and the sequences that have nothing to sample, each with the reason if it
            is a failure. A sequence that has ended is in neither: its draw is for nothing.
        """
        running = [row for row in rows if row.sequence.phase is not Phase.FINISHED]
        outcomes = (
            self._pool.map(self._of_row, running)
            if len(running) > 1
            else map(self._of_row, running)
        )
        masks: list[Mask] = []
        ended: list[tuple[Sequence, ConstraintError | None]] = []
        for row, (outcome, seconds) in zip(running, outcomes, strict=True):
            self._seconds += seconds
            if isinstance(outcome, list):
                masks += outcome
            else:
                ended.append((row.sequence, outcome))
        return masks, ended

    def take_seconds(self) -> tuple[float, ...]:
        """How long each mask took that was made since the last call."""
        seconds = tuple(self._seconds)
        self._seconds.clear()
        return seconds

    def _of_row(
        self, row: ConstrainedRow
    ) -> tuple[list[Mask] | ConstraintError | None, list[float]]:
        """The masks of a row, or why it has none; and how long each took."""
        sequence, draw, place, drafts = row
        matcher = _matcher_of(sequence)
        masks: list[Mask] = []
        seconds: list[float] = []
        try:
            for before in range(len(drafts) + 1):
                began = time.perf_counter()
                if before:
                    matcher = matcher.copy() if before == 1 else matcher
                    matcher.accept(drafts[before - 1])
                allowed = self._left(sequence, matcher, before)
                seconds.append(time.perf_counter() - began)
                if not allowed.any():
                    break
                masks.append(Mask(draw, place + before, allowed))
        except ConstraintError as error:
            # What a draft leads to counts only once it is kept.
            if not masks:
                return error, seconds
        if masks:
            return masks, seconds
        return None if matcher.accepting else ConstraintError(_NOTHING_LEFT), seconds

    def _left(self, sequence: Sequence, matcher: Matcher, drafts: int) -> NDArray[np.uint32]:
        """What a sequence may sample after so many drafts, which the matcher has followed."""
        allowed = np.zeros(self._words, np.uint32)
        matcher.fill(allowed)
        _remove(allowed, sequence.banned)
        if early := _too_early(sequence, drafts):
            _remove(allowed, np.array(early, np.uint32))
        return allowed

    def holding(self, sequence: Sequence, draft: list[int]) -> list[int]:
        """As much of a draft as the sequence's constraint allows, with something left after it.

        Where the constraint ends a choice, or bans leave it nothing, that is found out without
        drafts.
        """
        matcher = _matcher_of(sequence)
        banned = {*sequence.request.sampling.banned, *_too_early(sequence, 0)}
        held = draft[: matcher.allows(draft)]
        held = held[: next((at for at, token in enumerate(held) if token in banned), None)]
        while held and not self._goes_on(sequence, held):
            held = held[:-1]
        return held

    def _goes_on(self, sequence: Sequence, draft: list[int]) -> bool:
        after = _matcher_of(sequence).copy()
        try:
            for token in draft:
                after.accept(token)
            return not after.finished and bool(self._left(sequence, after, len(draft)).any())
        except ConstraintError:
            return False


def _matcher_of(sequence: Sequence) -> Matcher:
    if sequence.matcher is None:
        raise ValueError("a mask is asked for a sequence without a constraint")
    return sequence.matcher


def _too_early(sequence: Sequence, drafts: int) -> list[int]:
    """The ids that the request's settings ban from the draw after so many drafts."""
    early = sequence.request.sampling.early_ids(sequence.request.end_ids)
    return [token for token, least in early.items() if sequence.outputs + drafts < least]


def _remove(allowed: NDArray[np.uint32], tokens: NDArray[np.uint32]) -> None:
    bits = np.left_shift(np.uint32(1), tokens & 31, dtype=np.uint32)
    np.bitwise_and.at(allowed, tokens >> 5, ~bits)
