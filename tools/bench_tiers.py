"""How long each service tier waits under four times the load that a server can take.

    python -m tools.bench_tiers
    python -m tools.bench_tiers --rows 8 --prompt-words 150 --max-tokens 64

Starts a server and measures on it how many requests a second are answered where all rows are taken.
Then so many times as many come, each at a random moment and of a random tier, and the time to the
first token is measured for each tier, until all have ended. Before that those of `priority` come
at the same moments without the others: that is what is called unloaded. Times are told in steps
too, as the server measures them. Prints a summary, and as its last line one JSON object. It wants a
machine that does nothing else: others take more from a busy server than from one that rests.
"""

import asyncio
import itertools
import json
import random
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import httpx
from prometheus_client.parser import text_string_to_metric_families
from tqdm import tqdm

from serve.config import bundled_model
from serve.engine.types import Tier
from tools.load_generator import Load, Outcome, ask, find_model, word_prompt
from tools.served import Served

_TIME_LIMIT = 1800


class _Crowd:
    """Sends requests of one length.

    Args:
        http: the connections.
        load: what is sent, but for the tier.
        words: of each prompt.
    """

    def __init__(self, http: httpx.AsyncClient, load: Load, words: int) -> None:
        self._http = http
        self._load = load
        self._prompts: Iterator[str] = (word_prompt(words, seed) for seed in itertools.count())

    async def ask(self, tier: Tier) -> Outcome:
        """A request and its answer."""
        extra = {"ignore_eos": True, "service_tier": tier.label}
        outcome = await ask(self._http, replace(self._load, extra=extra), next(self._prompts))
        if outcome.error or outcome.completion_tokens != self._load.max_tokens:
            raise click.ClickException(f"a request failed: {outcome.error or outcome}")
        return outcome

    async def capacity(self, rows: int, seconds: float) -> float:
        """Requests that are answered in a second where all rows are taken."""
        ended: list[float] = []
        began = time.perf_counter()

        async def again_and_again() -> None:
            while time.perf_counter() - began < seconds:
                ended.append((await self.ask(Tier.DEFAULT)).ended)

        async with asyncio.TaskGroup() as group:
            for _ in range(rows):
                group.create_task(again_and_again())
        # What began late ends beside empty rows.
        within = [each for each in ended if each - began < seconds]
        return len(within) / seconds

    async def arrive(self, arrivals: list[tuple[float, Tier]]) -> dict[Tier, list[Outcome]]:
        """Requests at their times; their outcomes when all have ended."""
        tasks: list[tuple[Tier, asyncio.Task[Outcome]]] = []
        began = time.perf_counter()
        for due, tier in tqdm(arrivals, desc="asking", unit="request", disable=None):
            await asyncio.sleep(max(0.0, began + due - time.perf_counter()))
            tasks.append((tier, asyncio.create_task(self.ask(tier))))
        outcomes: dict[Tier, list[Outcome]] = {tier: [] for tier in Tier}
        for tier, task in tqdm(tasks, desc="answered", unit="request", disable=None):
            outcomes[tier].append(await task)
        return outcomes


def _arrivals(rate: float, seconds: float, priority_share: float) -> list[tuple[float, Tier]]:
    """When who comes, of so many a second: at random moments, and of random tiers."""
    rng = random.Random(0)
    others = (1 - priority_share) / 2
    due = itertools.accumulate(rng.expovariate(rate) for _ in itertools.count())
    return [
        (moment, rng.choices(list(Tier), [priority_share, others, others])[0])
        for moment in itertools.takewhile(lambda moment: moment < seconds, due)
    ]


async def _steps(http: httpx.AsyncClient, url: str) -> tuple[float, float]:
    """Seconds and number of the steps so far."""
    text = (await http.get(f"{url.removesuffix('/v1')}/metrics")).text
    values = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    return values["parlance_step_seconds_sum"], values["parlance_step_seconds_count"]


def _first(outcomes: list[Outcome]) -> float:
    """The median time to the first token."""
    return statistics.median(each.arrivals[0] - each.started for each in outcomes)


async def _measure(url: str, options: dict[str, Any]) -> dict[str, Any]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        headers={"Content-Type": "application/json"},
        trust_env=False,
        timeout=_TIME_LIMIT,
        limits=limits,
    ) as http:
        load = Load(url, await find_model(http, url), 0, 0, options["max_tokens"], 0.0, {}, 0)
        crowd = _Crowd(http, load, options["prompt_words"])
        rate = await crowd.capacity(options["rows"], options["seconds"])
        arrivals = _arrivals(
            options["overload"] * rate, options["seconds"], options["priority_share"]
        )
        alone = await crowd.arrive([each for each in arrivals if each[1] is Tier.PRIORITY])
        before = await _steps(http, url)
        outcomes = await crowd.arrive(arrivals)
        after = await _steps(http, url)
    step = (after[0] - before[0]) / (after[1] - before[1])
    unloaded = _first(alone[Tier.PRIORITY])
    first = {tier.label: _first(outcomes[tier]) for tier in Tier}
    return {
        "rows": options["rows"],
        "answered_per_second": round(rate, 2),
        "asked": {tier.label: len(outcomes[tier]) for tier in Tier},
        "unloaded_first_token_ms": round(1e3 * unloaded, 2),
        "step_ms": round(1e3 * step, 2),
        "first_token_ms": {name: round(1e3 * value, 2) for name, value in first.items()},
        "first_token_steps": {name: round(value / step, 2) for name, value in first.items()},
        "priority_over_unloaded": round(first["priority"] / unloaded, 3),
        "flex_over_default": round(first["flex"] / first["default"], 3),
        "all_ended": all(each.completion_tokens > 0 for of in outcomes.values() for each in of),
    }


@click.command(context_settings={"show_default": True})
@click.option("--model", type=click.Path(path_type=Path), help="Checkpoint; the bundled one.")
@click.option("--rows", type=click.IntRange(1), default=8, help="Rows of the server.")
@click.option("--prompt-words", type=click.IntRange(1), default=150, help="Of each prompt.")
@click.option("--max-tokens", type=click.IntRange(1), default=64, help="Of each answer.")
@click.option("--seconds", type=click.FloatRange(1), default=30, help="Of each load.")
@click.option("--overload", type=click.FloatRange(1), default=4, help="Times what is answered.")
@click.option("--priority-share", type=click.FloatRange(0, 1), default=0.05, help="Of requests.")
@click.option("--flag", "flags", multiple=True, help="More of the server's command line.")
def main(model: Path | None, flags: tuple[str, ...], **options: Any) -> None:
    """Measure how long each tier waits under more load than a server can take."""
    command = ("--rows", str(options["rows"]), "--queue-limit", "100000", *flags)
    with Served(model or bundled_model(), command) as served:
        figures = asyncio.run(_measure(served.url, options))
    click.echo(
        f"first token of priority: {figures['unloaded_first_token_ms']} ms without the others, "
        f"{figures['priority_over_unloaded']} times that under {options['overload']} times the "
        f"load; flex waits {figures['flex_over_default']} times as long as default; "
        f"{'all' if figures['all_ended'] else 'not all'} ended"
    )
    click.echo(json.dumps(figures))


if __name__ == "__main__":
    main()
