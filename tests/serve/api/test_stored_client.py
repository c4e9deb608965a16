"""The official client, unmodified, on stored completions and files."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

MESSAGES: Any = [{"role": "user", "content": "Hi"}]
COUNT = 101


@pytest.fixture
def client(listening: Any) -> Any:
    @asynccontextmanager
    async def connected(house: Any, key: str = "none") -> AsyncIterator[AsyncOpenAI]:
        async with (
            listening(house.app) as url,
            AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client,
        ):
            yield client

    return connected


async def test_completions(storing: Any, client: Any) -> None:
    async with client(storing()) as api:
        completions = api.chat.completions
        ids = list[str]()
        for number in range(COUNT):
            made = await completions.create(
                model="tiny",
                messages=MESSAGES,
                store=True,
                metadata={"odd": str(number % 2), "number": str(number)},
            )
            ids.append(made.id)
        for limit in (1, 7, 50, 100):
            for order, expected in (("asc", ids), ("desc", ids[::-1])):
                listed = completions.list(limit=limit, order=order)
                assert [entry.id async for entry in listed] == expected
        page = await completions.list(limit=100)
        assert (len(page.data), page.has_more) == (100, True)
        odd = [entry.id async for entry in completions.list(metadata={"odd": "1"}, limit=9)]
        assert odd == ids[1::2]
        one = completions.list(metadata={"odd": "1", "number": "5"}, model="gpt-4o")
        assert [entry.id async for entry in one] == [ids[5]]

        kept = await completions.retrieve(ids[3])
        assert kept.choices[0].message.content == "Hello!"
        changed = await completions.update(ids[3], metadata={"a": "b"})
        assert changed.metadata == {"a": "b"}  # type: ignore[attr-defined]
        messages = [m async for m in completions.messages.list(ids[3], limit=1)]
        assert [(m.id, m.role, m.content) for m in messages] == [(f"{ids[3]}-0", "user", "Hi")]
        assert (await completions.delete(ids[3])).deleted
        with pytest.raises(openai.NotFoundError):
            await completions.retrieve(ids[3])
        rest = [entry.id async for entry in completions.list(after=ids[3], limit=100)]
        assert rest == ids[4:]


async def test_a_stream(storing: Any, client: Any) -> None:
    async with client(storing()) as api:
        stream = await api.chat.completions.create(
            model="tiny", messages=MESSAGES, store=True, stream=True
        )
        ids = {chunk.id async for chunk in stream}
        kept = await api.chat.completions.retrieve(ids.pop())
        assert kept.choices[0].message.content == "Hello!"


async def test_files(storing: Any, client: Any) -> None:
    async with client(storing()) as api:
        made = [
            await api.files.create(
                file=(f"ü{number}.txt", b"x" * number),
                purpose="user_data",
                expires_after={"anchor": "created_at", "seconds": 3600},
            )
            for number in range(5)
        ]
        assert made[3].filename == "ü3.txt"
        assert [file.id async for file in api.files.list(limit=2, order="asc")] == [
            file.id for file in made
        ]
        assert (await api.files.retrieve(made[2].id)).bytes == 2
        assert (await api.files.content(made[2].id)).content == b"xx"
        assert (await api.files.delete(made[2].id)).deleted
        with pytest.raises(openai.NotFoundError):
            await api.files.content(made[2].id)
