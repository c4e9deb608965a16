"""What pages from host memory and from a directory save, and what it costs to keep them.

    python -m tools.bench_cache_tiers --model runs/random-100m

Starts servers of its own, whose cache holds about three prompts. Measures the time to the first
token of long prompts that nobody has sent before, that have gone to host memory since, and that are
in the directory after a restart; all of them have to give the same text. Then it compares the
throughput of short requests, all different, on a server that keeps what leaves its pool with that
on one that does not; the two take turns. Its last line is one JSON object.
"""

import asyncio
import json
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import click
import httpx
from tqdm import tqdm

from tools.load_generator import Load, find_model, open_client, run_load, word_prompt, words_for
from tools.served import Served

_TIMEOUT_SECONDS = 600.0
_HOST_BYTES = 2 * 2**30
_ANSWER_TOKENS = 8
_KEPT = {"prompt_cache_retention": "24h"}
# What the template, and a prompt that is a little longer than asked for, may have.
_TEMPLATE_TOKENS = 128
# Of the throughput's requests.
_SHORT_WORDS, _SHORT_ANSWER = 60, 32


class Told(NamedTuple):
    """An answer: seconds to its first token, text, tokens of its prompt, and those found."""

    seconds: float
    text: str
    prompt: int
    cached: int


class Asker:
    """Sends prompts to one server, one at a time.

    Args:
        url: of its API.
        model: its name.
        fields: that each request has besides.
    """

    def __init__(self, url: str, model: str, **fields: object) -> None:
        self._url, self._model, self._fields = url, model, fields

    def ask(self, prompt: str | list[dict[str, Any]]) -> Told:
        """Have a prompt answered, or the parts of one."""
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": _ANSWER_TOKENS,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
            **self._fields,
        }
        seconds, text, given, cached = 0.0, "", 0, 0
        url, began = f"{self._url}/chat/completions", time.perf_counter()
        with httpx.stream("POST", url, json=body, timeout=_TIMEOUT_SECONDS) as response:
            if response.is_error:
                raise click.ClickException(f"the server answers {response.read().decode()}")
            for line in response.iter_lines():
                if not line.startswith("data: {"):
                    continue
                chunk = json.loads(line.removeprefix("data: "))
                for choice in chunk["choices"]:
                    told = choice["delta"].get("content") or ""
                    if told and not text:
                        seconds = time.perf_counter() - began
                    text += told
                if usage := chunk.get("usage"):
                    given = usage["prompt_tokens"]
                    cached = usage["prompt_tokens_details"]["cached_tokens"]
        return Told(seconds, text, given, cached)


class FirstTokens(NamedTuple):
    """Answers to the same prompts in the same order."""

    cold: list[Told]
    host: list[Told]
    directory: list[Told]

    def result(self) -> dict[str, object]:
        """What there is to tell of them."""
        cold, host, directory = (statistics.median(told.seconds for told in each) for each in self)
        texts = [[told.text for told in each] for each in self]
        return {
            "cold_seconds": round(cold, 3),
            "host_of_cold": round(host / cold, 3),
            "directory_of_cold": round(directory / cold, 3),
            "cached_tokens": [max(told.cached for told in each) for each in self],
            "same_text": texts[0] == texts[1] == texts[2],
        }


def first_tokens(model: Path, flags: tuple[str, ...], tokens: int, rounds: int) -> FirstTokens:
    """Ask the same prompts cold, from host memory, and from the directory after a restart."""
    with Served(model, flags) as server:
        name, words = asyncio.run(_calibrated(server.url, tokens))
        asker = Asker(server.url, name, **_KEPT)
        prompts = [word_prompt(words, seed=number) for number in range(rounds)]
        cold, host = [], []
        others = count(1_000)
        for prompt in tqdm(prompts, unit="prompt", disable=None):
            cold.append(asker.ask(prompt))
            for _ in range(4):
                asker.ask(word_prompt(words, seed=next(others)))
            host.append(asker.ask(prompt))
    with Served(model, flags) as server:
        asker = Asker(server.url, name, **_KEPT)
        # What is slow the first time has no part in this.
        asker.ask(word_prompt(words, seed=next(others)))
        return FirstTokens(cold, host, [asker.ask(prompt) for prompt in prompts])


async def _calibrated(url: str, tokens: int) -> tuple[str, int]:
    async with open_client("", ssl.create_default_context(), _TIMEOUT_SECONDS) as http:
        name = await find_model(http, url)
        load = _load(url, name, streams=1, requests=2, max_tokens=1)
        return name, await words_for(http, load, tokens)


def _load(url: str, model: str, streams: int, requests: int, max_tokens: int) -> Load:
    extra = {"ignore_eos": True}
    return Load(url, model, streams, requests, max_tokens, 0.0, extra, _TIMEOUT_SECONDS)


def throughput(urls: list[str], streams: int, rounds: int) -> list[float]:
    """Tokens a second of each server: medians of rounds in which they take turns."""
    found: list[list[float]] = [[] for _ in urls]
    prompts = (word_prompt(_SHORT_WORDS, seed=number) for number in count())
    # The first fills the pool.
    for number in tqdm(range(rounds + 1), unit="round", disable=None):
        for url, rates in zip(urls, found, strict=True):
            rate = asyncio.run(_rate(url, streams, prompts))
            if number:
                rates.append(rate)
    return [statistics.median(rates) for rates in found]


async def _rate(url: str, streams: int, prompts: Iterator[str]) -> float:
    async with open_client("", ssl.create_default_context(), _TIMEOUT_SECONDS) as http:
        model = await find_model(http, url)
    load = _load(url, model, streams, 4 * streams, _SHORT_ANSWER)
    clients = [
        open_client("", ssl.create_default_context(), _TIMEOUT_SECONDS) for _ in range(streams)
    ]
    began = time.perf_counter()
    outcomes = await run_load(clients, load, prompts, tqdm(disable=True))
    seconds = time.perf_counter() - began
    for client in clients:
        await client.aclose()
    if errors := [outcome.error for outcome in outcomes if outcome.error]:
        raise click.ClickException(f"a request failed: {errors[0]}")
    return sum(outcome.tokens for outcome in outcomes) / seconds


@click.command(help="Measure what the prompt cache's tiers save and cost, on servers of our own.")
@click.option("--model", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--tokens", default=1500, show_default=True, help="Length of the long prompts.")
@click.option("--streams", default=16, show_default=True, help="For the throughput.")
@click.option("--rounds", default=3, show_default=True, help="Medians are of so many.")
def main(model: Path, tokens: int, streams: int, rounds: int) -> None:
    """Run it."""
    host = ("--host-cache-bytes", str(_HOST_BYTES))
    context = tokens + _TEMPLATE_TOKENS
    small = ("--rows", str(streams), "--context", str(context))
    small += ("--cache-tokens", str(3 * context))
    with tempfile.TemporaryDirectory() as pages:
        flags = (*small, *host, "--cache-dir", pages)
        result = first_tokens(model, flags, tokens, rounds).result()
    with ExitStack() as servers:
        both = [servers.enter_context(Served(model, (*small, *each))) for each in ((), host)]
        without, with_it = throughput([server.url for server in both], streams, rounds)
    result |= {
        "prompt_tokens": tokens,
        "streams": streams,
        "tokens_per_second": round(without, 1),
        "throughput_of_without": round(with_it / without, 3),
    }
    print(json.dumps(result))
    if not result["same_text"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
