"""SentencePiece `.model` files.

Piece conventions (SentencePiece, `src/sentencepiece_model.proto`): U+2581 stands for a space,
unless `escape_whitespaces` is off; BYTE pieces are spelled `<0xNN>`; CONTROL and UNKNOWN
pieces have no bytes; USER_DEFINED pieces are whole wherever they stand. Of the latter, those
that are markup of a chat format are kept out of plain text here, like the CONTROL ones.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import sentencepiece
from google.protobuf.message import DecodeError
from sentencepiece import sentencepiece_model_pb2

from model.tokenizer.added_tokens import (
    AddedToken,
    is_control,
    read_tokenizer_config,
)
from model.tokenizer.protocol import TokenizerError, check_unicode

# Protobuf makes the module's classes at run time; its type stubs have none.
_SCHEMA: Any = sentencepiece_model_pb2
_PIECE: Any = _SCHEMA.ModelProto.SentencePiece


class SentencePieceTokenizer:
    """A SentencePiece model, with what `tokenizer_config.json` beside it adds.

    Args:
        path: the model.
        limit: ids that the language model has; added tokens beyond are left out.

    Raises:
        TokenizerError: the files cannot be used.
    """

    def __init__(self, path: Path, limit: int | None = None) -> None:
        model = _read(path)
        config = read_tokenizer_config(path.parent)
        added = [token for token in config.added if limit is None or token.id < limit]
        self._bytes = list(_all_bytes(model))
        self._spellings = [str(piece.piece) for piece in model.pieces]
        self._controls = _take_controls(model, {token.content for token in added})
        self._strips: dict[int, tuple[bool, bool]] = {}
        for token in added:
            self._add(token)
        self._named = {**_named(model), **config.named}
        begin = self._controls.get(self._named.get("bos_token", ""))
        self._opening = (begin,) if config.add_bos_token and begin is not None else ()
        self._every_segment = config.legacy
        self._spaced = self._plain = _processor(path, model)
        if model.normalizer_spec.add_dummy_prefix:
            model.normalizer_spec.add_dummy_prefix = False
            self._plain = _processor(path, model)
        if config.add_prefix_space is False:
            self._spaced = self._plain

    def _add(self, token: AddedToken) -> None:
        missing = token.id + 1 - len(self._bytes)
        self._bytes += [None] * missing
        self._spellings += [""] * missing
        if token.is_control:
            self._controls[token.content] = token.id
            self._strips[token.id] = (token.lstrip, token.rstrip)
        if token.special:
            self._bytes[token.id] = None
        elif missing > 0:
            self._bytes[token.id] = token.content.encode()
        self._spellings[token.id] = token.content

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return len(self._bytes)

    @property
    def controls(self) -> Mapping[str, int]:
        """Spelling → id of the control tokens."""
        return self._controls

    @property
    def strips(self) -> Mapping[int, tuple[bool, bool]]:
        """Control id → whether it swallows white space before it, and after it."""
        return self._strips

    @property
    def named(self) -> Mapping[str, str]:
        """`bos_token`, `eos_token`, … → spelling."""
        return self._named

    @property
    def opening(self) -> tuple[int, ...]:
        """Ids that the model wants before a text that is no conversation."""
        return self._opening

    def encode(self, text: str, *, at_start: bool = True) -> list[int]:
        """Ids of plain text; see `Tokenizer.encode`."""
        check_unicode(text)
        # One space before the first word, as transformers has it, not a second one.
        spaced = (at_start or self._every_segment) and not text.startswith((" ", "\u2581"))
        return list((self._spaced if spaced else self._plain).EncodeAsIds(text))

    def token_bytes(self, token: int) -> bytes | None:
        """Exact bytes of `token`; see `Tokenizer.token_bytes`."""
        return self._bytes[token] if token < len(self._bytes) else None

    def token_text(self, token: int) -> str:
        """`token` for display; see `Tokenizer.token_text`."""
        if token >= len(self._bytes):
            return ""
        exact = self._bytes[token]
        return self._spellings[token] if exact is None else exact.decode(errors="replace")


def _read(path: Path) -> Any:
    model = _SCHEMA.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise _unreadable(path) from error
    if not model.pieces:
        raise _unreadable(path)
    return model


def _unreadable(path: Path) -> TokenizerError:
    return TokenizerError(
        f"{path} is not a readable SentencePiece model; give the tokenizer.model that belongs to "
        f"the checkpoint"
    )


def _processor(path: Path, model: Any) -> sentencepiece.SentencePieceProcessor:
    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(model.SerializeToString())
    except RuntimeError as error:
        raise _unreadable(path) from error
    return processor


def _all_bytes(model: Any) -> Iterator[bytes | None]:
    escaped = model.normalizer_spec.escape_whitespaces
    for piece in model.pieces:
        if piece.type in (_PIECE.CONTROL, _PIECE.UNKNOWN):
            yield None
        elif piece.type == _PIECE.BYTE:
            yield bytes([int(piece.piece[3:5], 16)])
        else:
            text = piece.piece.replace("\u2581", " ") if escaped else piece.piece
            yield text.encode()


def _take_controls(model: Any, added: set[str]) -> dict[str, int]:
    """Spelling → id of the control pieces, after taking away from text what it could become."""
    controls: dict[str, int] = {}
    for token, piece in enumerate(model.pieces):
        if is_control(piece.piece):
            if piece.type == _PIECE.USER_DEFINED:
                piece.type = _PIECE.CONTROL
            elif piece.type == _PIECE.NORMAL and piece.piece in added:
                piece.type = _PIECE.UNUSED
        if piece.type == _PIECE.CONTROL:
            controls[str(piece.piece)] = token
    return controls


def _named(model: Any) -> dict[str, str]:
    trainer = model.trainer_spec
    ids = {
        "bos_token": trainer.bos_id,
        "eos_token": trainer.eos_id,
        "unk_token": trainer.unk_id,
        "pad_token": trainer.pad_id,
    }
    count = len(model.pieces)
    return {
        name: str(model.pieces[token].piece) for name, token in ids.items() if 0 <= token < count
    }
