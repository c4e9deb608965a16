"""SentencePiece `.model` files.

Piece conventions (SentencePiece, `src/sentencepiece_model.proto`): U+2581 stands for a space,
unless `escape_whitespaces` is off; BYTE pieces are spelled `<0xNN>`; CONTROL and UNKNOWN
pieces have no bytes; USER_DEFINED pieces are whole wherever they stand. Of the latter, those
that are markup of a chat format are kept out of plain text here, like the CONTROL ones.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import sentencepiece
from google.protobuf.message import DecodeError
from sentencepiece import sentencepiece_model_pb2

from model.tokenizer.added_tokens import (
    AddedToken,
    TokenizerConfig,
    is_control,
    read_tokenizer_config,
)
from model.tokenizer.protocol import TokenizerError, check_unicode
from model.tokenizer.tables import Tables, TableTokenizer
from model.unreadable import git_pointer, not_read

# Protobuf makes the module's classes at run time; its type stubs have none.
_SCHEMA: Any = sentencepiece_model_pb2
_PIECE: Any = _SCHEMA.ModelProto.SentencePiece


class SentencePieceTokenizer(TableTokenizer):
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
        super().__init__(_tables(model, config, added))
        _take_from_text(model, self.controls)
        self._every_segment = config.legacy
        self._spaced = self._plain = _processor(path, model)
        if model.normalizer_spec.add_dummy_prefix:
            model.normalizer_spec.add_dummy_prefix = False
            self._plain = _processor(path, model)
        if config.add_prefix_space is False:
            self._spaced = self._plain

    def encode(self, text: str, *, at_start: bool = True) -> list[int]:
        """Ids of plain text; see `Tokenizer.encode`."""
        check_unicode(text)
        # One space before the first word, as transformers has it, not a second one.
        spaced = (at_start or self._every_segment) and not text.startswith((" ", "\u2581"))
        return list((self._spaced if spaced else self._plain).EncodeAsIds(text))


def _read(path: Path) -> Any:
    model = _SCHEMA.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except OSError as error:
        raise TokenizerError(not_read(path, error)) from error
    except DecodeError as error:
        raise _unreadable(path) from error
    if not model.pieces:
        raise _unreadable(path)
    return model


def _unreadable(path: Path) -> TokenizerError:
    return TokenizerError(
        git_pointer(path)
        or f"{path} is not a readable SentencePiece model; give the tokenizer.model that belongs "
        f"to the checkpoint"
    )


def _processor(path: Path, model: Any) -> sentencepiece.SentencePieceProcessor:
    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(model.SerializeToString())
    except RuntimeError as error:
        raise _unreadable(path) from error
    return processor


def _tables(model: Any, config: TokenizerConfig, added: list[AddedToken]) -> Tables:
    exact = [_exact_bytes(model, piece) for piece in model.pieces]
    spellings = [str(piece.piece) for piece in model.pieces]
    controls = {
        str(piece.piece): token
        for token, piece in enumerate(model.pieces)
        if piece.type == _PIECE.CONTROL
        or (piece.type == _PIECE.USER_DEFINED and is_control(piece.piece))
    }
    for token in added:
        missing = token.id + 1 - len(exact)
        exact += [None] * missing
        spellings += [""] * missing
        spellings[token.id] = token.content
        if token.is_control:
            controls[token.content] = token.id
        if token.special:
            exact[token.id] = None
        elif missing > 0:
            exact[token.id] = token.content.encode()
    named = {**_named(model), **config.named}
    begin = controls.get(named.get("bos_token", ""))
    return Tables(
        exact,
        spellings,
        controls,
        strips={token.id: (token.lstrip, token.rstrip) for token in added},
        named=named,
        opening=(begin,) if config.add_bos_token and begin is not None else (),
    )


def _exact_bytes(model: Any, piece: Any) -> bytes | None:
    if piece.type in (_PIECE.CONTROL, _PIECE.UNKNOWN):
        return None
    if piece.type == _PIECE.BYTE:
        return bytes([int(piece.piece[3:5], 16)])
    escaped = model.normalizer_spec.escape_whitespaces
    return (piece.piece.replace("\u2581", " ") if escaped else piece.piece).encode()


def _take_from_text(model: Any, controls: Collection[str]) -> None:
    """Have the model never cut a control token out of a text."""
    for piece in model.pieces:
        if piece.piece in controls:
            if piece.type == _PIECE.USER_DEFINED:
                piece.type = _PIECE.CONTROL
            elif piece.type == _PIECE.NORMAL:
                piece.type = _PIECE.UNUSED


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
