"""Grammars to constraints: tried, compiled, remembered, on threads of their own."""

import json
import queue
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from llguidance import LLMatcher, LLTokenizer

from model.tokenizer import Tokenizer
from serve.grammar.library import GrammarError, Vocabulary, compile_grammar, make_tokenizer
from serve.grammar.matcher import CompiledGrammar
from serve.grammar.trial import Trial

# Grammars compiled at the same time, each tried in a process of its own.
_THREADS = 2
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Grammar:
    """A grammar in the library's own notation. Equal ones are compiled once.

    Attributes:
        source: JSON text.
    """

    source: str

    @classmethod
    def json_schema(cls, schema: object, *, exclusive: bool = True) -> "Grammar":
        """Compact JSON of which `schema` holds, without any whitespace between its tokens.

        Args:
            schema: an object or a boolean.
            exclusive: refuse a `oneOf` whose branches may overlap; else it is an `anyOf`.
        """
        whole = {"allOf": [schema]} if isinstance(schema, bool) else schema
        options = {"whitespace_flexible": False, "coerce_one_of": not exclusive}
        text = json.dumps(whole, ensure_ascii=False)
        return cls(LLMatcher.grammar_from_json_schema(text, overrides=options))  # type: ignore[arg-type]

    @classmethod
    def lark(cls, text: str) -> "Grammar":
        """A grammar in llguidance's dialect of Lark."""
        return cls(LLMatcher.grammar_from_lark(text))

    @classmethod
    def regex(cls, text: str) -> "Grammar":
        """A regular expression that the whole answer matches."""
        return cls(LLMatcher.grammar_from_regex(text))


@dataclass(frozen=True, slots=True)
class GrammarLimits:
    """What grammars of strangers may cost.

    Attributes:
        source_bytes: largest grammar.
        seconds: most that compiling one may take.
        remembered: compiled grammars that are kept.
    """

    source_bytes: int = 128 * 2**10
    seconds: float = 1.0
    remembered: int = 256


class GrammarCompiler:
    """Compiles grammars for one model.

    Args:
        tokenizer: the model's.
        vocab_size: logits that the model has; may be more than the tokenizer has ids.
        end_ids: ids that end an answer.
        limits: see `GrammarLimits`.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        vocab_size: int,
        end_ids: frozenset[int],
        limits: GrammarLimits | None = None,
    ) -> None:
        self.limits = limits or GrammarLimits()
        self._tokenizer = tokenizer
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="grammar")
        self._built = self._pool.submit(self._build, vocab_size, end_ids)
        self._trials: queue.SimpleQueue[Trial | None] = queue.SimpleQueue()
        for _ in range(_THREADS):
            self._trials.put(None)
        self._remembered = lru_cache(self.limits.remembered)(self._compile)

    def soon(self, job: Callable[[], T]) -> "Future[T]":
        """Do a job that compiles grammars, on a thread for it."""
        return self._pool.submit(job)

    def compile(self, grammar: Grammar) -> CompiledGrammar:
        """A constraint that holds answers to the grammar. Takes up to the time limit.

        Raises:
            GrammarError: the grammar is refused, or too large.
        """
        check_size(grammar.source, self.limits.source_bytes)
        return self._remembered(grammar)

    def _compile(self, grammar: Grammar) -> CompiledGrammar:
        vocabulary, tokenizer = self._built.result()
        trial = self._trials.get() or Trial(vocabulary, self.limits.seconds)
        try:
            trial.run(grammar.source)
        finally:
            self._trials.put(trial)
        return CompiledGrammar(compile_grammar(tokenizer, grammar.source))

    def _build(self, size: int, end_ids: frozenset[int]) -> tuple[Vocabulary, LLTokenizer]:
        if not end_ids:
            raise GrammarError("this model has no token that could end an answer")
        vocabulary = vocabulary_of(self._tokenizer, size, end_ids)
        return vocabulary, make_tokenizer(vocabulary, self._tokenizer.encode)


def check_size(text: str, most: int) -> None:
    """Refuse a grammar, or what is to become one, for its size alone.

    Raises:
        GrammarError: it has more than `most` bytes.
    """
    size = len(text.encode(errors="surrogatepass"))
    if size > most:
        raise GrammarError(
            f"it has {size:,} bytes and at most {most:,} are allowed; make it smaller"
        )


def vocabulary_of(tokenizer: Tokenizer, size: int, end_ids: frozenset[int]) -> Vocabulary:
    """What each of `size` ids stands for, those past the tokenizer's as special ones."""
    spellings: Mapping[int, str] = {token: name for name, token in tokenizer.controls.items()}
    tokens: list[bytes] = []
    special: list[int] = []
    for token in range(size):
        exact = tokenizer.token_bytes(token) if token < tokenizer.vocab_size else None
        if exact is None or token in end_ids:
            special.append(token)
            exact = spellings.get(token, f"<|token {token}|>").encode()
        tokens.append(exact)
    return Vocabulary(tokens, special, sorted(end_ids))
