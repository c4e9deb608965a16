"""What answers that were spoken say, for those who name them later. Their sound is not kept."""

import time

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from serve.store.database import Database
from serve.store.room import Room
from serve.store.tables import spoken

_S = spoken.c


class Spoken:
    """Those of one store.

    Args:
        database: has them.
        room: what they may take.
    """

    def __init__(self, database: Database, room: Room) -> None:
        self._database = database
        self._room = room

    async def keep(self, owner: str, answer_id: str, transcript: str, expires: int) -> None:
        """Keep what an answer says, until a time in seconds since 1970.

        Raises:
            StoreUnavailableError: the store cannot take it.
        """
        size = len(transcript)
        row = {
            "id": answer_id,
            "owner": owner,
            "expires": expires,
            "bytes": size,
            "transcript": transcript,
        }

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(insert(spoken).values(row))

        self._room.check(size)
        await self._database.write("speak", work)
        self._room.add(size)

    async def get(self, owner: str, answer_id: str) -> str | None:
        """What one of an owner's answers says; None where there is none, or none any more.

        Raises:
            StoreUnavailableError: the store does not answer.
        """

        async def work(connection: AsyncConnection) -> str | None:
            own = _S.id == answer_id, _S.owner == owner, _S.expires > int(time.time())
            return await connection.scalar(select(_S.transcript).where(*own))

        return await self._database.read("get", work)


async def forget(connection: AsyncConnection, now: int) -> None:
    """Delete what has expired."""
    await connection.execute(delete(spoken).where(_S.expires <= now))
