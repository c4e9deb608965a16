"""Conversations as packed arrays of token ids: what one training step sees.

A batch is a function of the seed and the step alone, so a resumed run sees what an
uninterrupted one would. Knows nothing of the model.
"""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.tokenizer import Tokenizer
from tools.bundled_data.chat_format import Document, document
from tools.bundled_data.conversations import Conversation, conversation
from tools.bundled_data.grammar import Split
from tools.bundled_data.vocabulary import PAD

Maker = Callable[[random.Random, Split], Conversation]

JUMP_RATE = 0.2
MISSES = 3


class Batch(NamedTuple):
    """Packed documents; all arrays are [B, T].

    Attributes:
        tokens: input ids.
        targets: the id that follows each input.
        weights: 1 where the target belongs to an answer (its end-of-turn token included).
        positions: position in the document, restarting with each.
        segments: number of the document within its row from 1; 0 is padding.
    """

    tokens: NDArray[np.int32]
    targets: NDArray[np.int32]
    weights: NDArray[np.float32]
    positions: NDArray[np.int32]
    segments: NDArray[np.int32]


def _positions(rng: random.Random, turns: Sequence[int], context: int) -> list[int]:
    """Positions 0, 1, 2 …, in some documents with gaps between turns.

    The gaps show the model distances as long as the context allows, at a short sequence's cost
    (after Zhu et al. 2023, PoSE).
    """
    spare = context - len(turns)
    if spare <= 0 or rng.random() >= JUMP_RATE:
        return list(range(len(turns)))
    cuts = sorted(rng.randint(0, spare) for _ in range(turns[-1] + 1))
    return [index + cuts[turn] for index, turn in enumerate(turns)]


def empty_batch(rows: int, length: int, pad: int) -> Batch:
    """A batch of padding."""
    return Batch(
        np.full((rows, length), pad, np.int32),
        np.full((rows, length), pad, np.int32),
        np.zeros((rows, length), np.float32),
        np.zeros((rows, length), np.int32),
        np.zeros((rows, length), np.int32),
    )


def place(
    batch: Batch, row: int, start: int, found: Document, positions: Sequence[int], segment: int
) -> None:
    """Write a document into `row` from `start` on; its last token is a target only."""
    stop = start + len(found.ids) - 1
    batch.tokens[row, start:stop] = found.ids[:-1]
    batch.targets[row, start:stop] = found.ids[1:]
    batch.weights[row, start:stop] = found.answers[1:]
    batch.positions[row, start:stop] = positions[:-1]
    batch.segments[row, start:stop] = segment


def training_batch(
    tokenizer: Tokenizer,
    seed: str,
    rows: int,
    length: int,
    context: int,
    make: Maker = conversation,
    split: Split = Split.TRAIN,
) -> Batch:
    """Conversations packed first-fit until a few in a row fit nowhere.

    One that is longer than a row is left out.

    Args:
        tokenizer: of the model.
        seed: the same seed gives the same batch.
        rows: B.
        length: T; a hundred tokens and more, so that no batch stays without a conversation.
        context: the model's context length; positions stay below it.
        make: makes a conversation; by default one of a few exchanges.
        split: of the phrasings and words.
    """
    rng = random.Random(seed)
    batch = empty_batch(rows, length, tokenizer.controls[PAD])
    used, counts = [0] * rows, [0] * rows
    misses = 0
    while misses < MISSES:
        found = document(tokenizer, make(rng, split))
        size = len(found.ids) - 1
        if size > length:
            continue
        positions = _positions(rng, found.turns, context)
        row = next((row for row in range(rows) if used[row] + size <= length), None)
        if row is None:
            misses += 1
            continue
        counts[row] += 1
        place(batch, row, used[row], found, positions, counts[row])
        used[row] += size
    return batch


def evaluation_batch(
    tokenizer: Tokenizer, rng: random.Random, skill: str, rows: int, length: int
) -> Batch:
    """A held-out conversation of `skill` in each row, of which only the last answer counts.

    Conversations that do not fit are left out.
    """
    batch = empty_batch(rows, length, tokenizer.controls[PAD])
    for row in range(rows):
        found = document(tokenizer, conversation(rng, Split.HELD_OUT, skill))
        while len(found.ids) - 1 > length:
            found = document(tokenizer, conversation(rng, Split.HELD_OUT, skill))
        place(batch, row, 0, found, range(len(found.ids)), 1)
        last = found.turns[-1]
        batch.weights[row, : len(found.ids) - 1] *= [turn == last for turn in found.turns[1:]]
    return batch
