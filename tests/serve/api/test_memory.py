"""Thousands of constrained requests leave nothing behind."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.families import HERMES, VOCABULARY, Running
from support.real_house import RealHouse, random_engine
from support.resident import resident

REQUESTS = 10_000
# Requests until all that is kept is full: caches of compiled grammars, pools, the allocator.
WARM = 2_500
AT_A_TIME = 16


@pytest.fixture
def engine() -> Iterator[Any]:
    engine = random_engine(VOCABULARY, rows=AT_A_TIME)
    yield engine
    engine.stop()


def asked(number: int) -> dict[str, Any]:
    """Half of the requests have a grammar of their own, half one of a few."""
    rng = random.Random(number)
    name = f"p{number if number % 2 else number % 10}"
    schema = {
        "type": "object",
        "properties": {name: {"type": "string", "maxLength": rng.randrange(3, 9)}},
        "required": [name],
        "additionalProperties": False,
    }
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 12,
        "seed": number,
        "stream": rng.random() < 0.5,
    }
    match number % 3:
        case 0:
            wanted = {"name": "a", "schema": schema, "strict": True}
            return {**body, "response_format": {"type": "json_schema", "json_schema": wanted}}
        case 1:
            tool = {"name": name, "parameters": schema, "strict": True}
            return {**body, "tools": [{"type": "function", "function": tool}]}
        case _:
            grammar = {"syntax": "regex", "definition": f"{name}-[a-zé]{{1,9}}"}
            tool = {"name": name, "format": {"type": "grammar", "grammar": grammar}}
            choice = {"tool_choice": "required"}
            return {**body, "tools": [{"type": "custom", "custom": tool}], **choice}


async def ask(house: RealHouse, numbers: range) -> None:
    free = asyncio.Semaphore(AT_A_TIME)

    async def one(number: int) -> None:
        async with free:
            assert await house.choices(asked(number))

    await asyncio.gather(*map(one, numbers))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@pytest.mark.timeout(900)
async def test_ten_thousand_requests_leave_memory_as_it_was(
    engine: Any, make_tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    running = Running.of(HERMES, make_tokenizer, engine)
    async with running.house(schema_in_prompt=False) as house:
        await ask(house, range(WARM))
        before = resident()
        sampled = []
        for first in range(WARM, WARM + REQUESTS, 1_000):
            await ask(house, range(first, first + 1_000))
            sampled.append(resident())
    with capsys.disabled():
        print(f"\n{before:.0f} MiB, then each 1,000: " + " ".join(f"{at:.0f}" for at in sampled))
    # Less than 1 KiB for each of the later half: what was free in this process after other tests
    # may have filled until then.
    half = len(sampled) // 2
    assert sampled[-1] - sampled[half - 1] < REQUESTS / 2 / 1_024
