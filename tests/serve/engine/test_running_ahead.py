"""How far the engine runs ahead of the device: one step beyond the one that runs."""

import asyncio
import threading
from collections.abc import Callable

import pytest
from support.engines import answers, bridged, prompt_of, request
from support.waiting import until

from serve.engine.engine import Engine

CHUNK = 32


class Gated:
    """What a chunk amid a prompt picks, which the device has not done before a gate is opened."""

    def __init__(self, gate: threading.Event) -> None:
        self.gate = gate

    def is_ready(self) -> bool:
        return self.gate.is_set()

    def block_until_ready(self) -> None:
        self.gate.wait()


class GatedDevice:
    """Runs an engine's prompts, and says that whole chunks are done when its gate is opened."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.starts: list[list[int]] = []

    def gated(self, program: Callable) -> Callable:
        def run(parameters, cache, last, inputs, picks):
            picked, hidden, cache = program(parameters, cache, last, inputs, picks)
            positions = inputs.tokens[2]
            chunks = [positions[first] for _, first, count in inputs.rows.T if count > 1]
            if chunks:
                self.starts.append([int(start) for start in chunks])
            whole = len(chunks) == 1 and (positions >= 0).sum() == CHUNK
            return Gated(self.gate) if whole else picked, hidden, cache

        return run


@pytest.fixture
def engine(engines) -> Engine:
    return engines[False]


@pytest.fixture
def device(engine, monkeypatch):
    made, programs = GatedDevice(), engine._runner._programs
    for key in [key for key in programs if key[0] == "forward"]:
        monkeypatch.setitem(programs, key, made.gated(programs[key]))
    yield made
    made.gate.set()


async def test_chunks_run_ahead_by_one_and_a_cancel_stops_them(engine, device):
    async with bridged(engine) as bridge:
        long = bridge.submit(request(prompt_of(901, 90), 1))
        await until(lambda: len(device.starts) >= 2)
        await asyncio.sleep(0.05)
        assert device.starts == [[0], [32]]

        # The device still runs the first chunk, and the long prompt has gone all the same.
        long.cancel()
        await until(lambda: not engine.stats.running)
        assert engine.stats.pages_free + engine.stats.pages_cached == engine.stats.pages_total

        short = asyncio.create_task(answers(bridge, request(prompt_of(902, 5), 3)))
        await until(lambda: engine.stats.waiting == 1)
        device.gate.set()
        assert len((await short)[0]) == 3
    assert device.starts == [[0], [32], [0]]


async def test_a_short_prompt_goes_with_the_next_chunk_of_a_long_one(engine, device):
    async with bridged(engine) as bridge:
        long = asyncio.create_task(answers(bridge, request(prompt_of(903, 90), 2)))
        await until(lambda: len(device.starts) == 2)
        short = asyncio.create_task(answers(bridge, request(prompt_of(904, 5), 2)))
        await until(lambda: engine.stats.waiting == 1)
        device.gate.set()
        await asyncio.gather(short, long)
    assert device.starts == [[0], [32], [0, 64]]
