"""What is deleted by itself: what has expired, what was never finished, what nobody names.

Runs now and then in small transactions, so that requests wait for none of them; of several servers
on one database one sweeps at a time.
"""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from sqlalchemy import ColumnElement, Table, and_, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from serve.store.blobs import Blobs
from serve.store.database import SWEEP_LOCK, Database
from serve.store.metrics import StoreMetrics
from serve.store.paging import remember_gone
from serve.store.room import Room
from serve.store.spoken import forget
from serve.store.tables import completions, files, gone, spoken

T = TypeVar("T")

BATCH = 200
# Longer than any answer takes, and than anybody waits between two pages.
DAY_SECONDS = 86_400


class Sweep:
    """The sweep of one store.

    Args:
        database: swept.
        blobs: swept too.
        room: told what is left.
        metrics: told what went.
        keep_seconds: older completions are deleted.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        room: Room,
        metrics: StoreMetrics,
        keep_seconds: int,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._room = room
        self._metrics = metrics
        self._keep_seconds = keep_seconds

    async def once(self) -> None:
        """Sweep everything. Raises StoreUnavailableError."""
        now = int(time.time())
        created, answer = completions.c.created, completions.c.answer
        expired = or_(
            created <= now - self._keep_seconds,
            and_(answer.is_(None), created <= now - DAY_SECONDS),
        )
        while await self._batch(completions, now, expired):
            pass
        while removed := await self._batch(files, now, files.c.expires <= now):
            await self._blobs.remove(removed)
        await self._database.write("sweep", self._alone(_forget(now)))
        await self._database.write("sweep", self._alone(partial(forget, now=now)))
        await self._remove_strays()
        await self._count()

    async def _batch(self, table: Table, now: int, condition: ColumnElement[bool]) -> list[str]:
        async def work(connection: AsyncConnection) -> list[str]:
            chosen = select(table.c.id).where(condition).limit(BATCH)
            ids = list((await connection.scalars(chosen)).all())
            if ids:
                await remember_gone(connection, table, now, table.c.id.in_(ids))
                await connection.execute(delete(table).where(table.c.id.in_(ids)))
            return ids

        ids = await self._database.write("sweep", self._alone(work))
        if ids:
            self._metrics.deleted(table.name.removesuffix("s"), "expired", len(ids))
        return ids or []

    def _alone(
        self, work: Callable[[AsyncConnection], Awaitable[T]]
    ) -> Callable[[AsyncConnection], Awaitable[T | None]]:
        """`work`, unless another server sweeps at the moment."""

        async def if_alone(connection: AsyncConnection) -> T | None:
            if self._database.shared:
                lock = select(func.pg_try_advisory_xact_lock(SWEEP_LOCK))
                if not await connection.scalar(lock):
                    return None
            return await work(connection)

        return if_alone

    async def _remove_strays(self) -> None:
        names = await self._blobs.strays()
        for start in range(0, len(names), BATCH):
            some = names[start : start + BATCH]

            async def work(connection: AsyncConnection, some: list[str] = some) -> set[str]:
                chosen = select(files.c.id).where(files.c.id.in_(some))
                return set((await connection.scalars(chosen)).all())

            known = await self._database.read("sweep", work)
            await self._blobs.remove([name for name in some if name not in known])

    async def _count(self) -> None:
        async def work(connection: AsyncConnection) -> int:
            sums = [
                select(func.coalesce(func.sum(t.c.bytes), 0)) for t in (completions, files, spoken)
            ]
            return sum([int(await connection.scalar(each) or 0) for each in sums])

        self._room.count(await self._database.read("count", work))


def _forget(now: int) -> Callable[[AsyncConnection], Awaitable[None]]:
    async def work(connection: AsyncConnection) -> None:
        await connection.execute(delete(gone).where(gone.c.deleted <= now - DAY_SECONDS))

    return work
