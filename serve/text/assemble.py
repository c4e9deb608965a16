"""One choice's way from token events to an answer.

Bytes, characters, thoughts and calls, stop strings, judge, deltas.

Knows nothing of HTTP or of JSON. Text and the events it came from travel together, so that
whatever an event carries (its id, a log-probability) is released, held back and dropped with
its text.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from model.tokenizer import Tokenizer
from serve.text.calls.events import (
    CallArguments,
    CallEnded,
    CallStarted,
    Content,
    Event,
    Parser,
    Refused,
    Thought,
)
from serve.text.detokenize import CharacterDecoder
from serve.text.stops import StopFinder
from serve.text.verdict import Judge, Verdict

Ending = Literal["stop", "length"]
Finish = Literal["stop", "length", "content_filter"]
CallEvent = CallStarted | CallArguments | CallEnded


class Sampled(Protocol):
    """What an event must tell: the sampled id, if any, and how the choice ended, if it did.

    And whether the request predicted it.
    """

    @property
    def token(self) -> int | None:
        """The id, or None where the choice ended on an end-of-turn token."""
        ...

    @property
    def finish_reason(self) -> Ending | None:
        """Set on a choice's last event and only there."""
        ...

    @property
    def predicted(self) -> bool:
        """Whether the id was drafted from the request's prediction."""
        ...


E = TypeVar("E", bound=Sampled)


@dataclass(frozen=True, slots=True)
class Delta(Generic[E]):
    """A piece of a choice's answer.

    Attributes:
        text: whole characters of its content, or of its refusal; may be empty.
        events: the sampled tokens whose content is complete with this delta, in order. A token
            whose content is spread over several deltas comes with the last of them; one that
            has none, such as a call's or a thought's, comes with none.
        finish_reason: set on the choice's last delta and only there.
        calls: what is new of calls of tools, after the text.
        refused: the text is of a refusal.
        verdict: with the last delta, what has ended the choice for what it would have said.
        thoughts: what the model thought, before the text; without white space around all of it.
    """

    text: str
    events: tuple[E, ...]
    finish_reason: Finish | None = None
    calls: tuple[CallEvent, ...] = ()
    refused: bool = False
    verdict: Verdict | None = None
    thoughts: str = ""


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[E]):
    """An event and the characters `[start, end)` of the answer that it belongs to.

    Attributes:
        thinking: whether it came amid thoughts.
        verbatim: whether it is content even where it reads nothing.
    """

    start: int
    end: int
    event: E
    thinking: bool
    verbatim: bool


