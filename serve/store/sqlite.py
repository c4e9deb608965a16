"""The engines for a file of SQLite: one connection that writes, some that read."""

from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

_READERS = 4
# Another process may have the file for so long.
_BUSY_SECONDS = 5.0


def make_engines(file: Path, *, wait_seconds: float) -> tuple[AsyncEngine, AsyncEngine]:
    """The engines that write and that read `file`; both it and its directory are made at need."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not file.exists():
        # Whoever else may enter the directory; SQLite's other files get the same mode.
        file.touch(mode=0o600)
    return (
        _engine(file, 1, wait_seconds, "BEGIN IMMEDIATE"),
        _engine(file, _READERS, wait_seconds, "BEGIN"),
    )


def _engine(file: Path, connections: int, wait_seconds: float, begin: str) -> AsyncEngine:
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{file}",
        poolclass=AsyncAdaptedQueuePool,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=wait_seconds,
        connect_args={"timeout": _BUSY_SECONDS},
        hide_parameters=True,
    )

    def prepare(connection: Any, _: object) -> None:
        # Transactions begin as we say, and not as the driver guesses.
        connection.isolation_level = None
        cursor = connection.cursor()
        # Commits are on the disk when they return: others would be lost with the power.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", start)
    return engine
