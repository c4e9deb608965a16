"""Files that were uploaded. Their contents are in `blobs.py`."""

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from sqlalchemy import ColumnElement, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from serve.store.blobs import Blobs, Spool
from serve.store.database import Database
from serve.store.errors import OwnerFullError, StoreUnavailableError
from serve.store.kept import Cut, Page, StoredFile
from serve.store.metrics import StoreMetrics
from serve.store.paging import part, remember_gone
from serve.store.room import Room
from serve.store.tables import files, version

# More at once would hold up whoever waits for the event loop: a shorter page says it has more.
PAGE_FILES = 1_000

_KIND = "file"
_F = files.c


class Files:
    """Those of one store.

    Args:
        database: has all of them but their contents.
        blobs: have those.
        room: what they may take.
        metrics: told what comes and goes.
        most_bytes: that all files of one owner may have.
    """

    def __init__(
        self, database: Database, blobs: Blobs, room: Room, metrics: StoreMetrics, most_bytes: int
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._room = room
        self._metrics = metrics
        self._most_bytes = most_bytes

    @asynccontextmanager
    async def receiving(self, expected: int) -> AsyncGenerator[Spool]:
        """A place for an upload of about so many bytes; what is not kept is gone afterwards.

        Raises:
            StoreUnavailableError: the store does not take one.
        """
        self._room.check(expected)
        # Whether rows can be written is found out before anybody sends for minutes.
        await self._database.write("try", _write_something)
        spool = await self._blobs.spool()
        try:
            yield spool
        finally:
            await spool.close()

    async def keep(self, owner: str, file: StoredFile, spool: Spool) -> None:
        """Keep an upload.

        Raises:
            OwnerFullError: the owner has too much then.
            StoreUnavailableError: the store cannot take it, and nothing of it is kept.
        """

        async def work(connection: AsyncConnection) -> None:
            held = select(func.coalesce(func.sum(_F.bytes), 0)).where(_F.owner == owner)
            if int(await connection.scalar(held) or 0) + file.size > self._most_bytes:
                raise OwnerFullError
            row = {
                "id": file.id,
                "owner": owner,
                "created": file.created,
                "expires": file.expires,
                "bytes": file.size,
                "purpose": file.purpose,
                "filename": file.filename,
            }
            await connection.execute(insert(files).values(row))
            await self._blobs.keep(connection, file.id, spool)

        self._room.check(file.size)
        try:
            await self._database.write("upload", work, alone=True)
        except StoreUnavailableError:
            await self._blobs.remove([file.id])
            raise
        self._room.add(file.size)
        self._metrics.stored(_KIND)

    async def list(self, owner: str, cut: Cut, purpose: str | None) -> Page[StoredFile]:
        """A page of an owner's files, of `PAGE_FILES` at most.

        Raises:
            StoreUnavailableError: the store does not answer.
            UnknownCursorError: there was none to go on after.
        """

        short = replace(cut, limit=min(cut.limit, PAGE_FILES))

        async def work(connection: AsyncConnection) -> Page[StoredFile]:
            conditions = [_unexpired()]
            if purpose is not None:
                conditions.append(_F.purpose == purpose)
            rows, has_more = await part(connection, files, owner, short, conditions, [*_F])
            return Page([_stored(row) for row in rows], has_more)

        return await self._database.read("list", work)

    async def get(self, owner: str, file_id: str) -> StoredFile | None:
        """One of an owner's files, or None."""

        async def work(connection: AsyncConnection) -> StoredFile | None:
            row = (await connection.execute(select(files).where(*_one(owner, file_id)))).first()
            return None if row is None else _stored(row)

        return await self._database.read("get", work)

    def content(self, file_id: str) -> AsyncIterator[bytes]:
        """The content of a file that `get` has told of."""
        return self._blobs.read(file_id)

    async def delete(self, owner: str, file_id: str) -> bool:
        """Delete one of an owner's files; whether it was there."""

        async def work(connection: AsyncConnection) -> int | None:
            one = _one(owner, file_id)
            await remember_gone(connection, files, int(time.time()), *one)
            return await connection.scalar(delete(files).where(*one).returning(_F.bytes))

        size = await self._database.write("delete", work)
        if size is None:
            return False
        await self._blobs.remove([file_id])
        self._room.add(-size)
        self._metrics.deleted(_KIND, "asked")
        return True


async def _write_something(connection: AsyncConnection) -> None:
    await connection.execute(update(version).values(number=version.c.number))


def _unexpired() -> ColumnElement[bool]:
    return or_(_F.expires.is_(None), _F.expires > int(time.time()))


def _one(owner: str, file_id: str) -> tuple[ColumnElement[bool], ...]:
    return _F.id == file_id, _F.owner == owner, _unexpired()


def _stored(row: object) -> StoredFile:
    told = {
        name: getattr(row, name) for name in ("id", "created", "expires", "purpose", "filename")
    }
    return StoredFile(size=row.bytes, **told)  # pyright: ignore[reportAttributeAccessIssue]
