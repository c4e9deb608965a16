"""Gets what requests want before their prompts can be made, from whoever has it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from serve.api.asking.media import AskedMedia, Shown
from serve.api.asking.searcher import Searcher
from serve.api.asking.sound_gatherer import Heard, SoundGatherer
from serve.api.asking.speech import unknown_answer
from serve.api.asking.wanted import AskedAnswer, Gathered, Wanted
from serve.api.wire.audio import AudioPart

if TYPE_CHECKING:
    # It needs an extra.
    from serve.api.asking.media_gatherer import MediaGatherer


class SpokenAnswers(Protocol):
    """Answers that were spoken."""

    async def transcript(self, owner: str, answer_id: str) -> str | None:
        """What one of an owner's answers said; None where there is none, or none any more.

        Raises:
            ApiError: 503; it cannot be found out.
        """
        ...


@dataclass(frozen=True, slots=True)
class Gatherer:
    """Belongs to one event loop. Drafters refuse whatever nobody here has.

    Attributes:
        media: reads pictures and files.
        sound: hears recordings.
        answers: knows answers that were spoken.
        searcher: searches.
    """

    media: "MediaGatherer | None" = None
    sound: SoundGatherer | None = None
    answers: SpokenAnswers | None = None
    searcher: Searcher | None = None

    async def gather(self, wanted: Wanted, owner: str, caller: str) -> Gathered:
        """All that a request wants, when it is its caller's turn.

        Args:
            wanted: by a request.
            owner: whose uploaded files and spoken answers it may name.
            caller: whose request it is.

        Raises:
            ApiError: 400, something cannot be taken, is not there, or has no room in the context;
                413, it is too large; 429, too many requests wait; 503, it cannot be had.
        """
        transcripts = await self._transcripts(wanted.answers, owner)
        heard = await self._heard(wanted.parts, caller)
        read = await self._read(wanted.parts, owner, caller)
        shown: Shown = {
            **read.shown,
            **transcripts,
            **{place: [each.shown] for place, each in heard.items()},
        }
        if wanted.search is None or self.searcher is None:
            return Gathered(shown, read.images)
        said = {place: each.words for place, each in heard.items()}
        found = await self.searcher.search(wanted.search, said)
        return Gathered({**shown, **found.shown}, read.images, found.sources, found.unsearched)

    async def _transcripts(
        self, asked: Sequence[AskedAnswer], owner: str
    ) -> Mapping[str, Sequence[str]]:
        if self.answers is None:
            return {}
        # Whoever names one often gets no copies.
        told: dict[str, str] = {}
        for each in asked:
            text = told.get(each.id) or await self.answers.transcript(owner, each.id)
            if text is None:
                raise unknown_answer(each)
            told[each.id] = text
        return {each.place: [told[each.id]] for each in asked}

    async def _heard(self, parts: Sequence[AskedMedia], caller: str) -> Mapping[str, Heard]:
        recordings = [each for each in parts if isinstance(each.part, AudioPart)]
        if not recordings or self.sound is None:
            return {}
        return await self.sound.gather(recordings, caller)

    async def _read(self, parts: Sequence[AskedMedia], owner: str, caller: str) -> Gathered:
        others = [each for each in parts if not isinstance(each.part, AudioPart)]
        if not others or self.media is None:
            return Gathered()
        return await self.media.gather(others, owner, caller)
