"""A store in a directory of its own; with PostgreSQL too, where Debian's package is installed."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.postgresql import postgresql

from serve.store.metrics import StoreMetrics
from serve.store.store import Store, StoreSettings


@pytest.fixture(scope="session")
def database_server() -> Iterator[Any]:
    with postgresql() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "kept" / "store.sqlite")
    return request.getfixturevalue("database_server").new_database()


@pytest.fixture
async def store(place: str) -> AsyncIterator[Store]:
    made = Store(StoreSettings(place), StoreMetrics())
    yield made
    await made.close()
