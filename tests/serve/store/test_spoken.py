"""What spoken answers say, until they expire."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from serve.store.errors import StoreFullError
from serve.store.metrics import StoreMetrics
from serve.store.store import Store, StoreSettings
from serve.store.tables import spoken, version

# This module is read long before its tests run: what is to be kept is kept for a day.
LONG_AGO = int(time.time()) - 1
TOMORROW = LONG_AGO + 86400


@asynccontextmanager
async def opened(place: str, **limits: int) -> AsyncIterator[Store]:
    store = Store(StoreSettings(place, **limits), StoreMetrics())
    try:
        yield store
    finally:
        await store.close()


async def count(store: Store) -> int:
    async def work(connection: AsyncConnection) -> int:
        return await connection.scalar(select(func.count()).select_from(spoken)) or 0

    return await store._database.read("count", work)


async def test_an_owner_is_told_until_it_expires(store: Store) -> None:
    await store.spoken.keep("one", "audio-a", "ü\0 words", TOMORROW)
    await store.spoken.keep("one", "audio-old", "gone", LONG_AGO)
    assert await store.spoken.get("one", "audio-a") == "ü\0 words"
    assert await store.spoken.get("two", "audio-a") is None
    assert await store.spoken.get("one", "audio-old") is None
    assert await store.spoken.get("one", "audio-b") is None


async def test_a_sweep_forgets_what_has_expired_and_counts_the_rest(place: str) -> None:
    async with opened(place, most_bytes=100) as store:
        await store.spoken.keep("one", "audio-a", "x" * 40, TOMORROW)
        await store.spoken.keep("one", "audio-old", "x" * 40, LONG_AGO)
        with pytest.raises(StoreFullError):
            await store.spoken.keep("one", "audio-b", "x" * 40, TOMORROW)
        await store.sweep()
        assert await count(store) == 1
        await store.spoken.keep("one", "audio-b", "x" * 40, TOMORROW)
        # Counted anew, and not only as they came.
        await store.sweep()
        with pytest.raises(StoreFullError):
            await store.spoken.keep("one", "audio-c", "x" * 40, TOMORROW)


async def test_a_store_of_before_there_were_any_gets_a_place_for_them(place: str) -> None:
    async def age(connection: AsyncConnection) -> None:
        await connection.execute(text("DROP TABLE spoken"))
        await connection.execute(version.update().values(number=1))

    async with opened(place) as older:
        await older._database.write("age", age)
    async with opened(place) as store:
        await store.spoken.keep("one", "audio-a", "words", TOMORROW)
        assert await store.spoken.get("one", "audio-a") == "words"
