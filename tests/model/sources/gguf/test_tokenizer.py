"""Vocabularies out of GGUF files cut texts as the hub's files of the same vocabularies do."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from support import published_text as published
from support.gguf_files import byte_level_vocabulary, sentence_piece_vocabulary, write_gguf

from model.config import CheckpointError
from model.sources.gguf.tokenizer import tokenizer_files
from model.tokenizer.hugging_face import HuggingFaceTokenizer
from model.weights.gguf_file import read_gguf

# The hub's directory → what llama.cpp's converter calls its way to cut texts.
BYTE_LEVEL = {
    "gpt_oss": "gpt-4o",
    "llama3": "llama-bpe",
    "mistral_tekken": "tekken",
    "olmo2": "dbrx",
    "phi4_mini": "gpt-4o",
    "qwen2_5": "qwen2",
    "qwen3": "qwen2",
}
SENTENCE_PIECE = ("gemma2", "gemma3", "llama2", "phi3")
TEXTS = (
    "Hello world, it's 1234567 o'clock: I'LL call YOU'RE naïve café.",
    "  two before, two  between, three after   ",
    "\n\nlines\r\n\tand tabs\t\t \n  x\n\n\n",
    "def f(x: int) -> str:\n    return f'{x ** 2:>10}' if x != 0 else \"\" # §\n",
    "漢字かな交じり文。한국어 텍스트 ไทย हिन्दी العربية",
    "🙂 👩‍👩‍👧 🇨🇭 ½ ² Ⅻ ①",
    "e\u0301 A\u030a \u1112\u1161\u11ab",
    "<s> </s> <unk> <0x0A> <|im_start|> <b>bold</b>",
    "a" * 70 + " " + "ab" * 40,
    " ",
    "",
)


def files_of(path: Path, vocabulary: dict[str, Any], **more: Any) -> dict[str, Any]:
    metadata = {"general.architecture": "llama"} | vocabulary | more
    return tokenizer_files(read_gguf(write_gguf(path, metadata, {"x": np.zeros(1, np.float32)})))


def made(directory: Path, vocabulary: dict[str, Any], **more: Any) -> HuggingFaceTokenizer:
    for name, content in files_of(directory / "model.gguf", vocabulary, **more).items():
        (directory / name).write_text(json.dumps(content))
    return HuggingFaceTokenizer(directory / "tokenizer.json")


def of_hub(name: str) -> dict[str, Any]:
    directory = published.DIRECTORY / name
    if name in BYTE_LEVEL:
        return byte_level_vocabulary(directory / "tokenizer.json", BYTE_LEVEL[name])
    return sentence_piece_vocabulary(directory / "tokenizer.model")


@pytest.fixture(scope="module")
def from_gguf(tmp_path_factory):
    names = (*BYTE_LEVEL, *SENTENCE_PIECE)
    return {name: made(tmp_path_factory.mktemp(name), of_hub(name)) for name in names}


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("name", [*BYTE_LEVEL, *SENTENCE_PIECE])
def test_ids_are_those_of_the_hubs_tokenizer(from_gguf, name, text):
    hub = published.tokenizer(name)
    for at_start in (True, False):
        found = from_gguf[name].encode(text, at_start=at_start)
        assert found == hub.encode(text, at_start=at_start)


