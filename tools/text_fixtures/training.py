"""Small tokenizers of the kinds that checkpoints are published with.

Trained on the project's licence and a few sentences in many languages. Knows nothing
of families: which vocabulary gets which control tokens is `families.py`'s business.
"""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

_HERE = Path(__file__).parent
_LICENCE = _HERE.parent.parent / "LICENSE"
_SPACE = "\u2581"

# How words are cut before pairs are merged, as GPT-4 (also Llama 3 and OLMo 2), Qwen2, GPT-4o
# (also Phi-4 and gpt-oss) and Mistral's tekken do it.
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_GPT4 = (
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _TAIL
)  # fmt: skip
_GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+%s|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*%s"
    r"|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _TAIL
)
WORDS = {
    "gpt4": _GPT4 % "{1,3}",
    "qwen2": _GPT4 % "",
    "gpt4o": _GPT4O % (_CONTRACTIONS + "?", _CONTRACTIONS + "?", "{1,3}"),
    "tekken": _GPT4O % ("", "", ""),
}


def corpus() -> Iterator[str]:
    """Lines to count pairs in."""
    for path in (_HERE / "corpus.txt", _LICENCE):
        yield from path.read_text(encoding="utf-8").splitlines(keepends=True)


def byte_level(words: str, size: int, *, composed: bool = False) -> Tokenizer:
    """A byte-level vocabulary of `size` pieces, without control tokens."""
    made = Tokenizer(models.BPE())
    if composed:
        made.normalizer = normalizers.NFC()  # pyright: ignore[reportAttributeAccessIssue]
    made.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [
            pre_tokenizers.Split(Regex(WORDS[words]), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    made.train_from_iterator(corpus(), trainer)
    return made


def sentence_piece(size: int, **options: Any) -> bytes:
    """A SentencePiece model of `size` pieces, bytes for what it lacks, nothing normalized."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=(line.rstrip("\n") for line in corpus()),
        model_writer=written,
        vocab_size=size,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=0.995,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        minloglevel=2,
        **options,
    )
    return written.getvalue()


def converted(
    vocabulary: dict[str, int], merges: Sequence[tuple[str, str]], kind: str
) -> Tokenizer:
    """A SentencePiece vocabulary as `tokenizer.json` holds it.

    Args:
        vocabulary: piece → id.
        merges: in order of rank.
        kind: `every` puts a space before each text between control tokens, `first` before the
            one that opens the prompt, `never` before none.
    """
    made = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=list(merges),
            unk_token="<unk>",  # noqa: S106
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    steps: list[Any] = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    spaces = normalizers.Replace(" ", _SPACE)
    if kind == "every":
        made.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), spaces])  # pyright: ignore[reportAttributeAccessIssue]
    elif kind == "first":
        made.pre_tokenizer = pre_tokenizers.Metaspace(_SPACE, "first", split=False)  # pyright: ignore[reportAttributeAccessIssue]
    else:
        made.normalizer = spaces  # pyright: ignore[reportAttributeAccessIssue]
        made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")  # pyright: ignore[reportAttributeAccessIssue]
    if kind != "never":
        steps.append(decoders.Strip(" ", 1, 0))
    made.decoder = decoders.Sequence(steps)  # pyright: ignore[reportAttributeAccessIssue]
    return made


def add(tokenizer: Tokenizer, tokens: Sequence[AddedToken]) -> None:
    """Add `tokens` in order, special or not as each says."""
    for token in tokens:
        (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
