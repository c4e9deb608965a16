"""While a long text is cut, other threads go on: they have running streams to serve."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model.tokenizer import Tokenizer
from model.tokenizer.hugging_face import HuggingFaceTokenizer
from model.tokenizer.sentence_piece import SentencePieceTokenizer

TEXTS = Path(__file__).parents[2] / "fixtures" / "text"
LONG = "the quick brown fox jumps over the lazy dog. " * 3_000


@contextmanager
def counting() -> Iterator[list[int]]:
    """A thread that counts whenever it may run."""
    count, over, begun = [0], threading.Event(), threading.Event()

    def run() -> None:
        while not over.wait(1e-4):
            count[0] += 1
            begun.set()

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait()
    yield count
    over.set()
    thread.join()


@pytest.mark.parametrize(
    "tokenizer",
    [
        HuggingFaceTokenizer(TEXTS / "llama3" / "tokenizer.json"),
        SentencePieceTokenizer(TEXTS / "llama2" / "tokenizer.model"),
    ],
    ids=["hugging_face", "sentence_piece"],
)
def test_cutting_a_text_lets_other_threads_run(tokenizer: Tokenizer) -> None:
    with counting() as count:
        before = count[0]
        ids = tokenizer.encode(LONG)
        counted = count[0] - before
    assert len(ids) > 10_000
    assert counted > 10
