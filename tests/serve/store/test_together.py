import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from serve.store.sqlite import make_engines
from serve.store.together import MOST, Together


@pytest.fixture
async def made(tmp_path: Path) -> Any:
    """The writer, what has been committed, and the values that a reader sees."""
    writer, reader = make_engines(tmp_path / "s.sqlite", wait_seconds=5)
    async with writer.begin() as connection:
        await connection.execute(text("CREATE TABLE kept (value INTEGER)"))
    commits = [0]

    def count(_: object) -> None:
        commits[0] += 1

    event.listen(writer.sync_engine, "commit", count)

    async def seen() -> list[int]:
        async with reader.begin() as connection:
            found = await connection.scalars(text("SELECT value FROM kept ORDER BY rowid"))
            return list(found)

    yield Together(writer), commits, seen
    await writer.dispose()
    await reader.dispose()


def put(value: int, *, fails: bool = False) -> Any:
    async def work(connection: Any) -> int:
        await connection.execute(text("INSERT INTO kept VALUES (:value)"), {"value": value})
        if fails:
            raise ValueError(value)
        return value

    return work


async def test_those_that_come_at_once_share_commits(made: Any) -> None:
    together, commits, seen = made
    count = 2 * MOST + 1
    assert await asyncio.gather(*(together.write(put(n)) for n in range(count))) == [*range(count)]
    assert commits == [3]
    assert await seen() == [*range(count)]


async def test_what_is_done_is_seen(made: Any) -> None:
    together, _, seen = made
    for value in range(3):
        await together.write(put(value))
        assert await seen() == [*range(value + 1)]


async def test_one_that_fails_takes_no_other_with_it(made: Any) -> None:
    together, _, seen = made
    works = [put(value, fails=value == 3) for value in range(6)]
    outcomes = await asyncio.gather(*map(together.write, works), return_exceptions=True)
    assert [o if isinstance(o, int) else type(o) for o in outcomes] == [0, 1, 2, ValueError, 4, 5]
    assert await seen() == [0, 1, 2, 4, 5]
