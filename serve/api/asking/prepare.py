"""A request's body to what the engine is asked for: drafted where it holds nobody up, compiled.

Knows nothing of HTTP beyond the body, nor of how generation goes on.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import cast

from serve.api.asking.bounds import CONTEXT_EXCEEDED
from serve.api.asking.constraint import Constraints
from serve.api.asking.content_coding import Body
from serve.api.asking.draft import Drafter, Prepared
from serve.api.asking.filtered import FilteredError
from serve.api.asking.gatherer import Gatherer
from serve.api.asking.media import SEARCH, Shown, size
from serve.api.asking.wanted import Gathered, Wanted
from serve.api.asking.worker_pool import WorkerPool
from serve.api.settings import ApiSettings
from serve.api.wire.errors import ApiError
from serve.api.wire.moderation import not_judged
from serve.engine.prompt_images import PromptImage
from serve.filter.moderation import CATEGORY, Moderation, ModerationError

# Arrays and objects of a body that is drafted on the event loop. A message is one, or two with
# its parts, and rendering it is most of what a short body takes: 60 µs each.
MOST_CONTAINERS_HERE = 32


class Preparer:
    """Prepares requests for one model.

    Args:
        drafter: reads short bodies.
        workers: read the others.
        constraints: compiles what answers must follow.
        settings: of the HTTP side.
        on_filtered: told of the category of what a request may not say.
        moderation: judges what requests say; None for nobody.
        gatherer: gets what requests want beside their text.
    """

    def __init__(
        self,
        drafter: Drafter,
        workers: WorkerPool,
        constraints: Constraints,
        settings: ApiSettings,
        on_filtered: Callable[[str], None],
        moderation: Moderation | None = None,
        gatherer: Gatherer | None = None,
    ) -> None:
        self._drafter = drafter
        self._workers = workers
        self._constraints = constraints
        self._settings = settings
        self._on_filtered = on_filtered
        self._moderation = moderation
        self._gatherer = gatherer or Gatherer()
        # Between two short bodies the event loop sees to the streams.
        self._one_by_one = asyncio.Lock()

    async def prepare(
        self, body: Body, completion_id: str, caller: str, owner: str = ""
    ) -> Prepared:
        """The request in `body`, ready for the engine under the name `completion_id`.

        Args:
            body: of the request.
            completion_id: names the request.
            caller: whose it is; callers with long bodies, pictures or files take turns.
            owner: whose uploaded files and spoken answers it may name.

        Raises:
            ApiError: 400 or 404, the first thing that is wrong with it; 413, it or one of its files
                takes too much to be read; 429, too many such wait; 503, nobody judged what it
                says, or its uploaded files cannot be read.
        """
        try:
            prepared = await self._whole(body, completion_id, caller, owner)
            await self._moderate(prepared)
        except FilteredError as error:
            self._on_filtered(error.category)
            raise
        constraint = await self._constraints.compiled(
            prepared.form, prepared.tools, prepared.bad_words, prepared.thoughts
        )
        submission = replace(prepared.submission, constraint=constraint)
        return replace(prepared, submission=submission, to_moderate=())

    async def _moderate(self, prepared: Prepared) -> None:
        if self._moderation is None:
            return
        asked = prepared.to_moderate
        try:
            flags = await self._moderation.flagged([text for _, text in asked])
        except ModerationError as error:
            raise not_judged(self._settings.retry_after_seconds) from error
        for (param, _), flag in zip(asked, flags, strict=True):
            if flag:
                raise FilteredError(CATEGORY, param)

    async def _whole(self, body: Body, completion_id: str, caller: str, owner: str) -> Prepared:
        """The request with what it wants, if anything: it is drafted again with that."""
        drafted = await self._drafted(body, completion_id, caller, None)
        if isinstance(drafted, Prepared):
            return drafted
        gathered = await self._gatherer.gather(drafted, owner, caller)
        # Of a picture its data is the larger part.
        del drafted
        try:
            whole = await self._drafted(body, completion_id, caller, gathered.shown)
        except ApiError as error:
            if error.code != CONTEXT_EXCEEDED or SEARCH not in gathered.shown:
                raise
            # It may have room without what was found.
            shown = {place: each for place, each in gathered.shown.items() if place != SEARCH}
            gathered = replace(gathered, shown=shown, sources=(), unsearched="no_room")
            whole = await self._drafted(body, completion_id, caller, shown)
        return _with(cast("Prepared", whole), gathered)

    async def _drafted(
        self, body: Body, completion_id: str, caller: str, shown: Shown | None
    ) -> Prepared | Wanted:
        if not self._is_short(body, shown or {}):
            return await self._workers.draft(body, completion_id, caller, shown)
        async with self._one_by_one:
            await asyncio.sleep(0)
            return self._drafter.draft(body, completion_id, shown)

    def _is_short(self, body: Body, shown: Shown) -> bool:
        # A few bytes may unfold to many.
        return (
            not body.codings
            and len(body.data) + size(shown) <= self._settings.process_body_bytes
            and body.data.count(b"{") + body.data.count(b"[") <= MOST_CONTAINERS_HERE
        )


def _with(prepared: Prepared, gathered: Gathered) -> Prepared:
    """The request, with its pictures at their places in the prompt, and its sources."""
    images = [
        PromptImage(start, image.tokens, image.patches, image.grid, image.digest)
        for start, image in zip(prepared.picture_starts, gathered.images, strict=True)
    ]
    submission = replace(prepared.submission, images=images)
    return replace(
        prepared,
        submission=submission,
        picture_starts=(),
        sources=gathered.sources,
        unsearched=gathered.unsearched,
    )
