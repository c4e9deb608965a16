"""Tokenizers behind one protocol: text to ids, ids to exact bytes.

Knows nothing of chat templates or streams. Plain text never becomes a control token here;
control tokens are looked up by their spelling with `control_id`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import sentencepiece


class TokenizerError(ValueError):
    """A tokenizer that cannot be used; the message says which file and what to do."""


@runtime_checkable
class Tokenizer(Protocol):
    """Ids and exact bytes.

    Attributes:
        vocab_size: number of ids, `0 .. vocab_size - 1`.
        controls: spelling → id of every control token (`<|im_start|>`, `</s>`, …).
    """

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        ...

    @property
    def controls(self) -> Mapping[str, int]:
        """Spelling → id of the control tokens."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of plain text. Spellings of control tokens in it are text like any other.

        Raises:
            ValueError: the text has a lone surrogate.
        """
        ...

    def token_bytes(self, token: int) -> bytes | None:
        """The exact bytes that `token` stands for; None for a control token.

        Ids past the vocabulary, which a padded embedding has, are like control tokens.
        """
        ...

    def token_text(self, token: int) -> str:
        """The token for display: its text with U+FFFD for partial characters, or its spelling."""
        ...


class SentencePieceTokenizer:
    """A SentencePiece `.model` file.

    Piece conventions (SentencePiece, `src/sentencepiece_model.proto`): U+2581 stands for a
    space; BYTE pieces are spelled `<0xNN>`; CONTROL and UNKNOWN pieces have no bytes.
    """

    def __init__(self, path: Path) -> None:
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.Load(str(path))
        except (OSError, RuntimeError) as error:
            raise TokenizerError(
                f"{path} is not a readable SentencePiece model; give the tokenizer.model "
                f"that belongs to the checkpoint"
            ) from error
        self._vocab_size = int(self._processor.GetPieceSize())
        self._bytes = [self._exact_bytes(token) for token in range(self._vocab_size)]
        self._controls = {
            str(self._processor.IdToPiece(token)): token
            for token in range(self._vocab_size)
            if self._processor.IsControl(token)
        }

    def _exact_bytes(self, token: int) -> bytes | None:
        if self._processor.IsControl(token) or self._processor.IsUnknown(token):
            return None
        piece = str(self._processor.IdToPiece(token))
        if self._processor.IsByte(token):
            return bytes([int(piece[3:5], 16)])
        return piece.replace("\u2581", " ").encode()

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return self._vocab_size

    @property
    def controls(self) -> Mapping[str, int]:
        """Spelling → id of the control tokens."""
        return self._controls

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; see `Tokenizer.encode`."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"the text has a lone surrogate at character {error.start}; send valid Unicode"
            ) from error
        return list(self._processor.EncodeAsIds(text))

    def token_bytes(self, token: int) -> bytes | None:
        """Exact bytes of `token`; see `Tokenizer.token_bytes`."""
        return self._bytes[token] if token < self._vocab_size else None

    def token_text(self, token: int) -> str:
        """`token` for display; see `Tokenizer.token_text`."""
        exact = self.token_bytes(token)
        if token >= self._vocab_size:
            return ""
        if exact is None:
            return str(self._processor.IdToPiece(token))
        return exact.decode(errors="replace")
