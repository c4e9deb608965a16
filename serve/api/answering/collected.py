"""A completion collected as it comes: what a stream tells in pieces, and a plain answer at once.

Knows nothing of when it is told.
"""

from collections.abc import Sequence

from serve.api.answering.choices import ChoiceDelta
from serve.api.answering.completion import EndedChoice, completion
from serve.api.answering.run import Run


class Collected:
    """The choices of one run.

    Args:
        run: that they are of.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._texts = [list[str]() for _ in range(run.wire.choices)]
        self._thoughts = [list[str]() for _ in self._texts]
        # Written as they come, so that no answer, however long, holds up the others at its end.
        self._entries = [list[str]() for _ in self._texts]
        self._reasons: dict[int, str] = {}

    def add(self, delta: ChoiceDelta, entries: Sequence[str] | None) -> None:
        """More of a choice, whose calls the run has taken already."""
        self._texts[delta.index].append(delta.text)
        if self._run.shows_thoughts:
            self._thoughts[delta.index].append(delta.thoughts)
        self._entries[delta.index] += entries or ()
        if (reason := self._run.reason(delta)) is not None:
            self._reasons[delta.index] = reason

    def completion(self) -> str:
        """The completion object. All choices have ended."""
        run = self._run
        asked = run.wire.alternatives is not None
        choices = [
            EndedChoice(
                "".join(text) or (None if run.may_call else ""),
                self._entries[index] if asked else None,
                self._reasons[index],
                run.calls[index].members,
                "".join(self._thoughts[index]),
            )
            for index, text in enumerate(self._texts)
        ]
        return completion(run.head, choices, run.usage)
