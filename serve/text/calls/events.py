"""What a parser makes of an answer. Knows no format."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

CallKind = Literal["function", "custom"]


@dataclass(frozen=True, slots=True)
class Content:
    """Text that the user is meant to read.

    Attributes:
        text: one character or more.
        start: where it begins, in characters of all the text that the parser has been fed. So
            whoever feeds it knows which tokens are content and which are a call's.
    """

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Thought:
    """Text that the model thinks before it answers.

    Attributes:
        text: one character or more.
        start: where it begins, as that of content.
    """

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A call whose name is known. Calls of an answer are numbered from 0."""

    index: int
    name: str
    kind: CallKind


@dataclass(frozen=True, slots=True)
class CallArguments:
    """More of a call's arguments: a piece of JSON text, or of a custom tool's input."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A call of which no more will come.

    Attributes:
        index: which one.
        complete: false where the answer was cut off inside it.
    """

    index: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """What follows of the content is a refusal."""


Event = Content | Thought | CallStarted | CallArguments | CallEnded | Refused


class Parser(Protocol):
    """An answer's way from characters to what it says, however it is cut into pieces."""

    @property
    def thinking(self) -> bool:
        """Whether what comes next is thought."""
        ...

    @property
    def verbatim(self) -> bool:
        """Whether all that comes next is content, tokens that read nothing among it."""
        ...

    def feed(self, text: str) -> Sequence[Event]:
        """What `text` makes certain."""
        ...

    def feed_control(self, spelling: str, text: str = "") -> Sequence[Event]:
        """What a control token between the characters makes certain.

        Args:
            spelling: of the token.
            text: what it reads where it belongs to no call, as `<think>` does in Qwen3; empty for
                a special token.
        """
        ...

    def flush(self, *, turn_ended: bool) -> Sequence[Event]:
        """The end of the answer.

        Args:
            turn_ended: whether the model ended its turn, rather than being cut off.
        """
        ...


class EventLog:
    """Collects events; what continues the event before is joined with it."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def add(self, event: Event) -> None:
        """Append one event."""
        last = self._events[-1] if self._events else None
        match last, event:
            case Content(text, start), Content(more, begin) if start + len(text) == begin:
                self._events[-1] = Content(text + more, start)
            case Thought(text, start), Thought(more, begin) if start + len(text) == begin:
                self._events[-1] = Thought(text + more, start)
            case CallArguments(index, text), CallArguments(other, more) if index == other:
                self._events[-1] = CallArguments(index, text + more)
            case _:
                self._events.append(event)

    def take(self) -> list[Event]:
        """The events since the last time."""
        events, self._events = self._events, []
        return events
