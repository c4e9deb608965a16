"""Answers that are spoken to nobody: whoever leaves takes the speech along."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from support.senses import FakeSpeaker
from support.waiting import until

WORDS = " ".join(map(str, range(150)))
PCM16 = {"modalities": ["audio"], "audio": {"format": "pcm16", "voice": "alloy"}}
TIMES = 12


def head(port: int, body: bytes) -> bytes:
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_is_left_of_those_who_leave(
    make_house: Any, answering: Any, ask: Any, listening: Any, *, stream: bool
) -> None:
    speaker = FakeSpeaker()
    plan = answering(WORDS)
    house = make_house(speaker=speaker, plan=lambda request: [*plan(request)[:-1], None])
    async with listening(house.app) as url:
        port = httpx.URL(url).port
        body = json.dumps(ask(stream=stream, n=4, max_tokens=4_000, **PCM16)).encode()
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{url}/v1/models")).status_code == 200
        before = len(asyncio.all_tasks())
        for times in range(TIMES):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head(port, body))
            if stream:
                # Then it reads nothing, for a while or at once.
                await reader.readuntil(b'"data":')
            await until(lambda times=times: len(speaker.speeches) == 4 * (times + 1))
            await asyncio.sleep(0.002 * (times % 5))
            writer.transport.abort()
        await until(lambda: all(each.closed for each in speaker.speeches))
        await until(lambda: len(asyncio.all_tasks()) <= before)
    assert all(not each.running for each in house.engine.generations)
