"""The engine for PostgreSQL. The one module that imports the package of the extra `postgres`."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from serve.store.errors import StoreStartError

try:
    import asyncpg
except ImportError as error:
    raise StoreStartError(
        "store is a database of PostgreSQL, which needs the extra postgres: in the checkout run "
        "pip install '.[postgres]', or give a file"
    ) from error

# What asyncpg raises before there is a connection, which SQLAlchemy passes on as it is.
ERRORS: tuple[type[Exception], ...] = (asyncpg.PostgresError, asyncpg.InterfaceError)

_CONNECT_SECONDS = 5
_COMMAND_SECONDS = 30
_CONNECTIONS = 8


def make_engine(url: str, *, wait_seconds: float) -> AsyncEngine:
    """An engine for the database at `url`, as libpq writes addresses."""

    async def connect() -> Any:
        return await asyncpg.connect(
            url, timeout=_CONNECT_SECONDS, command_timeout=_COMMAND_SECONDS
        )

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_timeout=wait_seconds,
        # One that broke while nobody used it is replaced, and not found out by a request.
        pool_pre_ping=True,
        hide_parameters=True,
    )
