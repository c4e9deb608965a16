"""A completion collected as it comes: what a stream tells in pieces, and a plain answer at once.

Knows nothing of when it is told.
"""

from collections.abc import Sequence

from serve.api.answering.choices import ChoiceDelta
from serve.api.answering.completion import EndedChoice, completion
from serve.api.answering.run import Run
from serve.api.answering.spoken import Sound


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
        self._refused: set[int] = set()
        self._blocked: set[int] = set()

    def add(self, delta: ChoiceDelta, entries: Sequence[str] | None) -> None:
        """More of a choice, whose calls the run has taken already."""
        self._texts[delta.index].append(delta.text)
        if self._run.shows_thoughts:
            self._thoughts[delta.index].append(delta.thoughts)
        self._entries[delta.index] += entries or ()
        if (reason := self._run.reason(delta)) is not None:
            self._reasons[delta.index] = reason
        if delta.refused:
            self._refused.add(delta.index)
        # What a stream has told, it has told.
        if delta.verdict is not None and delta.verdict.blocks and not self._run.wire.stream:
            self._blocked.add(delta.index)

    async def hear(self, sound: Sound) -> None:
        """More of a choice's sound, which nobody else takes."""
        if self._run.spoken is not None:
            await self._run.spoken.take(sound)

    async def completion(self) -> str:
        """The completion object. All choices have ended."""
        choices = [await self._choice(index) for index in range(len(self._texts))]
        return completion(self._run.head, choices, self._run.usage)

    async def _choice(self, index: int) -> EndedChoice:
        run, reason = self._run, self._reasons[index]
        asked = run.wire.alternatives is not None
        thoughts = "".join(self._thoughts[index])
        spoken = run.spoken
        if index in self._blocked:
            audio = "" if spoken is None else "null"
            return EndedChoice(None, None, [] if asked else None, reason, audio=audio)
        text = "".join(self._texts[index])
        refused = index in self._refused
        content = None if refused else text or (None if run.may_lack_content else "")
        if spoken is not None:
            content = None
        return EndedChoice(
            content,
            (text or None) if refused else None,
            self._entries[index] if asked else None,
            reason,
            run.calls[index].members,
            thoughts,
            run.annotations(index),
            "" if spoken is None else await spoken.audio(index),
        )
