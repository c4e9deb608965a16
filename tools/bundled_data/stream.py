"""Batches made ahead of time by other processes, in order.

A batch is a function of the seed and the step alone, so that neither the number of workers nor a
resumed run changes what a step sees. Knows nothing of the model.
"""

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from model.tokenizer.sentence_piece import SentencePieceTokenizer

T = TypeVar("T")
B = TypeVar("B")

AHEAD = 4
"""Batches in the making for each worker."""

_TOKENIZERS: dict[Path, Any] = {}
"""A worker's own tokenizer: it cannot be sent from one process to another."""


def _made(
    make: Callable[[T, int], B], opened: Callable[[Path], T], tokenizer: Path, step: int
) -> B:
    if tokenizer not in _TOKENIZERS:
        _TOKENIZERS[tokenizer] = opened(tokenizer)
    return make(_TOKENIZERS[tokenizer], step)


def batches(
    make: Callable[[T, int], B],
    tokenizer: Path,
    first: int,
    until: int,
    workers: int,
    opened: Callable[[Path], T] = SentencePieceTokenizer,
) -> Generator[B]:
    """The batches of the steps from `first` up to `until`, without the latter.

    Args:
        make: makes the batch of a step; it is sent to the workers, so it must be picklable.
        tokenizer: the model's file.
        first, until: the steps.
        workers: processes; 0 makes every batch here when it is asked for.
        opened: makes of the file what `make` takes.
    """
    if workers == 0:
        yield from (_made(make, opened, tokenizer, step) for step in range(first, until))
        return
    steps = iter(range(first, until))
    # Forking would copy the threads of a runtime that is under way.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting: deque[Future[B]] = deque()
        try:
            for step in steps:
                waiting.append(pool.submit(_made, make, opened, tokenizer, step))
                if len(waiting) == AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