class Assembler(Generic[E]):
    """The chain of incremental transformers of one choice.

    Every event is remembered with the characters `[start, end)` of the answer it belongs to:

        answer   H  e  l  l  o  é
        tokens   [0,2)  [2,5)  [5,6) first byte of é
                               [5,6) second byte of é

    and released when the content up to `end` is. When a stop string begins at character `s`,
    the events that begin there or later and have text lie inside it, or beyond, and are
    dropped, and so are those without text after `s`. An event that begins before `s` is kept,
    even if its own text is cut there. Where the stop string is included, its events are too.

    With a parser, content is what it says; stop strings are looked for in content alone, and
    no longer once a call has begun. What is left of the content, or of a refusal, the judge passes
    on or ends, as a stop string does; then an event is kept only if all of its text is. Thoughts
    have a judge of their own, which ends the choice as well; their events are released as they
    come.

    Args:
        tokenizer: gives the tokens' bytes.
        stops: the stop strings.
        parser: tells content from thoughts and calls; without one, all is content.
        markers: id → spelling of the control tokens that the parser is told of.
        stop_included: the stop string that ends the content is part of it.
        judge: what content may say; anything, without one.
        thought_judge: what thoughts may say; anything, without one.

    Attributes:
        tokens_kept: how many events have been released: the choice's completion tokens.
        predicted_kept: how many of those were drafted from the request's prediction.
        reasoning_kept: how many of those are of thoughts, the markers around them not counted.
        finish_reason: how the choice ended; None while it runs.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stops: Sequence[str],
        parser: Parser | None = None,
        markers: Mapping[int, str] | None = None,
        *,
        stop_included: bool = False,
        judge: Judge | None = None,
        thought_judge: Judge | None = None,
    ) -> None:
        self.tokens_kept = self.predicted_kept = self.reasoning_kept = 0
        self.finish_reason: Finish | None = None
        self._tokenizer = tokenizer
        self._parser = parser
        self._markers = {} if parser is None or markers is None else markers
        self._decoder = CharacterDecoder()
        self._finder = StopFinder(stops, included=stop_included)
        self._waiting: deque[_Waiting[E]] = deque()
        self._decoded = 0
        self._content, self._thoughts = _Ranges(), _Ranges()
        self._judge = judge
        self._calling = self._refused = False
        self._told_thoughts = _ToldThoughts(thought_judge)

    def feed(self, event: E) -> list[Delta[E]]:
        """What `event` makes certain. Events after the choice's end are ignored."""
        if self.finish_reason is not None:
            return []
        read = [] if event.token is None else self._take(event.token, event)
        text, calls = self._pass_on(read)
        if self._cut is not None:
            return [self._finish(text, calls, self._cut)]
        if event.finish_reason is not None:
            return [self._end(text, calls, event.finish_reason)]
        self._content.release(len(text))
        events, thoughts = self._complete(), self._told_thoughts.take()
        if not (text or events or calls or thoughts):
            return []
        return [Delta(text, events, calls=calls, refused=self._refused, thoughts=thoughts)]

    def flush(self, finish_reason: Ending) -> list[Delta[E]]:
        """End a choice whose last event carried no reason: release all that is held back."""
        return [] if self.finish_reason is not None else [self._end("", (), finish_reason)]

    def _take(self, token: int, event: E) -> Sequence[Event]:
        start, thinking = self._decoded, self._thinking
        marker = self._markers.get(token)
        if marker is None:
            read = self._read(self._decoder.feed(self._tokenizer.token_bytes(token) or b""))
        else:
            read = self._read(self._decoder.flush())
            start = self._decoded
            assert self._parser is not None  # noqa: S101  (without one there are no markers)
            text = (self._tokenizer.token_bytes(token) or b"").decode()
            self._decoded += len(text)
            read = [*read, *self._parser.feed_control(marker, text)]
        end = self._decoded + self._decoder.pending
        verbatim = self._parser is None or self._parser.verbatim
        waiting = _Waiting(start, end, event, thinking and self._thinking, verbatim)
        self._waiting.append(waiting)
        return read

    def _read(self, characters: str) -> Sequence[Event]:
        start = self._decoded
        self._decoded += len(characters)
        if self._parser is not None:
            return self._parser.feed(characters)
        return [Content(characters, start)] if characters else []

    def _pass_on(self, read: Sequence[Event]) -> tuple[str, tuple[CallEvent, ...]]:
        """The content that is certain now, and what is new of calls, which comes after it."""
        text = ""
        calls: list[CallEvent] = []
        for piece in read:
            if not isinstance(piece, Thought):
                self._told_thoughts.flush()
            if self._cut is not None:
                break
            if isinstance(piece, Content):
                self._content.add(piece.start, len(piece.text))
                kept = piece.text if self._calling else self._finder.feed(piece.text)
                text += self._judged(kept)
            elif isinstance(piece, Thought):
                self._thoughts.add(piece.start, len(piece.text))
                self._thoughts.release(len(piece.text))
                self._told_thoughts.feed(piece.text)
            elif isinstance(piece, Refused):
                self._refused = True
            else:
                text += self._judged(self._finder.flush())
                if self._judge is not None:
                    text += self._judge.pause()
                if self._cut is None:
                    calls.append(piece)
                self._calling = True
        return text, tuple(calls)

    def _judged(self, text: str) -> str:
        return text if self._judge is None else self._judge.feed(text)

    @property
    def _verdict(self) -> Verdict | None:
        content = None if self._judge is None else self._judge.verdict
        return self._told_thoughts.verdict or content

    @property
    def _cut(self) -> Finish | None:
        """What has ended the text before its own end."""
        if self._verdict is not None:
            return "content_filter"
        return "stop" if self._finder.found else None

    @property
    def _thinking(self) -> bool:
        return self._parser is not None and self._parser.thinking

    def _end(self, text: str, calls: tuple[CallEvent, ...], reason: Ending) -> Delta[E]:
        read = self._read(self._decoder.flush())
        if self._parser is not None:
            read = [*read, *self._parser.flush(turn_ended=reason == "stop")]
        more, later = self._pass_on(read)
        if self._cut is None:
            more += self._judged(self._finder.flush())
        return self._finish(text + more, (*calls, *later), reason)

    def _finish(self, text: str, calls: tuple[CallEvent, ...], reason: Finish) -> Delta[E]:
        self._told_thoughts.flush()
        if self._judge is not None:
            text += self._judge.flush()
        self._content.release(len(text))
        kept = list(self._waiting)
        border = self._content.next
        if self._verdict is not None:
            # Nothing tells more than the text, not even a token's bytes or log-probability.
            kept = [each for each in kept if each.end <= border]
        elif self._finder.found:
            kept = [each for each in kept if each.start < border or each.end <= border]
        self._waiting.clear()
        self.finish_reason = self._cut or reason
        return Delta(
            text,
            self._released(kept),
            self.finish_reason,
            calls,
            refused=self._refused,
            verdict=self._verdict,
            thoughts=self._told_thoughts.take(),
        )

    def _complete(self) -> tuple[E, ...]:
        done: list[_Waiting[E]] = []
        certain = max(self._content.released, self._thoughts.released)
        # A call's own are no content; but what is held back of the content keeps all after it.
        freely = self._calling and not (self._judge is not None and self._judge.holds)
        while self._waiting and (freely or self._waiting[0].end <= certain):
            done.append(self._waiting.popleft())
        return self._released(done)

    def _released(self, events: Sequence[_Waiting[E]]) -> tuple[E, ...]:
        """Count events, and leave out those that have no part in the content."""
        self.tokens_kept += len(events)
        self.predicted_kept += sum(each.event.predicted for each in events)
        self.reasoning_kept += sum(
            self._thoughts.has(each.start, each.end) or (each.thinking and each.start == each.end)
            for each in events
        )
        return tuple(
            each.event
            for each in events
            if each.verbatim or self._content.has(each.start, each.end)
        )


