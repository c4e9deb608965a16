"""Engines with a tiny random model, and what they are asked in tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
from support.tiny import TINY, tiny_model
from support.waiting import until

from model.loading import LoadedModel
from sampling.params import SamplingParams
from serve.engine.bridge import EngineBridge
from serve.engine.cache_tiers import CacheTiers
from serve.engine.config import EngineConfig
from serve.engine.engine import Engine
from serve.engine.runner import Runner
from serve.engine.types import EngineInfo, GenerationRequest, TokenEvent

CONTEXT = 96


def engine_of(
    model: LoadedModel | None = None, cache_tiers: CacheTiers | None = None, **fields
) -> Engine:
    defaults = {
        "context_length": CONTEXT,
        "cache_tokens": 512,
        "max_rows": 8,
        "page_size": 4,
        "prefill_chunk": 32,
        "check_integrity": True,
        "end_ids": 20,
    }
    config = EngineConfig(**(defaults | fields))
    model = model or tiny_model()
    names = () if model.adapters is None else model.adapters.names
    info = EngineInfo(CONTEXT, TINY.vocab_size, "fp_test", adapters=names)
    return Engine(Runner(model, config), config, info, cache_tiers)


@asynccontextmanager
async def bridged(engine: Engine) -> AsyncIterator[EngineBridge]:
    bridge = EngineBridge(engine)
    engine._listener = bridge.on_step
    yield bridge
    await until(lambda: not (engine.stats.running or engine.stats.waiting), seconds=60)
    stats = engine.stats
    assert stats.pages_free + stats.pages_cached == stats.pages_total
    assert bridge.open == 0


_names = iter(range(1_000_000))


def request(prompt: list[int], tokens: int, **fields) -> GenerationRequest:
    choices = fields.pop("choices", 1)
    end_ids = fields.pop("end_ids", frozenset())
    constraint = fields.pop("constraint", None)
    adapter = fields.pop("adapter", None)
    return GenerationRequest(
        f"r{next(_names)}",
        prompt,
        SamplingParams(**fields),
        tokens,
        choices,
        end_ids,
        constraint,
        adapter=adapter,
    )


async def events_of(bridge: EngineBridge, asked: GenerationRequest) -> list[list[TokenEvent]]:
    found: list[list[TokenEvent]] = [[] for _ in range(asked.choices)]
    async for events in bridge.submit(asked):
        for event in events:
            found[event.choice].append(event)
    return found


async def answers(bridge: EngineBridge, asked: GenerationRequest) -> list[list[int | None]]:
    found = await events_of(bridge, asked)
    return [[event.token for event in choice] for choice in found]


def prompt_of(seed: int, length: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, TINY.vocab_size, length).tolist()
