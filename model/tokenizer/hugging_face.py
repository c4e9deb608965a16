"""Hugging Face `tokenizer.json` files, through the `tokenizers` library.

The library splits and encodes plain text; the control tokens are taken away from it, so that
no text can become one. Bytes of an id follow from the file's decoder, of which there are two
kinds: a byte-level alphabet, where each character of a piece stands for one byte; and text
with U+2581 for the space, where bytes without a piece are spelled `<0xNN>`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import tokenizers

from model.tokenizer.added_tokens import (
    FLAGS,
    AddedToken,
    TokenizerConfig,
    added_token,
    read_object,
    read_tokenizer_config,
)
from model.tokenizer.protocol import TokenizerError, check_unicode
from model.tokenizer.tables import Tables, TableTokenizer

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_DECODERS = ("ByteLevel", "Metaspace", "Replace", "ByteFallback", "Fuse", "Strip")


class HuggingFaceTokenizer(TableTokenizer):
    """A `tokenizer.json`, with what `tokenizer_config.json` beside it adds.

    Args:
        path: the file.
        limit: ids that the language model has; added tokens beyond are left out.

    Raises:
        TokenizerError: the files cannot be used.
    """

    def __init__(self, path: Path, limit: int | None = None) -> None:
        spec = read_object(path)
        config = read_tokenizer_config(path.parent)
        try:
            whole = tokenizers.Tokenizer.from_file(str(path))
            listed = [added_token(entry["id"], entry) for entry in spec.get("added_tokens") or ()]
            vocabulary = whole.get_vocab(with_added_tokens=False)
        # The library raises Exception itself.
        except Exception as error:
            raise TokenizerError(
                f"{path} is not a readable tokenizer.json ({error}); give the file that belongs to "
                f"the checkpoint"
            ) from error
        added = [
            token
            for token in _merge(listed, config, vocabulary)
            if limit is None or token.id < limit
        ]
        exact, spellings = _bytes_and_spellings(vocabulary, added, spec, path)
        super().__init__(
            Tables(
                exact,
                spellings,
                controls={token.content: token.id for token in added if token.is_control},
                strips={token.id: (token.lstrip, token.rstrip) for token in added},
                named=config.named,
                opening=_before_raw_text(whole),
            )
        )
        self._ids: dict[int, int] = {}
        words = [token for token in added if not token.is_control]
        splitter = cast("object", spec.get("pre_tokenizer"))
        self._first = self._encoder(spec, splitter, whole, words)
        after = _without_opening_space(splitter)
        same = after == splitter
        self._later = self._first if same else self._encoder(spec, after, whole, words)

    def _encoder(
        self,
        spec: Mapping[str, Any],
        splitter: object,
        whole: tokenizers.Tokenizer,
        words: list[AddedToken],
    ) -> tokenizers.Tokenizer:
        """The library's tokenizer for plain text; it shares its vocabulary with `whole`."""
        shell = {
            **spec,
            "pre_tokenizer": splitter,
            "model": {"type": "BPE", "vocab": {}, "merges": []},
            "added_tokens": [],
            "post_processor": None,
            "truncation": None,
            "padding": None,
        }
        made = tokenizers.Tokenizer.from_str(json.dumps(shell))
        made.model = whole.model
        for word in words:
            flags = {name: getattr(word, name) for name in FLAGS}
            made.add_tokens([tokenizers.AddedToken(word.content, **flags)])
            # The library numbers what its vocabulary lacks without gaps.
            given = made.token_to_id(word.content)
            if given is not None and given != word.id:
                self._ids[given] = word.id
        return made

    def encode(self, text: str, *, at_start: bool = True) -> list[int]:
        """Ids of plain text; see `Tokenizer.encode`."""
        check_unicode(text)
        encoder = self._first if at_start else self._later
        # `encode` is the same at half the speed, and holds Python's lock meanwhile.
        ids: list[int] = encoder.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return [self._ids.get(token, token) for token in ids] if self._ids else ids


def _before_raw_text(whole: tokenizers.Tokenizer) -> tuple[int, ...]:
    """What the post-processor puts before a text."""
    wrapped: list[int] = whole.encode("a", add_special_tokens=True).ids
    bare: list[int] = whole.encode("a", add_special_tokens=False).ids
    starts = range(len(wrapped) - len(bare) + 1)
    first = next((start for start in starts if wrapped[start : start + len(bare)] == bare), 0)
    return tuple(wrapped[:first])


