"""Refusals: answers that say in a sentence why they are not what was asked for.

One begins with a marker that no JSON begins with, and so is known from its first words on.
Knows nothing of why a model refuses.
"""

from collections.abc import Sequence

from serve.text.calls.events import Content, Event, Parser, Refused, Thought

MARKER = "Refusal: "
LONGEST_REFUSAL = 400
# What the model is told, after the schema that its answer must follow.
INSTRUCTIONS = (
    f"If you must not answer, write '{MARKER}' and one sentence that says why, and nothing else."
)
# The rule body of a refusal: one line that says something.
RULE = rf'"{MARKER}" /[^\x00-\x20\x7F][^\x00-\x1F\x7F]{{0,{LONGEST_REFUSAL - 1}}}/'


class RefusalParser:
    """Tells by the first words of an answer whether it is a refusal.

    Args:
        inner: reads the answer; what it tells of thoughts and calls is passed on.
    """

    def __init__(self, inner: Parser) -> None:
        self._inner = inner
        self._held: list[Content] = []
        self._decided = self._answers = False

    @property
    def thinking(self) -> bool:
        """Whether what comes next is thought."""
        return self._inner.thinking

    @property
    def verbatim(self) -> bool:
        """Whether what comes next is content as it stands: never while it may be the marker."""
        return self._answers and self._inner.verbatim

    def feed(self, text: str) -> Sequence[Event]:
        """What `text` makes certain."""
        return self._read(self._inner.feed(text))

    def feed_control(self, spelling: str, text: str = "") -> Sequence[Event]:
        """What a control token between the characters makes certain."""
        return self._read(self._inner.feed_control(spelling, text))

    def flush(self, *, turn_ended: bool) -> Sequence[Event]:
        """The end of the answer: one that ends amid the marker is none of a refusal."""
        return [*self._read(self._inner.flush(turn_ended=turn_ended)), *self._decide(None)]

    def _read(self, events: Sequence[Event]) -> Sequence[Event]:
        read: list[Event] = []
        for event in events:
            if self._decided or isinstance(event, Thought):
                read.append(event)
            elif isinstance(event, Content):
                self._held.append(event)
                said = "".join(piece.text for piece in self._held)
                if len(said) >= len(MARKER) or not MARKER.startswith(said):
                    read += self._decide(said)
            else:
                read += [*self._decide(None), event]
        return read

    def _decide(self, said: str | None) -> Sequence[Event]:
        """What is held back, without the marker where it begins with that."""
        held, self._held = self._held, []
        decided, self._decided = self._decided, True
        if decided or said is None or not said.startswith(MARKER):
            self._answers = self._answers or not decided
            return held
        rest, left = list[Event](), len(MARKER)
        for piece in held:
            if text := piece.text[left:]:
                rest.append(Content(text, piece.start + left))
            left = max(0, left - len(piece.text))
        return [Refused(), *rest]
