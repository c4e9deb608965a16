"""An engine whose pages leave the device and come back: the same answers, and nothing compiled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from support.engines import bridged, engine_of, prompt_of, request
from support.waiting import until

from serve.engine.bridge import EngineBridge
from serve.engine.cache_tiers import CacheTiers
from serve.engine.engine import Engine
from serve.engine.page_files import PageDirectory

# Two layers, keys and values, two heads, four tokens of eight float32.
PAGE_BYTES = 2 * 2 * 2 * 4 * 8 * 4
PROMPT = prompt_of(1, 70)
# Few programs to compile.
SMALL = {"max_rows": 2, "prefill_chunk": 16}


@asynccontextmanager
async def started(engine: Engine) -> AsyncIterator[EngineBridge]:
    engine.start(lambda deliveries: None, lambda report: None, lambda *_: None)
    try:
        async with bridged(engine) as bridge:
            yield bridge
        assert engine.stats.compilations == 0
    finally:
        engine.stop()


async def answer(bridge: EngineBridge, prompt: list[int], **fields) -> tuple[list[int], int]:
    """Six tokens, and how many of the prompt were found."""
    asked = replace(request(prompt, 6, temperature=1.0, seed=5), **fields)
    generation, tokens = bridge.submit(asked), []
    async for events in generation:
        tokens += [event.token for event in events]
    return tokens, generation.cached_tokens


async def push_out(bridge: EngineBridge) -> None:
    """Have more pages computed than the pool has."""
    for seed in range(100, 104):
        await answer(bridge, prompt_of(seed, 70))


@pytest.mark.parametrize("deterministic", [False, True])
async def test_an_answer_is_the_same_from_host_memory(deterministic):
    cache_tiers = CacheTiers(200 * PAGE_BYTES, PAGE_BYTES)
    fields = {"cache_tokens": 160, "deterministic": deterministic, **SMALL}
    engine = engine_of(cache_tiers=cache_tiers, host_cache_bytes=200 * PAGE_BYTES, **fields)
    async with started(engine) as bridge:
        cold = await answer(bridge, PROMPT)
        await push_out(bridge)
        again = await answer(bridge, PROMPT)
        assert again == (cold[0], 64 if deterministic else 68)
        assert cold[1] == 0
    moved = engine.stats.cache.moved
    assert moved["from_host"] == again[1] // 4
    assert engine.stats.cache.host_bytes <= 200 * PAGE_BYTES
    assert engine.stats.cache.failures == {"save": 0, "write": 0, "read": 0}


async def written(directory: PageDirectory, pages: int) -> None:
    """Wait for pages, though nobody asks anything more."""
    await until(lambda: len(directory) >= pages, seconds=60)


async def test_an_answer_is_the_same_from_the_directory_after_a_restart(tmp_path):
    """Of 70 tokens of a prompt and the first five of its answer."""
    answers = []
    for _ in range(2):
        directory = PageDirectory(tmp_path, 2**20)
        directory.made_by("tiny")
        engine = engine_of(
            cache_tiers=CacheTiers(0, PAGE_BYTES, directory),
            has_page_directory=True,
            **SMALL,
        )
        async with started(engine) as bridge:
            others = asyncio.gather(*(answer(bridge, prompt_of(seed, 30)) for seed in range(3)))
            answers.append(await answer(bridge, PROMPT, cached_for_days=True))
            await others
            await written(directory, 75 // 4)
    (cold, none), (again, found) = answers
    assert again == cold
    assert (none, found) == (0, 68)
    assert engine.stats.cache.hits["directory", "none"] == found
    assert engine.stats.cache.failures == {"save": 0, "write": 0, "read": 0}
