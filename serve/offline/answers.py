"""What a model in this process answers, and how it is gathered from the engine's events.

Knows nothing of threads, nor of how prompts came to be.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from model.tokenizer import Tokenizer
from serve.engine.types import TokenEvent
from serve.text.assemble import Assembler, Finish
from serve.text.calls.events import Parser


@dataclass(frozen=True, slots=True)
class Token:
    """A token of the vocabulary at a place in an answer.

    Attributes:
        id: its number in the vocabulary.
        text: for display: U+FFFD stands for a part of a character, and a control token is
            spelled out.
        bytes: exactly what it adds to the answer; None for a control token.
        logprob: its log-probability in the model's own distribution, before every sampling
            rule, exact however unlikely it is; None unless `SamplingParams.logprobs` asks.
        alternatives: for a sampled token with a log-probability, the 20 likeliest tokens at
            its place, likeliest first; else empty.
    """

    id: int
    text: str
    bytes: bytes | None
    logprob: float | None = None
    alternatives: tuple["Token", ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the answers to a prompt.

    Attributes:
        text: the answer, without the stop string that ended it.
        tokens: what was sampled, without thoughts and the markers around them, without the
            end-of-turn token and without what lies inside or after the stop string.
        finish_reason: `stop` for an end of turn or a stop string, `length` for the bound.
        thoughts: what the model thought before it answered a conversation, without white space
            around it.
    """

    text: str
    tokens: tuple[Token, ...]
    finish_reason: Finish
    thoughts: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """All that one prompt got.

    Attributes:
        prompt: its token ids.
        choices: `n` of them; choice i drew with a key of (seed, i).
    """

    prompt: tuple[int, ...]
    choices: tuple[Choice, ...]


class Collector:
    """Gathers one choice.

    Args:
        tokenizer: the model's.
        stops: the stop strings.
        parser: tells thoughts; without one, all is text.
    """

    def __init__(
        self, tokenizer: Tokenizer, stops: Sequence[str], parser: Parser | None = None
    ) -> None:
        self._tokenizer = tokenizer
        markers = {token: spelling for spelling, token in tokenizer.controls.items()}
        self._assembler: Assembler[TokenEvent] = Assembler(tokenizer, stops, parser, markers)
        self._text = self._thoughts = ""
        self._events: list[TokenEvent] = []

    def feed(self, event: TokenEvent) -> bool:
        """Take an event; whether the choice has ended with it. Later ones change nothing."""
        if self._assembler.finish_reason is not None:
            return False
        for delta in self._assembler.feed(event):
            self._text += delta.text
            self._thoughts += delta.thoughts
            self._events += delta.events
        return self._assembler.finish_reason is not None

    def choice(self) -> Choice:
        """The choice.

        Raises:
            RuntimeError: it has not ended.
        """
        reason = self._assembler.finish_reason
        if reason is None:
            raise RuntimeError("the choice has not ended; feed its remaining events first")
        tokens = tuple(
            self._sampled(event, event.token) for event in self._events if event.token is not None
        )
        return Choice(self._text, tokens, reason, self._thoughts)

    def _sampled(self, event: TokenEvent, token: int) -> Token:
        read = event.logprobs
        if read is None:
            return self._token(token)
        pairs = zip(read.top_ids, read.top_logprobs, strict=True)
        alternatives = tuple(self._token(other, value) for other, value in pairs)
        return self._token(token, read.sampled, alternatives)

    def _token(
        self, token: int, logprob: float | None = None, alternatives: tuple[Token, ...] = ()
    ) -> Token:
        tokenizer = self._tokenizer
        text, exact = tokenizer.token_text(token), tokenizer.token_bytes(token)
        return Token(token, text, exact, logprob, alternatives)
