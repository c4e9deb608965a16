"""Several transactions with one commit, where only one can write at a time.

What takes time is that the disk has it: whoever comes while it is awaited shares the next commit.
Each keeps a transaction's promise: it is done when the commit is, or nothing of it is.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

Work = Callable[[AsyncConnection], Awaitable[Any]]

MOST = 64


class Together:
    """The transactions on one engine.

    Args:
        engine: has one connection.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._waiting: deque[tuple[Work, asyncio.Future[Any]]] = deque()
        self._writing: asyncio.Task[None] | None = None

    async def write(self, work: Work) -> Any:
        """Do `work`, which touches nothing but the database and may be begun twice.

        Returns:
            what it returns, once that is durable.
        """
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        return await done

    async def _write(self) -> None:
        while self._waiting:
            some = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
            if not await self._done(some):
                # Which of them cannot be, and that the others can, each tells by itself.
                for one in some:
                    await self._done([one])

    async def _done(self, some: list[tuple[Work, asyncio.Future[Any]]]) -> bool:
        """Tell each of some what came of it, unless one of several has failed."""
        try:
            async with self._engine.begin() as connection:
                results = [await work(connection) for work, _ in some]
        except Exception as error:  # noqa: BLE001  (it is whoever waits who knows what it means)
            if len(some) > 1:
                return False
            some[0][1].set_exception(error)
            return True
        for (_, done), result in zip(some, results, strict=True):
            done.set_result(result)
        return True
