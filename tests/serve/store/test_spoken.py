"""What spoken answers say, until they expire."""

import time

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from serve.store.errors import StoreFullError
from serve.store.metrics import StoreMetrics
from serve.store.store import Store, StoreSettings
from serve.store.tables import spoken, version

NOW = int(time.time())


async def count(store: Store) -> int:
    async def work(connection: AsyncConnection) -> int:
        return await connection.scalar(select(func.count()).select_from(spoken)) or 0

    return await store._database.read("count", work)


async def test_an_owner_is_told_until_it_expires(store: Store) -> None:
    await store.spoken.keep("one", "audio-a", "ü\0 words", NOW + 60)
    await store.spoken.keep("one", "audio-old", "gone", NOW - 1)
    assert await store.spoken.get("one", "audio-a") == "ü\0 words"
    assert await store.spoken.get("two", "audio-a") is None
    assert await store.spoken.get("one", "audio-old") is None
    assert await store.spoken.get("one", "audio-b") is None


async def test_a_sweep_forgets_what_has_expired_and_counts_the_rest(place: str) -> None:
    store = Store(StoreSettings(place, most_bytes=100), StoreMetrics())
    await store.spoken.keep("one", "audio-a", "x" * 40, NOW + 60)
    await store.spoken.keep("one", "audio-old", "x" * 40, NOW - 1)
    with pytest.raises(StoreFullError):
        await store.spoken.keep("one", "audio-b", "x" * 40, NOW + 60)
    await store.sweep()
    assert await count(store) == 1
    await store.spoken.keep("one", "audio-b", "x" * 40, NOW + 60)
    # Counted anew, and not only as they came.
    await store.sweep()
    with pytest.raises(StoreFullError):
        await store.spoken.keep("one", "audio-c", "x" * 40, NOW + 60)
    await store.close()


async def test_a_store_of_before_there_were_any_gets_a_place_for_them(place: str) -> None:
    older = Store(StoreSettings(place), StoreMetrics())

    async def age(connection: AsyncConnection) -> None:
        await connection.execute(text("DROP TABLE spoken"))
        await connection.execute(version.update().values(number=1))

    await older._database.write("age", age)
    await older.close()
    store = Store(StoreSettings(place), StoreMetrics())
    await store.spoken.keep("one", "audio-a", "words", NOW + 60)
    assert await store.spoken.get("one", "audio-a") == "words"
    await store.close()
