"""Refusals: answers that say in a sentence why they are not what was asked for.

One begins with a marker that no JSON begins with, and so is known from its first words on.
Knows nothing of why a model refuses.
"""

from collections.abc import Sequence

from serve.text.calls.events import Content, Event, Parser, Refused

MARKER = "Refusal: "
LONGEST_REFUSAL = 400
# What the model is told, after the schema that its answer must follow.
INSTRUCTIONS = (
    f"If you must not answer, write '{MARKER}' and one sentence that says why, and nothing else."
)
# The rule body of a refusal: one line that says something.
RULE = rf'"{MARKER}" /[^\x00-\x20\x7F][^\x00-\x1F\x7F]{{0,{LONGEST_REFUSAL - 1}}}/'


class RefusalParser:
    """Tells refusals from other answers, which it passes on; see `serve.text.calls.events.Parser`.

    Args:
        inner: reads answers that are no refusals; without it, all of one is content.
    """

    def __init__(self, inner: Parser | None = None) -> None:
        self._inner = inner
        self._held = ""
        self._decided = self._refuses = False
        self._fed = 0

    def feed(self, text: str) -> Sequence[Event]:
        """What `text` makes certain."""
        if self._decided:
            return self._passed(text)
        self._held += text
        if len(self._held) < len(MARKER) and MARKER.startswith(self._held):
            return []
        return self._decide(refuses=self._held.startswith(MARKER))

    def feed_control(self, spelling: str, text: str = "") -> Sequence[Event]:
        """What a control token between the characters makes certain."""
        before = self._decide(refuses=False)
        if self._inner is not None and not self._refuses:
            self._fed += len(text)
            return [*before, *self._inner.feed_control(spelling, text)]
        return [*before, *self._passed(text)]

    def flush(self, *, turn_ended: bool) -> Sequence[Event]:
        """The end of the answer: one that ends amid the marker is none of a refusal."""
        before = self._decide(refuses=False)
        if self._inner is None or self._refuses:
            return before
        return [*before, *self._inner.flush(turn_ended=turn_ended)]

    def _decide(self, *, refuses: bool) -> Sequence[Event]:
        if self._decided:
            return []
        self._decided, self._refuses = True, refuses
        held, self._held = self._held, ""
        if not refuses:
            return self._passed(held)
        self._fed = len(MARKER)
        return [Refused(), *self._passed(held[len(MARKER) :])]

    def _passed(self, text: str) -> Sequence[Event]:
        start = self._fed
        self._fed += len(text)
        if not text:
            return []
        if self._inner is not None and not self._refuses:
            return self._inner.feed(text)
        return [Content(text, start)]
