"""Which rows bring drafts into a step, and what comes of them.

Owns the room that drafts have, and how results are read where some were verified. Knows nothing
of where drafts come from (`drafts.py`), nor of who runs.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import NamedTuple

from serve.engine.config import EngineConfig
from serve.engine.drafts import Draft, Drafter, Source, drafter_of
from serve.engine.holdings import Holdings
from serve.engine.plan import DecodeRow, Place, PrefillChunk, Sampled
from serve.engine.sequence import Sequence
from serve.engine.types import GenerationRequest, TokenEvent, TokenLogprobs


class Kept(NamedTuple):
    """A token that was drawn, and counts.

    Attributes:
        place: its place.
        token: its id.
        logprobs: if the request asks for them.
        drafted: whether a draft agrees with it.
    """

    place: Place
    token: int
    logprobs: TokenLogprobs | None
    drafted: bool


class Speculation:
    """Drafts for the rows of an engine.

    Args:
        config: the engine's settings.
        holdings: pages.
        holding: how much of a draft a sequence's constraint allows.
    """

    def __init__(
        self,
        config: EngineConfig,
        holdings: Holdings,
        holding: Callable[[Sequence, list[int]], list[int]],
    ) -> None:
        self._config = config
        self._holdings = holdings
        self._holding = holding

    def drafter(self, request: GenerationRequest) -> Drafter | None:
        """What finds drafts for a request's choices, each of which gets a sibling."""
        config = self._config
        return None if config.deterministic else drafter_of(request, config.ngrams)

    def with_drafts(
        self, decode: list[DecodeRow], prefill: list[PrefillChunk], margin: int
    ) -> list[DecodeRow]:
        """The rows with drafts, as far as the step and the free pages have room for them.

        Args:
            decode: rows that go on in the step.
            prefill: what else is in it.
            margin: pages to leave free.
        """
        config = self._config
        tokens = len(decode) + sum(len(chunk.tokens) for chunk in prefill)
        places = len(decode) + sum(len(chunk.sampling) for chunk in prefill)
        room = min(config.draft_tokens - tokens, config.max_rows - places)
        rows: list[DecodeRow] = []
        for number, row in enumerate(decode):
            draft = self._draft(row, room // (len(decode) - number), margin)
            if draft is not None:
                room -= len(draft.tokens)
                row.sequence.draft = draft
            rows.append(row if draft is None else replace(row, draft=draft))
        return rows

    def _draft(self, row: DecodeRow, most: int, margin: int) -> Draft | None:
        sequence, drafter = row.sequence, row.sequence.drafter
        if drafter is None:
            return None
        most = min(most, sequence.request.max_tokens - sequence.sampled)
        # Where more than the planned token is in flight, it is not known what a draft would follow.
        if sequence.in_flight > 1 or most < 1:
            drafter.follow(sequence.tokens)
            return None
        draft = drafter.propose(sequence.tokens, sequence.matcher, most)
        if draft is None:
            return None
        tokens = draft.tokens[: self._covered(row, len(draft.tokens), margin)]
        if sequence.matcher is not None:
            tokens = self._holding(sequence, tokens)
        return draft._replace(tokens=tokens) if tokens else None

    def _covered(self, row: DecodeRow, drafts: int, margin: int) -> int:
        """For how many drafts after a row's token there are pages, of so many."""
        sequence, size = row.sequence, self._config.page_size
        while (row.position + drafts) // size >= len(sequence.pages):
            if not self._holdings.grow(sequence, margin):
                return len(sequence.pages) * size - 1 - row.position
        return drafts

    def learn(self, row: DecodeRow) -> None:
        """Take note of what came of a row's draft, once its tokens are the sequence's."""
        sequence, draft = row.sequence, row.draft
        if draft is None or sequence.drafter is None:
            return
        sequence.draft = None
        # The row was fed its token at `position`, which was its latest.
        accepted = len(sequence.tokens) - row.position - 2
        sequence.drafter.learn(max(0, accepted), len(draft.tokens))


def kept(places: list[Place], sampled: Sampled) -> Iterator[Kept]:
    """What counts of what was drawn: of each sequence up to the first that its draft refuses."""
    agrees = True
    outcomes = zip(places, sampled.tokens, sampled.logprobs, strict=True)
    for (place, token, logprobs), after in zip_longest(outcomes, places[1:]):
        counts = place.before == 0 or agrees
        agrees = counts and after is not None and after.before > 0 and after.given == token
        if counts:
            yield Kept(place, token, logprobs, agrees)


def foretold(event: TokenEvent, outcome: Kept) -> TokenEvent:
    """An event that also says whether its token was predicted, or is in the place of one."""
    draft = outcome.place.sequence.draft
    if draft is None or draft.source is not Source.PREDICTION:
        return event
    if outcome.drafted:
        return replace(event, predicted=True)
    return replace(event, mispredicted=len(draft.tokens) - outcome.place.before)