class _Ranges:
    """Which characters of an answer are of one kind, and how many of those have been released."""

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []
        self._count = 0

    def add(self, start: int, length: int) -> None:
        """The `length` characters from `start` on are of the kind."""
        first = start
        if self._ranges and self._ranges[-1][1] == start:
            first = self._ranges.pop()[0]
        self._ranges.append((first, start + length))

    def release(self, count: int) -> None:
        """The next `count` characters of the kind are released."""
        self._count += count

    @property
    def released(self) -> int:
        """Where the last released character ends."""
        left, position = self._count, 0
        for start, end in self._ranges:
            if left:
                position = start + min(left, end - start)
                left -= position - start
        return position

    @property
    def next(self) -> int:
        """Where the first character begins that is not released."""
        left = self._count
        for start, end in self._ranges:
            if left < end - start:
                return start + left
            left -= end - start
        return self.released

    def has(self, start: int, end: int) -> bool:
        """Whether one of the characters `[start, end)` is of the kind."""
        return any(first < end and start < last for first, last in self._ranges)


class _ToldThoughts:
    """What there is to tell of thoughts: as far as their judge passes them on.

    Without white space around all of it: what may be the last is held back.
    """

    def __init__(self, judge: Judge | None) -> None:
        self._judge = judge
        self._begun = False
        self._blank = self._new = ""

    @property
    def verdict(self) -> Verdict | None:
        """What has ended them, if anything."""
        return None if self._judge is None else self._judge.verdict

    def feed(self, text: str) -> None:
        """More of them."""
        text = self._blank + text if self._begun else text.lstrip()
        shown = text.rstrip()
        self._begun = self._begun or bool(shown)
        self._blank = text[len(shown) :] if self._begun else ""
        self._new += shown if self._judge is None else self._judge.feed(shown)

    def flush(self) -> None:
        """Something else follows."""
        if self._judge is not None:
            self._new += self._judge.flush()

    def take(self) -> str:
        """What is new."""
        new, self._new = self._new, ""
        return new
