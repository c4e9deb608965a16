import random
from collections.abc import Iterable
from itertools import islice
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest

from model.tokenizer.sentence_piece import SentencePieceTokenizer
from tools.bundled_data.batches import Batch, evaluation_batch, training_batch
from tools.bundled_data.stream import batches
from tools.bundled_settings import PRESETS, Settings


def test_packed_documents_are_whole_and_apart(tokenizer: SentencePieceTokenizer) -> None:
    batch = training_batch(tokenizer, "0/0", rows=4, length=384, context=2048)
    assert (batch.segments > 0).mean() > 0.7
    start = tokenizer.controls["<|im_start|>"]
    for row in range(4):
        for segment in range(1, batch.segments[row].max() + 1):
            inside = batch.segments[row] == segment
            tokens, positions = batch.tokens[row][inside], batch.positions[row][inside]
            assert tokens[0] == start
            assert (positions[1:] > positions[:-1]).all()
            assert positions[-1] < 2048
            assert (batch.targets[row][inside][:-1] == tokens[1:]).all()
    assert (batch.weights[batch.segments == 0] == 0).all()
    assert batch.weights.sum() > 100


def test_a_batch_is_a_function_of_its_seed(tokenizer: SentencePieceTokenizer) -> None:
    one, same = (training_batch(tokenizer, "0/5", 2, 256, 512) for _ in range(2))
    other = training_batch(tokenizer, "0/6", 2, 256, 512)
    assert all((a == b).all() for a, b in zip(one, same, strict=True))
    assert (one.tokens != other.tokens).any()


def test_evaluation_counts_the_last_answer_only(tokenizer: SentencePieceTokenizer) -> None:
    batch = evaluation_batch(tokenizer, random.Random(2), "facts", rows=8, length=384)
    end = tokenizer.controls["<|im_end|>"]
    for row in range(8):
        counted = batch.targets[row][batch.weights[row] == 1]
        assert counted[-1] == end
        assert (counted == end).sum() == 1


SETTINGS = Settings(rows=2, length=256, first_steps=3, first_length=256, long_every=4)


def assert_same(made: Iterable[Batch], tokenizer: SentencePieceTokenizer, steps: range) -> None:
    for step, batch in zip(steps, made, strict=True):
        for found, wanted in zip(batch, SETTINGS.batch(tokenizer, step), strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_without_workers_batches_are_made_here(
    vocabulary: Path, tokenizer: SentencePieceTokenizer
) -> None:
    assert_same(batches(SETTINGS.batch, vocabulary, 2, 5, 0), tokenizer, range(2, 5))


def test_workers_make_the_same_batches_and_end_when_the_stream_is_left(
    vocabulary: Path, tokenizer: SentencePieceTokenizer
) -> None:
    stream = batches(SETTINGS.batch, vocabulary, 2, 1_000_000, 2)
    assert_same(islice(stream, 3), tokenizer, range(2, 5))
    stream.close()
    assert not active_children()


@pytest.mark.parametrize("name", PRESETS)
def test_shapes_follow_the_schedule(tokenizer: SentencePieceTokenizer, name: str) -> None:
    preset = PRESETS[name]
    tokens = preset.rows * preset.length
    first = preset.first_steps
    lengths = {
        0: preset.first_length,
        first: preset.length,
        first + preset.long_every - 1: preset.long_length,
    }
    for step, length in lengths.items():
        shape = (max(1, tokens // length), length)
        assert preset.batch(tokenizer, step).tokens.shape == shape
    assert preset.model == Settings().model
