"""A tokenizer of bytes, and what grammars allow of a text byte by byte."""

import numpy as np

from serve.engine.types import Constraint, ConstraintError
from serve.grammar.compiler import GrammarCompiler

END = 256


class Bytes:
    """Ids 0 to 255 are bytes; 256 ends an answer."""

    vocab_size = 257
    controls = {"<|end|>": 256}  # noqa: RUF012

    def encode(self, text: str) -> list[int]:
        """Its bytes."""
        return list(text.encode())

    def token_bytes(self, token: int) -> bytes | None:
        """The byte."""
        return bytes([token]) if token < 256 else None

    def token_text(self, token: int) -> str:
        """The byte, as a character."""
        return chr(token)


def byte_compiler() -> GrammarCompiler:
    """A compiler of grammars for bytes."""
    return GrammarCompiler(Bytes(), 257, frozenset([END]))


def allows(constraint: Constraint, text: str) -> bool:
    """Whether the text is a whole answer."""
    matcher, words = constraint.matcher(), np.zeros(9, np.uint32)
    try:
        for byte in text.encode():
            matcher.fill(words)
            if not words[byte // 32] >> (byte % 32) & 1:
                return False
            matcher.accept(byte)
    except ConstraintError:
        return False
    return matcher.accepting or matcher.finished
