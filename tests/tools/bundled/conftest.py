"""The vocabulary that the tests of the bundled model's data share."""

from pathlib import Path

import pytest

from model.tokenizer.sentence_piece import SentencePieceTokenizer
from tools.bundled_data.vocabulary import build_tokenizer


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vocabulary") / "tokenizer.model"
    build_tokenizer(path, 1200, 2000, seed=0)
    return path


@pytest.fixture(scope="session")
def tokenizer(vocabulary: Path) -> SentencePieceTokenizer:
    return SentencePieceTokenizer(vocabulary)
