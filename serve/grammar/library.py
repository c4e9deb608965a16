"""llguidance as this project uses it: one set of limits, and a tokenizer of exact bytes.

Imports nothing heavy: the trial process needs this module and little else.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper

Encode = Callable[[str], Sequence[int]]

# So low that one mask takes tenths of a second at worst, and a grammar's automaton some 20 MB.
# Objects may have about 250 properties that are not required: each is four items of a row.
_LIMITS = LLParserLimits(
    max_items_in_row=1_000,
    initial_lexer_fuel=1_000_000,
    step_lexer_fuel=100_000,
    step_max_items=15_000,
    max_lexer_states=50_000,
    max_grammar_size=300_000,
    verbose_errors=False,
)
# How many tokens of a made-up answer a grammar is tried with.
_REHEARSED = 32
_DEAD_END = "an answer can come to where nothing may follow"
_AUTOMATON = "its strings, patterns or numbers have too many states"
_WAYS = "too many ways are open at once"
# What errors are known by → what they mean.
_WORDS = {
    "NoExtension": _DEAD_END,
    "items; max is": f"{_WAYS}, more than {_LIMITS.max_items_in_row:,}",
    "Too many items": _WAYS,
    "lexer configuration": "its patterns and numbers are too large",
    "lexer error": _AUTOMATON,
    "are not disjoint": "a name may match two of its patterns",
    "Failed to generate regex": "its range is too large",
    "grammar size": "it has too many parts",
    "Unable to determine if regex is empty": "it takes too long to tell whether any text fits it",
    "Regex is empty": "no text fits it",
}
# The library marks tokens that text cannot match with a byte that text never has.
_MARK = b"\xff"


class GrammarError(ValueError):
    """A grammar that cannot be followed; the message says why, for who wrote it."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What each token id stands for.

    Attributes:
        tokens: exact bytes of text tokens, spellings of the others; one for each logit.
        special: ids that text never matches; a grammar can name them by their spelling.
        end_ids: ids that end an answer, one at least.
    """

    tokens: list[bytes]
    special: list[int]
    end_ids: list[int]


class _Wrapped:
    """A vocabulary as the library wants to see it."""

    def __init__(self, vocabulary: Vocabulary, encode: Encode | None) -> None:
        self.tokens = vocabulary.tokens
        self.special_token_ids = vocabulary.special
        self.eos_token_id = vocabulary.end_ids[0]
        self.bos_token_id = None
        self._encode = encode
        special = set(vocabulary.special)
        # Of tokens with the same bytes the last: byte tokens come before whole pieces.
        self._ids = {
            text: token
            for token, text in enumerate(vocabulary.tokens)
            if token not in special and text
        }
        self._longest = max(map(len, self._ids), default=0)

    def __call__(self, text: str | bytes) -> list[int]:
        """Ids whose bytes are exactly `text`: the tokenizer's own if they are, else the longest.

        A tokenizer may put a space in front of what it takes for a text's beginning.
        """
        exact = text.encode() if isinstance(text, str) else text
        if self._encode is not None:
            ids = list(self._encode(exact.decode()))
            if b"".join(self.tokens[token] for token in ids) == exact:
                return ids
        return self._longest_first(exact)

    def _longest_first(self, text: bytes) -> list[int]:
        ids: list[int] = []
        start = 0
        while start < len(text):
            for length in range(min(self._longest, len(text) - start), 0, -1):
                token = self._ids.get(text[start : start + length])
                if token is not None:
                    break
            else:
                return ids
            ids.append(token)
            start += length
        return ids


def make_tokenizer(vocabulary: Vocabulary, encode: Encode | None = None) -> LLTokenizer:
    """The library's form of a vocabulary.

    Args:
        vocabulary: the tokens.
        encode: the model's own tokenization. Where a grammar leaves only one text, this tells
            how the model would spell it. Without it the longest tokens do.
    """
    tokens = list(vocabulary.tokens)
    special = set(vocabulary.special)
    for token, text in enumerate(tokens):
        if text.startswith(_MARK):
            tokens[token] = f"<|byte {token}|>".encode()
            special.add(token)
    exact = Vocabulary(tokens, sorted(special), vocabulary.end_ids)
    return LLTokenizer(
        TokenizerWrapper(_Wrapped(exact, encode)),
        n_vocab=len(tokens),
        eos_token=list(vocabulary.end_ids),
    )


def compile_grammar(tokenizer: LLTokenizer, source: str) -> LLMatcher:
    """A matcher at the beginning of `source`, which has allowed its first tokens.

    Raises:
        GrammarError: the library refuses the grammar, or nothing can satisfy it.
    """
    matcher = LLMatcher(tokenizer, source, log_level=0, limits=_LIMITS)
    if not matcher.is_error():
        first = matcher.compute_bitmask()
        if not matcher.is_error() and any(first):
            return matcher
        if not matcher.is_error() or "NoExtension" in matcher.get_error():
            raise GrammarError("nothing can satisfy it")
    raise GrammarError(explained(matcher.get_error()))


def rehearse(matcher: LLMatcher, end_ids: Sequence[int]) -> None:
    """Follow a compiled grammar for a while, along tokens drawn from what it allows but the end.

    Much of what makes a grammar costly is only worked out when an answer gets there.

    Raises:
        GrammarError: it takes more than the limits allow, or leads to where nothing may follow.
    """
    ends = sum(1 << token for token in end_ids)
    draw = random.Random(0)  # noqa: S311  (any way will do, but always the same)
    for _ in range(_REHEARSED):
        allowed = int.from_bytes(matcher.compute_bitmask(), "little") & ~ends
        if matcher.is_error() or not allowed:
            break
        first = draw.randrange(allowed.bit_length())
        above = allowed >> first
        matcher.consume_token(first + (above & -above).bit_length() - 1)
        if matcher.is_error() or matcher.is_stopped():
            break
    if matcher.is_error():
        reason = in_words(explained(matcher.get_error()))
        if reason == _DEAD_END:
            raise GrammarError(f"{reason}; write it in another way")
        raise GrammarError(
            f"it takes too much to follow: {reason}; make it smaller, or its repetitions shorter"
        )


def explained(error: str) -> str:
    """An error of the library without what only its authors can use."""
    for theirs in ("<non-verbose/>", "<state>", "<backtrace>"):
        error = error.partition(theirs)[0]
    return error.strip()


def in_words(error: str) -> str:
    """An explained error, in words of ours where the library's are those of its insides."""
    return next((words for inside, words in _WORDS.items() if inside in error), error)
