"""How long each service tier waits under four times the load that a server can take.

    python -m tools.bench_tiers
    python -m tools.bench_tiers --rows 16 --others 64 --prompt-words 300

Starts a server and measures on it the time to the first token of requests of `priority`, one after
another: first alone, and then while four times as many others as there are rows run or wait at any
moment, half of them `default` and half `flex`. Each of those that has ended is followed by another,
and at last all are waited for. Times are told in steps too, as the server measures them. Prints a
summary, and as its last line one JSON object. It wants a machine that does nothing else: others
take more from a busy server than from one that rests.
"""

import asyncio
import itertools
import json
import random
import statistics
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
_WARM_UP = 10
_SETTLE_SECONDS = 5


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

    async def one_by_one(self, count: int) -> list[Outcome]:
        """Requests of `priority`, each some random time after the one before."""
        pause = random.Random(0)
        outcomes: list[Outcome] = []
        for _ in tqdm(range(count), desc="asking", unit="request", disable=None):
            await asyncio.sleep(pause.uniform(0, 0.3))
            outcomes.append(await self.ask(Tier.PRIORITY))
        return outcomes

    async def again_and_again(self, tier: Tier, until: asyncio.Event) -> list[Outcome]:
        """Requests of a tier, one after the other, the last one to its end too."""
        outcomes: list[Outcome] = []
        while not until.is_set():
            outcomes.append(await self.ask(tier))
        return outcomes


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
        await crowd.one_by_one(_WARM_UP)
        alone = await crowd.one_by_one(options["requests"])
        enough = asyncio.Event()
        others = [(Tier.DEFAULT, Tier.FLEX)[number % 2] for number in range(options["others"])]
        tasks = [asyncio.create_task(crowd.again_and_again(tier, enough)) for tier in others]
        await asyncio.sleep(_SETTLE_SECONDS)
        before = await _steps(http, url)
        outcomes = {tier: list[Outcome]() for tier in Tier}
        outcomes[Tier.PRIORITY] = await crowd.one_by_one(options["requests"])
        after = await _steps(http, url)
        enough.set()
        for tier, task in zip(others, tasks, strict=True):
            outcomes[tier] += await task
    step = (after[0] - before[0]) / (after[1] - before[1])
    unloaded = _first(alone)
    first = {tier.label: _first(outcomes[tier]) for tier in Tier}
    return {
        "rows": options["rows"],
        "others": options["others"],
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
@click.option("--requests", type=click.IntRange(1), default=40, help="Of priority.")
@click.option("--others", type=click.IntRange(2), default=32, help="Requests at the same time.")
@click.option("--flag", "flags", multiple=True, help="More of the server's command line.")
def main(model: Path | None, flags: tuple[str, ...], **options: Any) -> None:
    """Measure how long each tier waits under more load than a server can take."""
    command = ("--rows", str(options["rows"]), "--queue-limit", "100000", *flags)
    with Served(model or bundled_model(), command) as served:
        figures = asyncio.run(_measure(served.url, options))
    click.echo(
        f"first token of priority: {figures['unloaded_first_token_ms']} ms without the others, "
        f"{figures['priority_over_unloaded']} times that beside {options['others']} "
        f"others; flex waits {figures['flex_over_default']} times as long as default; "
        f"{'all' if figures['all_ended'] else 'not all'} ended"
    )
    click.echo(json.dumps(figures))


if __name__ == "__main__":
    main()
