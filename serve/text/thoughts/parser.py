"""An answer to thoughts and what comes after them, which another parser reads.

Thoughts are what the model says between markers before all else. Where they were not opened when
it began, only white space may come before the opening one: later on it is text like any other.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Literal

from serve.text.calls.events import Content, Event, Parser, Thought
from serve.text.thoughts.format import WHITE_SPACE, Beginning, ThoughtFormat

_State = Beginning | Literal["after"]


class ThoughtParser:
    """One answer's parser.

    Args:
        format_: how thoughts are marked.
        controls: spellings that arrive through `feed_control` and never through `feed`.
        beginning: where the answer stands when the model begins.
        parser: reads what comes after the thoughts; without one, all of that is content.
    """

    def __init__(
        self,
        format_: ThoughtFormat,
        controls: Collection[str],
        beginning: Beginning,
        parser: Parser | None = None,
    ) -> None:
        self._format = format_
        self._opens_in_words = format_.opening not in controls
        self._closes_in_words = format_.closing not in controls
        self._state: _State = beginning
        self._parser = parser or AllContent()
        self._fed = 0
        # Of what has been fed the end that is not certain yet.
        self._held = ""
        # How much had been fed before what the other parser reads; None until it reads.
        self._before: int | None = None

    @property
    def thinking(self) -> bool:
        """Whether what comes next is thought."""
        return self._state == "thinking"

    @property
    def verbatim(self) -> bool:
        """Whether all that comes next is content."""
        return self._state == "answering" and self._parser.verbatim

    def feed(self, text: str) -> list[Event]:
        """What `text` makes certain."""
        self._fed += len(text)
        self._held += text
        if self._state == "undecided":
            self._decide()
        events = self._think_on() if self._state == "thinking" else []
        if self._state == "after":
            self._held = self._held.lstrip("\n")
        if self._state == "answering" or (self._state == "after" and self._held):
            events += self._answer()
        return events

    def feed_control(self, spelling: str, text: str = "") -> list[Event]:
        """What a control token between the characters makes certain."""
        if self._state == "undecided" and spelling == self._format.opening:
            self._held, self._state = "", "thinking"
            events: list[Event] = []
        elif self._state == "thinking" and spelling == self._format.closing:
            self._state = "after"
            events = []
        elif self._state == "thinking":
            # A marker in characters has none amid it.
            events = self._think(self._held + text, self._fed - len(self._held))
            self._held = ""
        else:
            events = self._answer()
            events += self._placed(self._parser.feed_control(spelling, text))
        self._fed += len(text)
        return events

    def flush(self, *, turn_ended: bool) -> list[Event]:
        """The end of the answer.

        Args:
            turn_ended: whether the model ended its turn, rather than being cut off.
        """
        if self._state == "thinking":
            return self._think(self._held, self._fed - len(self._held))
        if self._held.strip(WHITE_SPACE) and not turn_ended:
            # Cut off where thoughts may be beginning: no text.
            self._held = ""
        return [*self._answer(), *self._placed(self._parser.flush(turn_ended=turn_ended))]

    def _decide(self) -> None:
        words, opening = self._held.lstrip(WHITE_SPACE), self._format.opening
        if self._opens_in_words and words.startswith(opening):
            self._held, self._state = words[len(opening) :], "thinking"
        elif words and not (self._opens_in_words and opening.startswith(words)):
            self._state = "answering"

    def _think_on(self) -> list[Event]:
        start, held, closing = self._fed - len(self._held), self._held, self._format.closing
        if not self._closes_in_words:
            self._held = ""
            return self._think(held, start)
        thought, found, after = held.partition(closing)
        if found:
            self._held, self._state = after, "after"
            return self._think(thought, start)
        border = len(held) - _begun(closing, held)
        self._held = held[border:]
        return self._think(held[:border], start)

    def _think(self, thought: str, start: int) -> list[Event]:
        return [Thought(thought, start)] if thought else []

    def _answer(self) -> list[Event]:
        """Pass on what is held back."""
        if self._before is None:
            self._before = self._fed - len(self._held)
        self._state = "answering"
        text, self._held = self._held, ""
        return self._placed(self._parser.feed(text)) if text else []

    def _placed(self, events: Sequence[Event]) -> list[Event]:
        """What the other parser tells, at its place in all of the answer."""
        before = self._before or 0
        return [
            replace(event, start=event.start + before) if isinstance(event, Content) else event
            for event in events
        ]


class AllContent:
    """The parser of an answer that holds nothing else."""

    thinking = False
    verbatim = True

    def __init__(self) -> None:
        self._fed = 0

    def feed(self, text: str) -> list[Event]:
        """What `text` makes certain."""
        start, self._fed = self._fed, self._fed + len(text)
        return [Content(text, start)] if text else []

    def feed_control(self, spelling: str, text: str = "") -> list[Event]:
        """What a control token reads is content."""
        del spelling
        return self.feed(text)

    def flush(self, *, turn_ended: bool) -> list[Event]:
        """Nothing is held back."""
        del turn_ended
        return []


def _begun(marker: str, text: str) -> int:
    """How many characters at the end of `text` the marker may have begun with."""
    longest = min(len(marker) - 1, len(text))
    return next((n for n in range(longest, 0, -1) if text.endswith(marker[:n])), 0)
