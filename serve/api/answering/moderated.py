"""Holds answers back until they have been judged elsewhere, a segment at a time.

A segment is told when it has been judged together with what was told before it, so that nothing
passes because it is cut there. Calls are held back with the text before them, and not judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from serve.api.answering.choices import Answer, ChoiceDelta, merged
from serve.api.wire.moderation import not_judged
from serve.filter.moderation import CATEGORY, Moderation, ModerationError
from serve.text.verdict import Verdict

# Characters that a stream waits for, and that go along with them to be judged.
SEGMENT = 400
CONTEXT = 800


@dataclass(slots=True, eq=False)
class _Segment:
    """What is held back of a choice, and what has been told before."""

    held: list[ChoiceDelta] = field(default_factory=list[ChoiceDelta])
    text: str = ""
    before: str = ""

    def add(self, delta: ChoiceDelta, told: str) -> None:
        self.held.append(delta)
        self.text += told

    def take(self) -> ChoiceDelta:
        delta = merged(self.held[0].index, self.held)
        self.before = (self.before + self.text)[-CONTEXT:]
        self.held, self.text = [], ""
        return delta


class Moderated:
    """The choices of one answer.

    Args:
        answer: that they are of; choices that are flagged end there.
        moderation: judges.
        choices: how many there are.
        retry_after: seconds, for clients whose answer could not be judged.
        shows_thoughts: whether clients are told what the model thought.
    """

    def __init__(
        self,
        answer: Answer,
        moderation: Moderation,
        choices: int,
        retry_after: int,
        *,
        shows_thoughts: bool,
    ) -> None:
        self._answer = answer
        self._moderation = moderation
        self._segments = [_Segment() for _ in range(choices)]
        self._retry_after = retry_after
        self._shows_thoughts = shows_thoughts

    async def passed(self, deltas: Sequence[ChoiceDelta]) -> list[ChoiceDelta]:
        """What may be told now.

        Raises:
            ApiError: 503, nobody judged it.
        """
        due: list[_Segment] = []
        for delta in deltas:
            segment = self._segments[delta.index]
            thoughts = delta.thoughts if self._shows_thoughts else ""
            segment.add(delta, thoughts + delta.text)
            if not segment.text or len(segment.text) >= SEGMENT or delta.finish_reason is not None:
                due.append(segment)
        asked = [each for each in due if each.text]
        try:
            flags = await self._moderation.flagged([each.before + each.text for each in asked])
        except ModerationError as error:
            raise not_judged(self._retry_after) from error
        flagged = [each for each, flag in zip(asked, flags, strict=True) if flag]
        return [self._ended(each) if each in flagged else each.take() for each in due]

    def _ended(self, segment: _Segment) -> ChoiceDelta:
        index = segment.held[0].index
        self._answer.end(index)
        verdict = Verdict(CATEGORY, blocks=False)
        return ChoiceDelta(index, "", (), "content_filter", verdict=verdict)
