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
from serve.engine.plan import Mask
from serve.engine.sequence import Phase, Sequence
from serve.engine.types import ConstraintError

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
        self, sequences: Iterable[Sequence]
    ) -> tuple[list[Mask], list[tuple[Sequence, ConstraintError | None]]]:
        """The masks of the next draw of sequences, whose tokens have all come back.

        Returns:
            Masks, and the sequences that have nothing to sample, each with the reason if it
            is a failure. A sequence that has ended is in neither: its draw is for nothing.
        """
        running = [each for each in sequences if each.phase is not Phase.FINISHED]
        outcomes = (
            self._pool.map(self._mask, running) if len(running) > 1 else map(self._mask, running)
        )
        masks: list[Mask] = []
        ended: list[tuple[Sequence, ConstraintError | None]] = []
        for sequence, (outcome, seconds) in zip(running, outcomes, strict=True):
            self._seconds.append(seconds)
            if isinstance(outcome, Mask):
                masks.append(outcome)
            else:
                ended.append((sequence, outcome))
        return masks, ended

    def take_seconds(self) -> tuple[float, ...]:
        """How long each mask took that was made since the last call."""
        seconds = tuple(self._seconds)
        self._seconds.clear()
        return seconds

    def _mask(self, sequence: Sequence) -> tuple[Mask | ConstraintError | None, float]:
        began = time.perf_counter()
        matcher = sequence.matcher
        if matcher is None:
            raise ValueError("a mask is asked for a sequence without a constraint")
        allowed = np.zeros(self._words, np.uint32)
        outcome: Mask | ConstraintError | None
        try:
            matcher.fill(allowed)
        except ConstraintError as error:
            outcome = error
        else:
            _remove(allowed, sequence.banned)
            if early := _too_early(sequence):
                _remove(allowed, np.array(early, np.uint32))
            if allowed.any():
                outcome = Mask(sequence.slot, allowed)
            else:
                outcome = None if matcher.accepting else ConstraintError(_NOTHING_LEFT)
        return outcome, time.perf_counter() - began


def _too_early(sequence: Sequence) -> list[int]:
    """The ids that the request's settings ban from the next draw."""
    early = sequence.request.sampling.early_ids(sequence.request.end_ids)
    return [token for token, least in early.items() if sequence.outputs < least]


def _remove(allowed: NDArray[np.uint32], tokens: NDArray[np.uint32]) -> None:
    bits = np.left_shift(np.uint32(1), tokens & 31, dtype=np.uint32)
    np.bitwise_and.at(allowed, tokens >> 5, ~bits)
