"""What a content filter costs: throughput with one that never finds anything, against none.

    python -m tools.bench_filter --streams 64 --requests 128 --rounds 3

Starts two servers of the same model, one with words and patterns that no answer has, and sends
both the same load in turns, so that a machine that slows down slows both. Every answer is as long
as `--max-tokens` says. Prints a summary, and as its last line one JSON object.
"""

import asyncio
import json
import random
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from serve.config import bundled_model
from tools.bench_serve import measure
from tools.load_generator import Load, LoadError
from tools.served import Served

# Syllables that begin like words, so that text is held back as in earnest; each word ends with
# what no language has.
_BEGINNINGS = (
    *("the", "a", "in", "con", "re", "un", "ma", "to", "se", "li", "po", "an", "st", "be", "wh"),
    *("I", "you", "it", "day", "mor", "for"),
)
_END = "qxzj"


def made_up_filter(words: int, regexes: int, seed: int = 1) -> str:
    """A file of so many words and patterns that begin as texts do, and that no text has."""
    rng = random.Random(seed)
    listed = {f"{''.join(rng.choices(_BEGINNINGS, k=2))}{_END}{n}" for n in range(words)}
    patterns = [
        rf"\b{rng.choice(_BEGINNINGS)}[a-z]{{2,12}}{_END}[0-9]{n}\b" for n in range(regexes)
    ]
    lines = ["[made-up]", f"words = {json.dumps(sorted(listed))}"]
    return "\n".join([*lines, f"regexes = {json.dumps(patterns)}"]) + "\n"


async def _compare(load: Load, urls: dict[str, str], rounds: int, prompt: int) -> dict[str, Any]:
    rates: dict[str, list[float]] = {name: [] for name in urls}
    for name, url in _turns(urls, rounds):
        figures = await measure(replace(load, url=url), "", 4, prompt, ())
        if figures["completed"] < figures["requests"]:
            raise LoadError(f"requests failed: {figures['errors']}")
        rates[name].append(figures["tokens_per_second"])
    free, filtered = (statistics.median(rates[name]) for name in ("free", "filtered"))
    return {
        "streams": load.streams,
        "max_tokens": load.max_tokens,
        "tokens_per_second": rates,
        "share": round(filtered / free, 4),
    }


def _turns(urls: dict[str, str], rounds: int) -> Iterator[tuple[str, str]]:
    for number in range(rounds):
        # Whoever is second in one round is first in the next.
        yield from sorted(urls.items(), reverse=number % 2 == 1)


@click.command(context_settings={"show_default": True})
@click.option("--model", type=click.Path(path_type=Path), help="A checkpoint; else the bundled.")
@click.option("--streams", type=click.IntRange(1), default=64, help="Requests at a time.")
@click.option("--requests", type=click.IntRange(1), default=128, help="Requests a round.")
@click.option("--rounds", type=click.IntRange(1), default=3, help="Rounds of each kind.")
@click.option("--prompt-tokens", type=click.IntRange(1), default=58, help="Length of the prompts.")
@click.option("--max-tokens", type=click.IntRange(1), default=64, help="Length of the answers.")
@click.option("--words", type=click.IntRange(1), default=1_000, help="Words of the filter.")
@click.option("--regexes", type=click.IntRange(0), default=20, help="Patterns of the filter.")
def main(
    model: Path | None,
    streams: int,
    requests: int,
    rounds: int,
    prompt_tokens: int,
    max_tokens: int,
    words: int,
    regexes: int,
) -> None:
    """Compare filtered with free throughput."""
    load = Load("", "", streams, requests, max_tokens, 1.0, {"ignore_eos": True}, 600.0)
    model = model or bundled_model()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "filter.toml"
        path.write_text(made_up_filter(words, regexes), encoding="utf-8")
        filtering = ("--content-filter", str(path))
        flags = ("--rows", str(streams), "--store", "off")
        with Served(model, flags) as free, Served(model, (*flags, *filtering)) as filtered:
            urls = {"free": free.url, "filtered": filtered.url}
            try:
                figures = asyncio.run(_compare(load, urls, rounds, prompt_tokens))
            except LoadError as error:
                raise click.ClickException(str(error)) from error
    for name, rates in figures["tokens_per_second"].items():
        click.echo(f"{name}: {statistics.median(rates):.1f} tokens/s, rounds {rates}")
    click.echo(f"filtered is {figures['share']:.1%} of free")
    click.echo(json.dumps(figures))


if __name__ == "__main__":
    main()
