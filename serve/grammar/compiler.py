"""Grammars to constraints: tried, compiled, remembered, on threads of their own."""

import json
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from llguidance import LLMatcher, LLTokenizer

from model.tokenizer import Tokenizer
from serve.grammar.library import GrammarError, Vocabulary, compile_grammar, make_tokenizer
from serve.grammar.matcher import TOO_COSTLY, CompiledGrammar
from serve.grammar.trial import Allowance, Trial

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
    def lark(cls, text: str, *, any_spelling: bool = False) -> "Grammar":
        """A grammar in llguidance's dialect of Lark.

        Args:
            text: the grammar.
            any_spelling: whether all tokens are in a mask that spell what may follow; else the
                model's own spelling is alone in it where only one text may follow.
        """
        options = '%llguidance {"no_forcing": true}\n' if any_spelling else ""
        return cls(LLMatcher.grammar_from_lark(options + text))

    @classmethod
    def regex(cls, text: str) -> "Grammar":
        """A regular expression that the whole answer matches."""
        return cls(LLMatcher.grammar_from_regex(text))


@dataclass(frozen=True, slots=True)
class GrammarLimits:
    """What grammars of strangers may cost.

    Attributes:
        source_bytes: largest grammar.
        seconds: most that compiling all grammars of one request may take.
        remembered: compiled grammars that are kept.
    """

    source_bytes: int = 128 * 2**10
    seconds: float = 1.0
    remembered: int = 128


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
        self._remembered: OrderedDict[Grammar, CompiledGrammar] = OrderedDict()
        self._lock = threading.Lock()

    def soon(self, job: "Callable[[Compilation], T]") -> "Future[T]":
        """Do a request's job that compiles grammars, on a thread for it."""
        return self._pool.submit(lambda: job(self.begin()))

    def begin(self) -> "Compilation":
        """The grammars of one more request."""
        return Compilation(self)

    def compile(self, grammar: Grammar, allowance: Allowance) -> CompiledGrammar:
        """A constraint that holds answers to the grammar.

        One that is remembered has no trial; it is compiled anew when it has served for long.

        Args:
            grammar: of at most `limits.source_bytes`.
            allowance: what the trial may take.

        Raises:
            GrammarError: the grammar is refused, or too large.
        """
        check_size(grammar.source, self.limits.source_bytes)
        known = self._recall(grammar)
        if known is not None and known.ledger.overdrawn:
            raise GrammarError(TOO_COSTLY)
        if known is not None and not known.ledger.worn:
            return known
        vocabulary, tokenizer = self._built.result()
        if known is None:
            self._try(grammar, vocabulary, allowance)
        compiled = CompiledGrammar(compile_grammar(tokenizer, grammar.source))
        self._remember(grammar, compiled)
        return compiled

    def _try(self, grammar: Grammar, vocabulary: Vocabulary, allowance: Allowance) -> None:
        trial = self._trials.get() or Trial(vocabulary)
        try:
            trial.run(grammar.source, allowance)
        finally:
            self._trials.put(trial)

    def _recall(self, grammar: Grammar) -> CompiledGrammar | None:
        with self._lock:
            if grammar in self._remembered:
                self._remembered.move_to_end(grammar)
            return self._remembered.get(grammar)

    def _remember(self, grammar: Grammar, compiled: CompiledGrammar) -> None:
        with self._lock:
            self._remembered[grammar] = compiled
            while len(self._remembered) > self.limits.remembered:
                self._remembered.popitem(last=False)

    def _build(self, size: int, end_ids: frozenset[int]) -> tuple[Vocabulary, LLTokenizer]:
        if not end_ids:
            raise GrammarError("this model has no token that could end an answer")
        vocabulary = vocabulary_of(self._tokenizer, size, end_ids)
        return vocabulary, make_tokenizer(vocabulary, self._tokenizer.encode)


class Compilation:
    """The grammars of one request, which together may take as long as the limit says.

    Attributes:
        limits: the compiler's.
    """

    def __init__(self, compiler: GrammarCompiler) -> None:
        self.limits = compiler.limits
        self._compiler = compiler
        self._allowance = Allowance(compiler.limits.seconds)

    def compile(self, grammar: Grammar) -> CompiledGrammar:
        """A constraint that holds answers to the grammar. Takes as long as there is time left.

        Raises:
            GrammarError: the grammar is refused, or too large.
        """
        return self._compiler.compile(grammar, self._allowance)


def check_size(text: str, most: int) -> int:
    """Refuse a grammar, or what is to become one, for its size alone, or where it is no text.

    Returns:
        its bytes.

    Raises:
        GrammarError: it has more than `most` bytes, or a lone surrogate.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise GrammarError("it has a lone surrogate, which no answer can have") from error
    if size > most:
        raise GrammarError(
            f"it has {size:,} bytes and at most {most:,} are allowed; make it smaller"
        )
    return size


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
