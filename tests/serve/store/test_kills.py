"""Servers that are killed at any moment lose nothing that a client saw end."""

import asyncio
import json
import random
from typing import Any

import httpx
import pytest
from support.storing_server import StoringServer, storing_server

from serve.api.wire.stored import StoredChatCompletion

KILLS = 50
COMPLETIONS = 500
CALLERS = 8


class Load:
    """Callers that ask until there is enough, and remember what they saw end."""

    def __init__(self, url: str) -> None:
        self.client = httpx.AsyncClient(base_url=url, timeout=20)
        self.ended: dict[str, str] = {}
        self.cut_off = 0
        self.enough = False
        self._more = asyncio.Event()

    async def until(self, count: int) -> None:
        while len(self.ended) < count:
            self._more.clear()
            await self._more.wait()

    def _end(self, name: str, said: str) -> None:
        self.ended[name] = said
        self._more.set()

    async def run(self) -> None:
        async with self.client:
            await asyncio.gather(*(self._ask(number) for number in range(CALLERS)))

    async def _ask(self, number: int) -> None:
        while not self.enough:
            number += 1
            body = {
                "model": "tiny",
                "messages": [{"role": "user", "content": f"Hi {number}"}],
                "store": True,
                "stream": number % 2 == 0,
                "metadata": {"number": str(number)},
            }
            try:
                response = await self.client.post("/v1/chat/completions", json=body)
            except httpx.TransportError:
                self.cut_off += 1
                continue
            assert response.status_code == 200, response.text
            if body["stream"]:
                events = response.text.split("\n\n")
                if "data: [DONE]" not in events:
                    self.cut_off += 1
                    continue
                chunks = [json.loads(event[6:]) for event in events if event.startswith("data: {")]
                said = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)
                self._end(chunks[0]["id"], said)
            else:
                answer = response.json()
                self._end(answer["id"], answer["choices"][0]["message"]["content"])


async def all_stored(url: str) -> dict[str, dict[str, Any]]:
    async with httpx.AsyncClient(base_url=url, timeout=20) as client:
        found: dict[str, dict[str, Any]] = {}
        query = "limit=100"
        while True:
            response = await client.get(f"/v1/chat/completions?{query}")
            assert response.status_code == 200, response.text
            page = response.json()
            for entry in page["data"]:
                assert entry["id"] not in found
                found[entry["id"]] = entry
            if not page["has_more"]:
                return found
            query = f"limit=100&after={page['last_id']}"


async def kill_often(server: StoringServer, load: Load, rng: random.Random) -> None:
    for _ in range(KILLS):
        before = len(load.ended)
        server.start()
        # Not before it has done something; then at any moment.
        await load.until(before + rng.randrange(1, 12))
        await asyncio.sleep(rng.uniform(0, 0.02))
        server.kill()
    server.start()
    await load.until(COMPLETIONS)
    load.enough = True


@pytest.mark.slow
async def test_nothing_that_ended_is_lost(place: str) -> None:
    with storing_server(place) as server:
        url = f"http://127.0.0.1:{server.port}"
        load = Load(url)
        asking = asyncio.create_task(load.run())
        killing = asyncio.create_task(kill_often(server, load, random.Random(7)))
        done, _ = await asyncio.wait({asking, killing}, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
        found = await all_stored(url)
    assert load.cut_off >= KILLS // 2, "the kills hit nothing"
    assert len(load.ended) >= COMPLETIONS
    assert load.ended.keys() <= found.keys()
    for name, entry in found.items():
        StoredChatCompletion.model_validate_json(json.dumps(entry))
        assert entry["choices"][0]["message"]["content"] == load.ended.get(
            name, "Hello, here I am."
        )
        assert entry["metadata"].keys() == {"number"}
