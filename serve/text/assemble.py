"""One choice's way from token events to text: bytes, characters, stop strings, deltas.

Knows nothing of HTTP or of JSON. Text and the events it came from travel together, so that
whatever an event carries (its id, a log-probability) is released, held back and dropped with
its text.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from model.tokenizer import Tokenizer
from serve.text.detokenize import CharacterDecoder
from serve.text.stops import StopFinder

Ending = Literal["stop", "length"]


class Sampled(Protocol):
    """What an event must tell: the sampled id, if any, and how the choice ended, if it did."""

    @property
    def token(self) -> int | None:
        """The id, or None where the choice ended on an end-of-turn token."""
        ...

    @property
    def finish_reason(self) -> Ending | None:
        """Set on a choice's last event and only there."""
        ...


E = TypeVar("E", bound=Sampled)


@dataclass(frozen=True, slots=True)
class Delta(Generic[E]):
    """A piece of a choice's answer.

    Attributes:
        text: whole characters; may be empty.
        events: the sampled tokens whose text is complete with this delta, in order. A token
            whose text is spread over several deltas comes with the last of them.
        finish_reason: set on the choice's last delta and only there.
    """

    text: str
    events: tuple[E, ...]
    finish_reason: Ending | None = None


class Assembler(Generic[E]):
    """The chain of incremental transformers of one choice.

    Every event is remembered with the characters `[start, end)` of the text it belongs to:

        text     H  e  l  l  o  é
        tokens   [0,2)  [2,5)  [5,6) first byte of é
                               [5,6) second byte of é

    and released when the text up to `end` is. When a stop string begins at character `s`, the
    events that begin there or later and have text lie inside it, or beyond, and are dropped,
    and so are those without text after `s`. An event that begins before `s` is kept, even if
    its own text is cut there.

    Attributes:
        tokens_kept: how many events have been released: the choice's completion tokens.
        finish_reason: how the choice ended; None while it runs.
    """

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str]) -> None:
        self.tokens_kept = 0
        self.finish_reason: Ending | None = None
        self._tokenizer = tokenizer
        self._decoder = CharacterDecoder()
        self._finder = StopFinder(stops)
        self._waiting: deque[tuple[int, int, E]] = deque()
        self._decoded = 0
        self._released = 0

    def feed(self, event: E) -> list[Delta[E]]:
        """What `event` makes certain. Events after the choice's end are ignored."""
        if self.finish_reason is not None:
            return []
        text = "" if event.token is None else self._take(event.token, event)
        if self._finder.found:
            return [self._finish(text, "stop")]
        if event.finish_reason is not None:
            return [self._end(text, event.finish_reason)]
        self._released += len(text)
        events = self._complete(self._released)
        return [Delta(text, events)] if text or events else []

    def flush(self, finish_reason: Ending) -> list[Delta[E]]:
        """End a choice whose last event carried no reason: release all that is held back."""
        return [] if self.finish_reason is not None else [self._end("", finish_reason)]

    def _take(self, token: int, event: E) -> str:
        start = self._decoded
        characters = self._decoder.feed(self._tokenizer.token_bytes(token) or b"")
        self._decoded += len(characters)
        self._waiting.append((start, self._decoded + self._decoder.pending, event))
        return self._finder.feed(characters)

    def _end(self, text: str, reason: Ending) -> Delta[E]:
        text += self._finder.feed(self._decoder.flush())
        if self._finder.found:
            return self._finish(text, "stop")
        return self._finish(text + self._finder.flush(), reason)

    def _finish(self, text: str, reason: Ending) -> Delta[E]:
        self._released += len(text)
        if self._finder.found:
            border = self._released
            kept = [event for start, end, event in self._waiting if start < border or end <= border]
        else:
            kept = [event for _, _, event in self._waiting]
        self._waiting.clear()
        self.tokens_kept += len(kept)
        self.finish_reason = reason
        return Delta(text, tuple(kept), reason)

    def _complete(self, released: int) -> tuple[E, ...]:
        events: list[E] = []
        while self._waiting and self._waiting[0][1] <= released:
            events.append(self._waiting.popleft()[2])
        self.tokens_kept += len(events)
        return tuple(events)
