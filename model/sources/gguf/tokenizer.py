"""A hub's tokenizer files out of a GGUF file's vocabulary.

Ids are those that llama.cpp gives a text (`src/llama-vocab.cpp`), for both kinds of vocabularies
that our families have: byte-level ones with merges (`gpt2`), and SentencePiece's with scores
(`llama`), whose pairs of neighbours are joined in the order of the scores of what they make.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from gguf import TokenType

from model.config import CheckpointError
from model.sources.gguf.splitters import SPLITTERS
from model.tokenizer.added_tokens import is_control
from model.weights.gguf_file import Gguf

_SPACE = "\u2581"
_BYTES = frozenset(f"<0x{value:02X}>" for value in range(256))
# Name in hubs' files → key, and the id where SentencePiece's vocabularies name none.
_NAMED = {
    "bos_token": ("bos", 1),
    "eos_token": ("eos", 2),
    "unk_token": ("unknown", 0),
    "pad_token": ("padding", None),
}
# Besides those that the metadata names.
_ENDS = frozenset(
    {
        "<|eot_id|>",
        "<|im_end|>",
        "<|end|>",
        "<|return|>",
        "<|call|>",
        "<end_of_turn>",
        "<|endoftext|>",
        "<|eom_id|>",
        "</s>",
        "<EOT>",
        "<|end_of_text|>",
        "<eos>",
        "<｜end▁of▁sentence｜>",
    }
)
_SAMPLING = {
    "temperature": "temp",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "penalty_repeat",
}
_TEMPLATE = "tokenizer.chat_template"


def tokenizer_files(source: Gguf) -> dict[str, Any]:
    """File name → content: `tokenizer.json`, and what stands beside it.

    Raises:
        CheckpointError: there is no vocabulary, or one that is broken or of another kind.
    """
    words = _Vocabulary.read(source)
    named = words.named()
    return {
        "tokenizer.json": words.tokenizer(named),
        "tokenizer_config.json": {
            **{name: words.tokens[token] for name, token in named.items()},
            **_templates(source.metadata),
        },
        "generation_config.json": {"eos_token_id": words.ends(named), **recommended(source)},
    }


def recommended(source: Gguf) -> dict[str, Any]:
    """The sampling that a file recommends, as `generation_config.json` has it."""
    return {
        name: value
        for name, key in _SAMPLING.items()
        if type(value := source.metadata.get(f"general.sampling.{key}")) in (int, float)
    }


def _templates(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The chat templates: one, or several by name."""
    found = {
        key.removeprefix(_TEMPLATE).removeprefix(".") or "default": value
        for key, value in metadata.items()
        if (key == _TEMPLATE or key.startswith(f"{_TEMPLATE}.")) and isinstance(value, str)
    }
    if not found:
        return {}
    if found.keys() == {"default"}:
        return {"chat_template": found["default"]}
    listed = [{"name": name, "template": template} for name, template in found.items()]
    return {"chat_template": listed}


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """The tokens of a file.

    Attributes:
        source: the file.
        model: the kind of vocabulary.
        tokens: spelling of each id.
        types: of each id, one of `TokenType`.
    """

    source: Gguf
    model: str
    tokens: Sequence[str]
    types: Sequence[int]

    @classmethod
    def read(cls, source: Gguf) -> "_Vocabulary":
        """The vocabulary; reserved tokens at its end, which pad it, are left out."""
        where, metadata = source.path, source.metadata
        model, tokens = (metadata.get(f"tokenizer.ggml.{key}") for key in ("model", "tokens"))
        if model is None or not (tokens := _texts(tokens)):
            raise CheckpointError(
                f"{where} has no tokenizer (tokenizer.ggml.model and tokens); give a GGUF file "
                "with one"
            )
        if model not in ("gpt2", "llama"):
            raise CheckpointError(
                f"{where} has a tokenizer of the kind {model!r}, which is not supported; "
                "supported: 'gpt2', 'llama'"
            )
        types = _numbers(source, "token_type", len(tokens), [TokenType.NORMAL] * len(tokens))
        count = len(tokens)
        while count and types[count - 1] == TokenType.UNUSED:
            count -= 1
        spelled = [token or f"[EMPTY_{index}]" for index, token in enumerate(tokens[:count])]
        spelling, times = Counter(spelled).most_common(1)[0] if spelled else ("", 0)
        if times > 1:
            raise CheckpointError(
                f"{where} has the token {spelling!r} {times} times; download it again"
            )
        return cls(source, str(model), spelled, types[:count])

    def named(self) -> dict[str, int]:
        """Name → id of the special tokens that have a part in a text."""
        found: dict[str, int] = {}
        for name, (key, otherwise) in _NAMED.items():
            default = otherwise if self.model == "llama" else None
            token = self._id(key, default)
            if token is not None:
                found[name] = token
        return found

    def ends(self, named: Mapping[str, int]) -> list[int]:
        """Ids that end a turn: those named for it, and those spelled as such."""
        ids = [named.get("eos_token"), self._id("eot", None), self._id("eom", None)]
        marks = (TokenType.CONTROL, TokenType.USER_DEFINED)
        ids += [
            token
            for token, (spelling, kind) in enumerate(zip(self.tokens, self.types, strict=True))
            if spelling in _ENDS and kind in marks
        ]
        found = list(dict.fromkeys(token for token in ids if token is not None))
        spelled = {self.tokens[token] for token in found}
        if {"<|return|>", "<|call|>"} <= spelled:
            # In gpt-oss' format it ends a message, after which the turn goes on.
            found = [token for token in found if self.tokens[token] != "<|end|>"]
        if not found:
            raise CheckpointError(
                f"{self.source.path} names no token that ends a turn "
                "(tokenizer.ggml.eos_token_id); give a GGUF file that does"
            )
        return found

    def tokenizer(self, named: Mapping[str, int]) -> dict[str, Any]:
        """What `tokenizer.json` says."""
        made = self._byte_level() if self.model == "gpt2" else self._sentence_piece(named)
        begins = self._flag("add_bos_token", made.pop("begins"))
        bos = named.get("bos_token")
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": list(self._added()),
            "post_processor": _begin_with(self.tokens[bos], bos)
            if begins and bos is not None
            else None,
            **made,
        }

    def _byte_level(self) -> dict[str, Any]:
        name = self.source.metadata.get("tokenizer.ggml.pre")
        if not isinstance(name, str) or name not in SPLITTERS:
            raise CheckpointError(
                f"{self.source.path} cuts texts in the way {name!r} (tokenizer.ggml.pre), which is "
                f"not supported; supported: {', '.join(SPLITTERS)}"
            )
        splitter = SPLITTERS[name]
        splits = [
            {
                "type": "Split",
                "pattern": {"Regex": pattern},
                "behavior": "Isolated",
                "invert": False,
            }
            for pattern in splitter.patterns
        ]
        bytes_only = {"add_prefix_space": False, "trim_offsets": True, "use_regex": False}
        return {
            "normalizer": {"type": "NFC"} if splitter.composes else None,
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [*splits, {"type": "ByteLevel", **bytes_only}],
            },
            "decoder": {"type": "ByteLevel", **bytes_only},
            "model": {
                "type": "BPE",
                "vocab": self._ids(),
                "merges": self._merges(),
                "ignore_merges": splitter.whole_words,
            },
            "begins": splitter.begins,
        }

    def _merges(self) -> list[list[str]]:
        known = set(self.tokens)
        merges: list[list[str]] = []
        for entry in _texts(self.source.metadata.get("tokenizer.ggml.merges")):
            # A part may begin with a space, and not end with one.
            at = entry.find(" ", 1)
            pair = [entry[:at], entry[at + 1 :]]
            if at < 0 or not known.issuperset([*pair, "".join(pair)]):
                raise CheckpointError(
                    f"{self.source.path} has the merge {entry!r}, whose parts are not all tokens; "
                    "download it again"
                )
            merges.append(pair)
        if not merges:
            raise CheckpointError(
                f"{self.source.path} has no tokenizer.ggml.merges, which a vocabulary of the kind "
                "'gpt2' needs; give a GGUF file that was converted anew"
            )
        return merges

    def _sentence_piece(self, named: Mapping[str, int]) -> dict[str, Any]:
        scores = _numbers(self.source, "scores", len(self.tokens), None)
        spaced = self._flag("add_space_prefix", True)
        unknown = named.get("unk_token")
        spaces = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
        back = {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "}
        begin = [{"type": "Prepend", "prepend": _SPACE}] if spaced else []
        strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if spaced else []
        return {
            "normalizer": {"type": "Sequence", "normalizers": [*begin, spaces]},
            "pre_tokenizer": None,
            "decoder": {
                "type": "Sequence",
                "decoders": [back, {"type": "ByteFallback"}, {"type": "Fuse"}, *strip],
            },
            "model": {
                "type": "BPE",
                "vocab": self._ids(),
                "merges": _merges_by_score(self._mergeable(), scores),
                "unk_token": None if unknown is None else self.tokens[unknown],
                "fuse_unk": True,
                "byte_fallback": _BYTES.issubset(self.tokens),
            },
            "begins": True,
        }

    def _mergeable(self) -> dict[str, int]:
        """The pieces that text can be cut into."""
        plain = (TokenType.NORMAL, TokenType.USER_DEFINED)
        return {
            token: index
            for index, (token, kind) in enumerate(zip(self.tokens, self.types, strict=True))
            if kind in plain and not (kind == TokenType.USER_DEFINED and is_control(token))
        }

    def _ids(self) -> dict[str, int]:
        return {token: index for index, token in enumerate(self.tokens)}

    def _added(self) -> Iterator[dict[str, Any]]:
        """The tokens that are found before the text is cut: control tokens, and whole words."""
        # Its files do not say that white space after its control tokens is swallowed.
        phi3 = any(
            name in str(self.source.metadata.get("general.name")).lower()
            for name in ("phi-3", "phi3")
        )
        kept = ("<unk>", "<s>", "<|endoftext|>")
        for token, (spelling, kind) in enumerate(zip(self.tokens, self.types, strict=True)):
            if kind in (TokenType.NORMAL, TokenType.BYTE):
                continue
            yield {
                "id": token,
                "content": spelling,
                "single_word": False,
                "lstrip": False,
                "rstrip": phi3 and spelling not in kept,
                "normalized": False,
                "special": kind != TokenType.USER_DEFINED,
            }

    def _id(self, key: str, default: int | None) -> int | None:
        token = self.source.metadata.get(f"tokenizer.ggml.{key}_token_id", default)
        return token if type(token) is int and 0 <= token < len(self.tokens) else None

    def _flag(self, key: str, default: bool) -> bool:
        value = self.source.metadata.get(f"tokenizer.ggml.{key}", default)
        return value if isinstance(value, bool) else default


def _begin_with(spelling: str, token: int) -> dict[str, Any]:
    begin = {"SpecialToken": {"id": spelling, "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "type": "TemplateProcessing",
        "single": [begin, first],
        "pair": [begin, first, begin, second],
        "special_tokens": {spelling: {"id": spelling, "ids": [token], "tokens": [spelling]}},
    }


def _merges_by_score(pieces: Mapping[str, int], scores: Sequence[float]) -> list[list[str]]:
    """All pairs of pieces that make a piece, those that make the likeliest first."""
    pairs: list[tuple[float, int, list[str]]] = []
    for piece, token in pieces.items():
        for at in range(1, len(piece)):
            before, after = piece[:at], piece[at:]
            if before in pieces and after in pieces:
                pairs.append((-scores[token], token, [before, after]))
    pairs.sort(key=lambda pair: pair[:2])
    return [pair for _, _, pair in pairs]


def _numbers(source: Gguf, key: str, least: int, default: Sequence[int] | None) -> list[Any]:
    """A number for each token."""
    value = source.metadata.get(f"tokenizer.ggml.{key}", default)
    numbers = list(cast("Sequence[Any]", value)) if isinstance(value, Sequence) else []
    if len(numbers) < least or not isinstance(numbers[0], int | float):
        raise CheckpointError(
            f"{source.path} has no tokenizer.ggml.{key} with a number for each of {least} tokens; "
            "download it again"
        )
    return numbers


def _texts(value: Any) -> list[str]:
    """The texts of a list, whose members are all of one kind; none of anything else."""
    texts = cast("list[Any]", value) if isinstance(value, list) else []
    return texts if texts and isinstance(texts[0], str) else []
