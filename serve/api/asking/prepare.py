"""A request's body to what the engine is asked for: drafted where it holds nobody up, compiled.

Knows nothing of HTTP beyond the body, nor of how generation goes on.
"""

import asyncio
from dataclasses import replace

from serve.api.asking.constraint import Constraints
from serve.api.asking.content_coding import Body
from serve.api.asking.draft import Drafter, Prepared
from serve.api.asking.worker_pool import WorkerPool
from serve.api.settings import ApiSettings

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
    """

    def __init__(
        self,
        drafter: Drafter,
        workers: WorkerPool,
        constraints: Constraints,
        settings: ApiSettings,
    ) -> None:
        self._drafter = drafter
        self._workers = workers
        self._constraints = constraints
        self._settings = settings
        # Between two short bodies the event loop sees to the streams.
        self._one_by_one = asyncio.Lock()

    async def prepare(self, body: Body, completion_id: str, caller: str) -> Prepared:
        """The request in `body`, ready for the engine under the name `completion_id`.

        Args:
            body: of the request.
            completion_id: names the request.
            caller: whose it is; callers with long bodies take turns.

        Raises:
            ApiError: 400 or 404, the first thing that is wrong with it; 413, it takes too much to
                be read; 429, too many long ones wait.
        """
        if self._is_short(body):
            async with self._one_by_one:
                await asyncio.sleep(0)
                prepared = self._drafter.draft(body, completion_id)
        else:
            prepared = await self._workers.draft(body, completion_id, caller)
        constraint = await self._constraints.compiled(
            prepared.form, prepared.tools, prepared.bad_words, prepared.thoughts
        )
        return replace(prepared, submission=replace(prepared.submission, constraint=constraint))

    def _is_short(self, body: Body) -> bool:
        # A few bytes may unfold to many.
        return (
            not body.codings
            and len(body.data) <= self._settings.process_body_bytes
            and body.data.count(b"{") + body.data.count(b"[") <= MOST_CONTAINERS_HERE
        )
