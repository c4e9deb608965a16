"""The contents of files: on the disk beside SQLite's file, or as rows where servers share them.

An upload is written to a temporary file first, whose name tells a sweep that nobody needs it any
more once it is old.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from serve.store.database import Database
from serve.store.errors import StoreUnavailableError
from serve.store.tables import chunks

CHUNK_BYTES = 256 * 2**10
_UNFINISHED = "upload-"
# No upload is silent for so long.
_STALE_SECONDS = 3600


class Spool:
    """An upload that is being received.

    Args:
        file: a temporary one, gone when it is closed unless it was moved.

    Attributes:
        size: bytes so far.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.size = 0

    async def write(self, data: bytes) -> None:
        """Add some bytes.

        Raises:
            StoreUnavailableError: the disk does not take them.
        """
        self.size += len(data)
        try:
            await asyncio.to_thread(self.file.write, data)
        except OSError as error:
            raise StoreUnavailableError(str(error)) from error

    async def close(self) -> None:
        """Forget what was not kept."""
        await asyncio.to_thread(_close, self.file)


class Blobs(Protocol):
    """Where contents are."""

    async def spool(self) -> Spool:
        """A place for an upload. Raises StoreUnavailableError."""
        ...

    async def keep(self, connection: AsyncConnection, file_id: str, spool: Spool) -> None:
        """Keep what was received, in the transaction in which the file appears."""
        ...

    def read(self, file_id: str) -> AsyncIterator[bytes]:
        """The content, in pieces. Raises StoreUnavailableError before the first one."""
        ...

    async def remove(self, file_ids: Collection[str]) -> None:
        """Forget contents whose files are gone."""
        ...

    async def strays(self) -> list[str]:
        """Names of contents that a sweep must ask about: each is a file's, or nobody's."""
        ...


class DiskBlobs:
    """A file for each, in one directory.

    Args:
        directory: made at need.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def spool(self) -> Spool:
        """A temporary file in the directory."""
        try:
            return Spool(await asyncio.to_thread(self._temporary))
        except OSError as error:
            raise StoreUnavailableError(str(error)) from error

    async def keep(self, connection: AsyncConnection, file_id: str, spool: Spool) -> None:  # noqa: ARG002
        """Before the transaction ends the content is whole and durable under its own name."""
        await asyncio.to_thread(self._keep, file_id, spool.file)

    async def read(self, file_id: str) -> AsyncIterator[bytes]:
        """The content, which stays readable if the file is deleted meanwhile."""
        try:
            file = await asyncio.to_thread((self._directory / file_id).open, "rb")
        except OSError as error:
            raise StoreUnavailableError(str(error)) from error
        with file:
            while data := await asyncio.to_thread(file.read, CHUNK_BYTES):
                yield data

    async def remove(self, file_ids: Collection[str]) -> None:
        """Unlink them."""
        await asyncio.to_thread(self._remove, file_ids)

    async def strays(self) -> list[str]:
        """The names of contents; old temporary files are removed at once."""
        return await asyncio.to_thread(self._strays)

    def _temporary(self) -> IO[bytes]:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return tempfile.NamedTemporaryFile(dir=self._directory, prefix=_UNFINISHED, delete=False)

    def _keep(self, file_id: str, file: IO[bytes]) -> None:
        file.flush()
        os.fsync(file.fileno())
        Path(file.name).rename(self._directory / file_id)
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _remove(self, file_ids: Collection[str]) -> None:
        for file_id in file_ids:
            (self._directory / file_id).unlink(missing_ok=True)

    def _strays(self) -> list[str]:
        if not self._directory.is_dir():
            return []
        old, found = time.time() - _STALE_SECONDS, list[str]()
        for path in self._directory.iterdir():
            if path.stat().st_mtime > old:
                continue
            if path.name.startswith(_UNFINISHED):
                path.unlink(missing_ok=True)
            else:
                found.append(path.name)
        return found


class TableBlobs:
    """Rows of the database.

    Args:
        database: has them.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def spool(self) -> Spool:
        """A temporary file without a name."""
        try:
            return Spool(await asyncio.to_thread(_anonymous))
        except OSError as error:
            raise StoreUnavailableError(str(error)) from error

    async def keep(self, connection: AsyncConnection, file_id: str, spool: Spool) -> None:
        """Copy it into the transaction."""
        await asyncio.to_thread(spool.file.seek, 0)
        place = 0
        while data := await asyncio.to_thread(spool.file.read, CHUNK_BYTES):
            row = {"file": file_id, "place": place, "data": data}
            await connection.execute(insert(chunks).values(row))
            place += 1

    async def read(self, file_id: str) -> AsyncIterator[bytes]:
        """Row by row, so that nobody's connection is held by a slow reader."""
        c, place = chunks.c, 0

        async def work(connection: AsyncConnection) -> bytes | None:
            chosen = select(c.data).where(c.file == file_id, c.place == place)
            return await connection.scalar(chosen)

        while data := await self._database.read("read", work):
            yield data
            place += 1

    async def remove(self, file_ids: Collection[str]) -> None:
        """They go with their file's row."""

    async def strays(self) -> list[str]:
        """There are none."""
        return []


def _anonymous() -> Any:
    return tempfile.TemporaryFile()


def _close(file: IO[bytes]) -> None:
    # What it held back may have no room on the disk, and goes anyway.
    with suppress(OSError):
        file.close()
    if isinstance(file.name, str) and Path(file.name).name.startswith(_UNFINISHED):
        Path(file.name).unlink(missing_ok=True)
