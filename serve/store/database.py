"""Transactions on the database, opened when the first one is asked for.

Each runs in a task of its own: whoever leaves amid one leaves no connection in the middle of
something. Knows nothing of what is in the tables.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from serve.store import sqlite
from serve.store.errors import StoreStartError, StoreUnavailableError
from serve.store.metrics import StoreMetrics
from serve.store.place import Place
from serve.store.tables import migrate
from serve.store.together import Together

logger = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]

# How long a transaction waits for a connection.
_WAIT_SECONDS = 10.0

# Any number that no other program takes for its locks.
MIGRATION_LOCK = 0x7061726C
SWEEP_LOCK = MIGRATION_LOCK + 1


class Database:
    """One database.

    Args:
        place: where it is.
        metrics: told of every transaction.

    Raises:
        StoreStartError: the package for it is not installed.
    """

    def __init__(self, place: Place, metrics: StoreMetrics) -> None:
        self._place = place
        self._metrics = metrics
        self._opening = asyncio.Lock()
        self._writer: AsyncEngine | None = None
        self._reader: AsyncEngine | None = None
        self._together: Together | None = None
        self._running: set[asyncio.Task[object]] = set()
        self._errors: tuple[type[Exception], ...] = (SQLAlchemyError, OSError, TimeoutError)
        if place.url:
            from serve.store import postgres

            self._errors += postgres.ERRORS

    @property
    def shared(self) -> bool:
        """Whether other servers use it too."""
        return bool(self._place.url)

    async def open(self) -> None:
        """Connect, and bring the tables up to date.

        Raises:
            StoreStartError: a newer server has made the tables.
            StoreUnavailableError: there is no connection.
        """
        try:
            await self._engines()
        except self._errors as error:
            raise StoreUnavailableError(_reason(error)) from error

    async def write(self, operation: str, work: Work[T], *, alone: bool = False) -> T:
        """Do `work` in a transaction, which is durable when this returns.

        Args:
            operation: for the metrics and the log.
            work: may be begun twice, unless it is alone.
            alone: has it share no commit, for it touches more than the database.

        Raises:
            StoreUnavailableError: it could not be done, and nothing of it has been.
        """
        return await self._apart(operation, partial(self._write, work, alone=alone))

    async def read(self, operation: str, work: Work[T]) -> T:
        """Do `work`, which changes nothing.

        Raises:
            StoreUnavailableError: it could not be done.
        """
        return await self._apart(operation, partial(self._read, work))

    async def close(self) -> None:
        """Let what runs end, and close the connections."""
        if self._running:
            await asyncio.wait(self._running)
        for engine in {self._writer, self._reader} - {None}:
            await engine.dispose()  # pyright: ignore[reportOptionalMemberAccess]
        self._writer = self._reader = None

    async def _apart(self, operation: str, run: Callable[[], Awaitable[T]]) -> T:
        task = asyncio.create_task(self._run(operation, run))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # raised to whoever waits, if anybody does

    async def _write(self, work: Work[T], *, alone: bool) -> T:
        writer, _ = await self._engines()
        if self._together is not None and not alone:
            return await self._together.write(work)
        async with writer.begin() as connection:
            return await work(connection)

    async def _read(self, work: Work[T]) -> T:
        _, reader = await self._engines()
        async with reader.begin() as connection:
            return await work(connection)

    async def _run(self, operation: str, run: Callable[[], Awaitable[T]]) -> T:
        began = time.perf_counter()
        try:
            return await run()
        except (StoreStartError, *self._errors) as error:
            self._metrics.failed(operation)
            reason = _reason(error)
            logger.warning("the store at %s: %s failed: %s", self._place.shown, operation, reason)
            raise StoreUnavailableError(reason) from error
        finally:
            self._metrics.took(operation, time.perf_counter() - began)

    async def _engines(self) -> tuple[AsyncEngine, AsyncEngine]:
        async with self._opening:
            if self._writer is None or self._reader is None:
                writer, reader = self._made()
                try:
                    async with writer.begin() as connection:
                        if self.shared:
                            await connection.execute(
                                select(func.pg_advisory_xact_lock(MIGRATION_LOCK))
                            )
                        await migrate(connection)
                except BaseException:
                    await writer.dispose()
                    await reader.dispose()
                    raise
                self._writer, self._reader = writer, reader
                # PostgreSQL lets several write at a time, and commits them together itself.
                self._together = None if self.shared else Together(writer)
            return self._writer, self._reader

    def _made(self) -> tuple[AsyncEngine, AsyncEngine]:
        if self._place.file is not None:
            return sqlite.make_engines(self._place.file, wait_seconds=_WAIT_SECONDS)
        from serve.store import postgres

        engine = postgres.make_engine(self._place.url, wait_seconds=_WAIT_SECONDS)
        return engine, engine


def _reason(error: Exception) -> str:
    # What SQLAlchemy adds tells of the statement, whose values are callers' own.
    return str(getattr(error, "orig", None) or error) or type(error).__name__
