"""The families' tokenizers and templates in `tests/fixtures/text`, and what the reference made."""

import json
import re
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from model.tokenizer import Tokenizer
from model.tokenizer.hugging_face import HuggingFaceTokenizer
from model.tokenizer.sentence_piece import SentencePieceTokenizer
from serve.text.render import Renderer
from serve.text.template import ChatTemplate
from serve.text.template_files import load_chat_template

DIRECTORY = Path(__file__).parent.parent / "fixtures" / "text"
NAMES = sorted(path.name for path in DIRECTORY.iterdir())
# What the tool told templates that ask for the date.
TODAY = datetime(2025, 3, 14)


class Clock:
    @staticmethod
    def now() -> datetime:
        return TODAY


@cache
def tokenizer(name: str) -> Tokenizer:
    path = DIRECTORY / name / "tokenizer.json"
    if path.exists():
        return HuggingFaceTokenizer(path)
    return SentencePieceTokenizer(path.with_suffix(".model"))


@cache
def expected(name: str) -> dict[str, Any]:
    return json.loads((DIRECTORY / name / "expected.json").read_text(encoding="utf-8"))


@cache
def template(name: str) -> ChatTemplate:
    return load_chat_template(DIRECTORY / name, tokenizer(name).named)


@cache
def renderer(name: str) -> Renderer:
    return Renderer(tokenizer(name), template(name))


def spelled(name: str, ids: list[int]) -> str:
    """Ids as text, control tokens by their spelling."""
    pieces = tokenizer(name)
    exact = [pieces.token_bytes(token) or pieces.token_text(token).encode() for token in ids]
    return b"".join(exact).decode()


def closed_up(text: str) -> str:
    """Text without white space: what a tokenizer adds before words, and swallows at controls."""
    return re.sub(r"\s+", "", text)
