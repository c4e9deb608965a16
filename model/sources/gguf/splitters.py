r"""How byte-level vocabularies cut a text into words, by the names that llama.cpp gives the ways.

A name stands for regular expressions, which are those of the `tokenizer.json` of the models that
llama.cpp's converter knows by it (`src/llama-vocab.cpp` has the names, and the expressions in the
words of its own engine).
"""

from collections.abc import Mapping
from typing import NamedTuple

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_REST_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_LOWER_LAST = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
_UPPER_FIRST = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_THREE_DIGITS = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_REST}"
_ONE_DIGIT = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}|{_REST}"

_CASED_WORD = rf"{_LOWER_LAST}{_CONTRACTIONS}?|{_UPPER_FIRST}{_CONTRACTIONS}?"


class Splitter(NamedTuple):
    """One way.

    Attributes:
        patterns: each cuts what the one before has left, at its matches.
        whole_words: a word that is a token is that token, whatever the merges.
        begins: a text begins with `bos` unless the file says otherwise.
        composes: characters are composed first (NFC).
    """

    patterns: tuple[str, ...]
    whole_words: bool = False
    begins: bool = False
    composes: bool = False


_LLAMA3 = Splitter((_THREE_DIGITS,), whole_words=True, begins=True)
_PLAIN_GPT2 = Splitter((_GPT2,))
_SINGLE_DIGITS = Splitter((r"\p{N}", _GPT2))
_CASED = Splitter((rf"{_CASED_WORD}|\p{{N}}{{1,3}}|{_REST_SLASH}",))

SPLITTERS: Mapping[str, Splitter] = {
    "command-r": _SINGLE_DIGITS,
    "dbrx": Splitter((_THREE_DIGITS,)),
    "deepseek-coder": Splitter(
        (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+", r"\p{N}")
    ),
    "deepseek-r1-qwen": Splitter((_ONE_DIGIT,)),
    "falcon3": _LLAMA3,
    "gpt-2": _PLAIN_GPT2,
    "gpt-4o": _CASED,
    "llama-bpe": _LLAMA3,
    "llama-v3": _LLAMA3,
    "llama3": _LLAMA3,
    "megrez": Splitter((_ONE_DIGIT,)),
    "minerva-7b": _SINGLE_DIGITS,
    "olmo": _PLAIN_GPT2,
    "phi-2": _PLAIN_GPT2,
    "qwen2": Splitter((_ONE_DIGIT,), composes=True),
    "refact": _SINGLE_DIGITS,
    "smaug-bpe": Splitter((_THREE_DIGITS,)),
    "smollm": _SINGLE_DIGITS,
    "stablelm2": Splitter((_ONE_DIGIT,)),
    "starcoder": _SINGLE_DIGITS,
    "tekken": Splitter(
        (rf"{_LOWER_LAST}|{_UPPER_FIRST}|\p{{N}}|{_REST_SLASH}",), whole_words=True, begins=True
    ),
    "trillion": _PLAIN_GPT2,
}
