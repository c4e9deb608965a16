"""Over real sockets: clients that leave, the official client, bodies that are too long."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI
from support.waiting import until

from serve.engine.types import TokenEvent


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as shared:
        yield shared


@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_cancels(
    make_house: Any, ask: Any, listening: Any, client: httpx.AsyncClient, stream: bool
) -> None:
    house = make_house(plan=lambda _: [[TokenEvent(0, 65)], [TokenEvent(1, 66)], None])
    async with listening(house.app) as url:
        request = asyncio.create_task(
            client.post(f"{url}/v1/chat/completions", json=ask(stream=stream, n=2))
        )
        await until(lambda: house.engine.generations, seconds=30)
        await asyncio.sleep(0.05)
        (generation,) = house.engine.generations
        assert generation.running
        request.cancel()
        await until(lambda: not generation.running, seconds=30)
        assert (await client.get(f"{url}/health/live")).status_code == 200


@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_before_the_answer_begins_cancels(
    make_house: Any, ask: Any, listening: Any, stream: bool
) -> None:
    house = make_house(plan=lambda _: [None])
    async with listening(house.app) as url:
        host, port = url.removeprefix("http://").split(":")
        body = httpx.Request("POST", url, json=ask(stream=stream)).content
        for _ in range(20):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (len(body), body)
            )
            await writer.drain()
            writer.transport.abort()
        await until(lambda: len(house.engine.generations) >= 10, seconds=30)
        await asyncio.sleep(0.1)
        await until(lambda: not any(g.running for g in house.engine.generations), seconds=30)


async def test_body_over_the_limit_is_told_so(
    make_house: Any, listening: Any, client: httpx.AsyncClient
) -> None:
    house = make_house(settings={"max_body_bytes": 1000})

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b" " * 16_384

    async with listening(house.app) as url:
        for content in (b" " * 2**20, chunks()):
            response = await client.post(
                f"{url}/v1/chat/completions",
                content=content,
                headers={"Content-Type": "application/json"},
            )
            assert response.status_code == 413


async def test_official_client(make_house: Any, answering: Any, listening: Any) -> None:
    text = "Hello, 世界 🎈!"
    house = make_house(plan=answering(text), settings={"api_keys": ("k",)})
    async with (
        listening(house.app) as url,
        AsyncOpenAI(
            base_url=f"{url}/v1",
            api_key="k",
            max_retries=0,
            http_client=httpx.AsyncClient(trust_env=False),
        ) as openai,
    ):
        messages: Any = [{"role": "user", "content": "Hi"}]
        plain = await openai.chat.completions.create(model="tiny", messages=messages)
        assert plain.choices[0].message.content == text
        assert plain.choices[0].finish_reason == "stop"
        assert plain.usage is not None
        assert plain.usage.completion_tokens == len(text.encode())

        stream = await openai.chat.completions.create(
            model="tiny",
            messages=messages,
            stream=True,
            n=2,
            stream_options={"include_usage": True},
        )
        texts, ends, usage = ["", ""], ["", ""], None
        async for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
                ends[choice.index] += choice.finish_reason or ""
        assert texts == [text, text]
        assert ends == ["stop", "stop"]
        assert usage is not None
        assert usage.completion_tokens == 2 * len(text.encode())
