"""How long one caller waits while another fills all rows and the queue.

    python -m tools.bench_fairness
    python -m tools.bench_fairness --rows 32 --queue-limit 480

Starts a server, and measures the time to the first token of a short request on the idle server.
Then one caller keeps every row and the whole queue full with requests of 128 choices each, and
another sends the same short request time and again. The floor of each is three full steps, as the
server times them around it (they take longer as answers grow), and the time on the idle server: the
step that runs, the one that is dispatched already, and the one that has its prompt. Prints a
summary, and as its last line one JSON object.
"""

import asyncio
import json
import random
import statistics
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from tqdm import tqdm

from serve.config import bundled_model
from tools.load_generator import find_model, word_prompt
from tools.served import Served

_GREEDY_CHOICES = 128
_FULL_STEPS = 3
# So many requests are compared with the same mean of steps.
_WINDOW = 10
_WAIT_SECONDS = 120


class _Caller:
    """Sends requests of one user."""

    def __init__(self, http: httpx.AsyncClient, url: str, model: str, user: str) -> None:
        self._http = http
        self._url = f"{url}/chat/completions"
        self._fields = {"model": model, "user": user, "ignore_eos": True}
        self._prompts = (word_prompt(8, seed) for seed in range(10**9))

    async def ask(self, **fields: Any) -> None:
        """Ask, and wait for the whole answer, or for a place in the queue."""
        response = await self._http.post(self._url, json=self._body(fields))
        if response.status_code == 429:
            await asyncio.sleep(0.2)
        else:
            response.raise_for_status()

    async def first_token(self, **fields: Any) -> float:
        """Seconds until the first token of a stream has come."""
        began, first = time.perf_counter(), 0.0
        body = self._body({**fields, "stream": True})
        async with self._http.stream("POST", self._url, json=body) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if not first and '"delta": {"content"' in line.replace('":{', '": {'):
                    first = time.perf_counter() - began
        return first

    def _body(self, fields: dict[str, Any]) -> dict[str, Any]:
        messages = [{"role": "user", "content": next(self._prompts)}]
        return {**self._fields, "messages": messages, **fields}


async def _metric(http: httpx.AsyncClient, root: str, name: str) -> float:
    text = (await http.get(f"{root}/metrics")).text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name:
                return sample.value
    raise click.ClickException(f"the server's metrics have no {name}")


@asynccontextmanager
async def _filled(
    greedy: _Caller, http: httpx.AsyncClient, root: str, rows: int, queue: int
) -> AsyncGenerator[None]:
    """The server, full with requests of one caller."""

    async def again_and_again() -> None:
        while True:
            await greedy.ask(n=_GREEDY_CHOICES, max_tokens=1000)

    tasks = [
        asyncio.create_task(again_and_again()) for _ in range(2 + (rows + queue) // _GREEDY_CHOICES)
    ]
    deadline = time.perf_counter() + _WAIT_SECONDS
    while (
        await _metric(http, root, "parlance_engine_running") < rows
        or await _metric(http, root, "parlance_engine_waiting") < queue // 2
    ):
        if time.perf_counter() > deadline:
            raise click.ClickException("the greedy caller does not fill the server")
        await asyncio.sleep(0.1)
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _measure(url: str, requests: int, rows: int, queue: int) -> dict[str, Any]:
    root = url.removesuffix("/v1")
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(trust_env=False, timeout=600, limits=limits) as http:
        model = await find_model(http, url)
        short = _Caller(http, url, model, "short")
        idle = [await short.first_token(max_tokens=3) for _ in range(40)][10:]
        taken: list[float] = []
        steps: list[float] = []
        pause = random.Random(0)
        async with _filled(_Caller(http, url, model, "greedy"), http, root, rows, queue):
            before = await _steps(http, root)
            for number in tqdm(range(requests), desc="asking", unit="request", disable=None):
                # At any moment of a step.
                await asyncio.sleep(pause.uniform(0, 0.05))
                taken.append(await short.first_token(max_tokens=3))
                if number % _WINDOW == _WINDOW - 1 or number == requests - 1:
                    after = await _steps(http, root)
                    step = (after[0] - before[0]) / (after[1] - before[1])
                    steps += [step] * (len(taken) - len(steps))
                    before = after
    alone = statistics.median(idle)
    over = [first / (_FULL_STEPS * step + alone) for first, step in zip(taken, steps, strict=True)]
    return {
        "rows": rows,
        "queue_limit": queue,
        "requests": requests,
        "idle_first_token_ms": round(1e3 * alone, 2),
        "full_step_ms": round(1e3 * statistics.mean(steps), 2),
        "first_token_ms": _percentiles([1e3 * first for first in taken]),
        "over_floor": _percentiles(over),
    }


async def _steps(http: httpx.AsyncClient, root: str) -> tuple[float, float]:
    """Seconds and number of the steps so far."""
    return (
        await _metric(http, root, "parlance_step_seconds_sum"),
        await _metric(http, root, "parlance_step_seconds_count"),
    )


def _percentiles(values: list[float]) -> dict[str, float]:
    found = np.percentile(values, (50, 95, 100))
    return {
        name: round(float(value), 3)
        for name, value in zip(("p50", "p95", "max"), found, strict=True)
    }


@click.command(context_settings={"show_default": True})
@click.option("--model", type=click.Path(path_type=Path), help="Checkpoint; the bundled one.")
@click.option("--rows", type=click.IntRange(1), default=32, help="Rows of the server.")
@click.option("--queue-limit", type=click.IntRange(1), default=480, help="Its queue.")
@click.option("--requests", type=click.IntRange(1), default=200, help="Short requests.")
def main(model: Path | None, rows: int, queue_limit: int, requests: int) -> None:
    """Measure how long a short request waits beside a caller who fills the server."""
    flags = ("--rows", str(rows), "--queue-limit", str(queue_limit))
    with Served(model or bundled_model(), flags) as served:
        figures = asyncio.run(_measure(served.url, requests, rows, queue_limit))
    click.echo(
        f"first token: {figures['idle_first_token_ms']} ms idle, {figures['first_token_ms']} ms "
        f"beside a caller who fills all; a full step takes {figures['full_step_ms']} ms"
    )
    click.echo(json.dumps(figures))


if __name__ == "__main__":
    main()