def _merge(
    listed: list[AddedToken], config: TokenizerConfig, vocabulary: Mapping[str, int]
) -> Iterator[AddedToken]:
    """The added tokens of both files; `tokenizer_config.json` has the last word on their flags."""
    merged = {token.content: token for token in listed}
    for token in config.added:
        known = merged.get(token.content)
        merged[token.content] = replace(token, id=known.id) if known else token
    for spelling in config.special:
        if spelling in merged:
            merged[spelling] = replace(merged[spelling], special=True)
        elif spelling in vocabulary:
            merged[spelling] = AddedToken(vocabulary[spelling], spelling, special=True)
    yield from merged.values()


def _bytes_and_spellings(
    vocabulary: Mapping[str, int],
    added: list[AddedToken],
    spec: Mapping[str, Any],
    path: Path,
) -> tuple[list[bytes | None], list[str]]:
    """Bytes and spelling of every id."""
    size = 1 + max([*vocabulary.values(), *(token.id for token in added)], default=-1)
    exact: list[bytes | None] = [None] * size
    spellings = [""] * size
    piece_bytes, added_bytes = _byte_rules(_flat(spec.get("decoder"), "decoders"), path)
    for piece, token in vocabulary.items():
        exact[token] = piece_bytes(piece)
        spellings[token] = piece
    unknown = vocabulary.get(spec["model"].get("unk_token") or "")
    if unknown is not None:
        exact[unknown] = None
    for token in added:
        exact[token.id] = None if token.special else added_bytes(token.content)
        spellings[token.id] = token.content
    return exact, spellings


def _byte_rules(
    decoders: list[Mapping[str, Any]], path: Path
) -> tuple[Callable[[str], bytes], Callable[[str], bytes]]:
    """How the bytes of a piece, and of an added token, are found."""
    kinds = [str(decoder.get("type")) for decoder in decoders]
    strange = [kind for kind in kinds if kind not in _DECODERS]
    if strange or not kinds:
        raise TokenizerError(
            f"{path} has the decoder {', '.join(strange) or None}, which does not tell the bytes "
            f"of each token; Parlance takes tokenizers whose decoder is made of "
            f"{', '.join(_DECODERS)}"
        )
    if "ByteLevel" in kinds:
        return _byte_level, str.encode
    replacements = [pair for decoder in decoders for pair in _replacements(decoder)]
    fallback = "ByteFallback" in kinds

    def spaces(piece: str) -> bytes:
        for old, new in replacements:
            piece = piece.replace(old, new)
        return piece.encode()

    def with_fallback(piece: str) -> bytes:
        byte = _BYTE.fullmatch(piece)
        return bytes([int(byte[1], 16)]) if byte else spaces(piece)

    return with_fallback if fallback else spaces, spaces


def _replacements(decoder: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if decoder["type"] == "Metaspace":
        yield decoder.get("replacement", "\u2581"), " "
    elif decoder["type"] == "Replace" and "String" in decoder["pattern"]:
        yield decoder["pattern"]["String"], decoder["content"]


def _byte_alphabet() -> dict[str, int]:
    """Character → byte of byte-level vocabularies (GPT-2).

    Printable Latin-1 stands for itself; the other bytes, in order, are the characters from
    U+0100 on.
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {
        chr(0x100 + index): byte for index, byte in enumerate(others)
    }


_ALPHABET = _byte_alphabet()


def _byte_level(piece: str) -> bytes:
    try:
        return bytes([_ALPHABET[character] for character in piece])
    except KeyError:
        # Not written in the alphabet, as special tokens in the vocabulary are not: plain text.
        return piece.encode()


def _flat(part: object, members: str) -> list[Mapping[str, Any]]:
    """A decoder as the list of its steps."""
    if not isinstance(part, dict):
        return []
    fields = cast("dict[str, Any]", part)
    if fields.get("type") != "Sequence":
        return [fields]
    return [step for member in fields[members] for step in _flat(member, members)]


def _without_opening_space(part: object) -> object:
    """A pre-tokenizer as it works on text that does not open the prompt."""
    if isinstance(part, list):
        return [_without_opening_space(member) for member in cast("list[object]", part)]
    if not isinstance(part, dict):
        return part
    fields = cast("dict[str, object]", part)
    if fields.get("type") == "Metaspace" and fields.get("prepend_scheme") == "first":
        return {**fields, "prepend_scheme": "never"}
    return {name: _without_opening_space(value) for name, value in fields.items()}
