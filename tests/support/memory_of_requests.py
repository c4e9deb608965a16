"""How much memory thousands of constrained requests leave behind.

    python -m support.memory_of_requests RESULTS.json

Runs in a process of its own: what other tests have left of memory would hide, or be taken for, what
requests leave.
"""

import asyncio
import json
import random
import sys
from pathlib import Path
from typing import Any

from support.families import HERMES, VOCABULARY, Running
from support.real_house import RealHouse, random_engine
from support.resident import resident

from tests.serve.conftest import ByteTokenizer

REQUESTS = 10_000
# Requests until all that is kept is full: caches of compiled grammars, pools, the allocator.
WARM = 2_500
AT_A_TIME = 16


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


async def measured() -> list[float]:
    """MiB after the first `WARM` requests, and after each 1,000 of `REQUESTS` more."""
    engine = random_engine(VOCABULARY, rows=AT_A_TIME)
    try:
        async with Running.of(HERMES, ByteTokenizer, engine).house(schema_in_prompt=False) as house:
            await ask(house, range(WARM))
            sampled = [resident()]
            for first in range(WARM, WARM + REQUESTS, 1_000):
                await ask(house, range(first, first + 1_000))
                sampled.append(resident())
        return sampled
    finally:
        engine.stop()


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(asyncio.run(measured())))
