"""What grammars cost: throughput with every stream held to a JSON schema, against none.

    python -m serve --model DIRECTORY --no-schema-in-prompt
    python -m tools.bench_structured --streams 16 --rounds 3

Rounds with and without a schema take turns, so that a machine that slows down slows both. Every
answer is as long as `--max-tokens` says. Prints a summary with the server's own times of masks,
and as its last line one JSON object. Knows nothing of how a load is sent: see `bench_serve.py`.
"""

import asyncio
import json
import statistics
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import click
import httpx
from prometheus_client.parser import text_string_to_metric_families

from tools.bench_serve import measure
from tools.load_generator import Load, LoadError

# Longer than any answer: neither side ends before the bound.
SCHEMA = {
    "type": "array",
    "minItems": 10_000,
    "items": {
        "type": "object",
        "properties": {
            "id": {"type": "integer", "minimum": 0, "maximum": 99_999},
            "name": {"type": "string", "minLength": 8, "maxLength": 40},
            "color": {"enum": ["red", "green", "blue", None]},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "maxItems": 4},
            "score": {"type": "number", "minimum": 0, "maximum": 1},
        },
        "required": ["id", "name", "color", "tags", "score"],
        "additionalProperties": False,
    },
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "items", "strict": True, "schema": SCHEMA}}
_BUCKETS = "parlance_mask_seconds"

Buckets = list[tuple[float, float]]


def mask_buckets(metrics: str) -> Buckets:
    """(upper bound, masks that took no longer) from a server's metrics, the last bound infinite.

    Raises:
        LoadError: the server does not time masks.
    """
    for family in text_string_to_metric_families(metrics):
        if family.name == _BUCKETS:
            return [
                (float(sample.labels["le"]), sample.value)
                for sample in family.samples
                if sample.name == f"{_BUCKETS}_bucket"
            ]
    raise LoadError(f"the server's metrics have no {_BUCKETS}; is it Parlance?")


def quantile(before: Buckets, after: Buckets, share: float) -> float | None:
    """The time that `share` of the masks between two readings took at most, by interpolation."""
    counts = [
        (bound, late - early) for (_, early), (bound, late) in zip(before, after, strict=True)
    ]
    total = counts[-1][1]
    if not total:
        return None
    for (low, below), (high, reached) in pairwise([(0.0, 0.0), *counts]):
        if reached >= share * total:
            if high == float("inf"):
                return low
            return low + (high - low) * (share * total - below) / max(reached - below, 1)
    return None


async def _compare(load: Load, root: str, rounds: int, prompt_tokens: int) -> dict[str, Any]:
    async with httpx.AsyncClient(trust_env=False) as http:

        async def masks() -> Buckets:
            return mask_buckets((await http.get(f"{root}/metrics")).text)

        before = await masks()
        rates: dict[str, list[float]] = {"free": [], "constrained": []}
        for _ in range(rounds):
            for name, extra in (("free", {}), ("constrained", {"response_format": FORMAT})):
                asked = replace(load, extra={"ignore_eos": True, **extra})
                figures = await measure(asked, "", 4, prompt_tokens, ())
                if figures["completed"] < figures["requests"]:
                    raise LoadError(f"requests failed: {figures['errors']}")
                rates[name].append(figures["tokens_per_second"])
        after = await masks()
    free, constrained = (statistics.median(rates[name]) for name in rates)
    seconds = {name: quantile(before, after, share) for name, share in _SHARES}
    return {
        "streams": load.streams,
        "max_tokens": load.max_tokens,
        "tokens_per_second": rates,
        "share": round(constrained / free, 4),
        "masks": after[-1][1] - before[-1][1],
        "mask_ms": {n: None if s is None else round(1e3 * s, 3) for n, s in seconds.items()},
    }


_SHARES: Sequence[tuple[str, float]] = (("p50", 0.5), ("p99", 0.99))


@click.command(context_settings={"show_default": True})
@click.option("--url", default="http://127.0.0.1:8000/v1", help="Base address of the API.")
@click.option("--streams", type=click.IntRange(1), default=16, help="Requests at a time.")
@click.option("--requests", type=click.IntRange(1), default=32, help="Requests a round.")
@click.option("--rounds", type=click.IntRange(1), default=3, help="Rounds of each kind.")
@click.option("--prompt-tokens", type=click.IntRange(1), default=58, help="Length of the prompts.")
@click.option("--max-tokens", type=click.IntRange(1), default=64, help="Length of the answers.")
def main(
    url: str, streams: int, requests: int, rounds: int, prompt_tokens: int, max_tokens: int
) -> None:
    """Compare constrained with unconstrained throughput on a running server."""
    base = url.rstrip("/")
    load = Load(base, "", streams, requests, max_tokens, 1.0, {}, 600.0)
    try:
        figures = asyncio.run(_compare(load, base.removesuffix("/v1"), rounds, prompt_tokens))
    except (LoadError, httpx.HTTPError) as error:
        raise click.ClickException(str(error)) from error
    for name, rates in figures["tokens_per_second"].items():
        click.echo(f"{name}: {statistics.median(rates):.1f} tokens/s, rounds {rates}")
    click.echo(f"constrained is {figures['share']:.1%} of free; masks, ms: {figures['mask_ms']}")
    click.echo(json.dumps(figures))


if __name__ == "__main__":
    main()
