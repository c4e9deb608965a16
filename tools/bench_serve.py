"""Load benchmark: measures any server of the chat-completions API over HTTP.

    python -m tools.bench_serve --url http://127.0.0.1:8000/v1 --streams 16 --requests 64

Prints a summary, and as its last line one JSON object. Owns the figures; `load_generator.py`
sends the requests.
"""

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import click
import httpx
import numpy as np
from tqdm import tqdm

from tools.load_generator import (
    Load,
    LoadError,
    Outcome,
    file_prompts,
    find_model,
    open_client,
    run_load,
    word_prompt,
    words_for,
)


def percentiles(seconds: Sequence[float]) -> dict[str, float] | None:
    """Percentiles in milliseconds; None where nothing was measured."""
    if not seconds:
        return None
    values = np.percentile(np.asarray(seconds) * 1000.0, (50, 90, 99, 100))
    names = ("p50", "p90", "p99", "max")
    return {name: round(float(value), 3) for name, value in zip(names, values, strict=True)}


def full_load_rate(outcomes: Sequence[Outcome], streams: int) -> float | None:
    """Chunks a second while every stream was answering; None where that never was so.

    The span runs from the first text of the last of the first `streams` requests to the first
    end of a request that no other one followed.
    """
    by_start = sorted(outcomes, key=lambda outcome: outcome.started)
    if len(by_start) < streams or any(not outcome.arrivals for outcome in by_start[:streams]):
        return None
    begin = max(outcome.arrivals[0] for outcome in by_start[:streams])
    # The last `streams` ends are those after which a worker found no more work.
    end = sorted(outcome.ended for outcome in outcomes)[-streams]
    inside = sum(begin < at <= end for outcome in outcomes for at in outcome.arrivals)
    return inside / (end - begin) if end > begin and inside else None


def summarize(load: Load, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The figures of a run, as the JSON line shows them."""
    good = [outcome for outcome in outcomes if not outcome.error]
    errors = Counter(outcome.error for outcome in outcomes if outcome.error)
    seconds = 0.0
    if outcomes:
        first = min(outcome.started for outcome in outcomes)
        seconds = max(outcome.ended for outcome in outcomes) - first
    tokens = sum(outcome.tokens for outcome in good)
    gaps = [
        later - earlier
        for outcome in good
        for earlier, later in itertools.pairwise(outcome.arrivals)
    ]
    rate = full_load_rate(good, min(load.streams, load.requests))
    return {
        "url": load.url,
        "model": load.model,
        "streams": load.streams,
        "requests": load.requests,
        "completed": len(good),
        "failed": sum(errors.values()),
        "given_up": load.requests - len(outcomes),
        "errors": dict(errors.most_common(5)),
        "seconds": round(seconds, 3),
        "prompt_tokens": sum(outcome.prompt_tokens for outcome in good),
        "completion_tokens": tokens,
        "tokens_from": "usage" if all(o.completion_tokens >= 0 for o in good) else "chunks",
        "tokens_per_second": round(tokens / seconds, 2) if seconds else 0.0,
        "full_load_chunks_per_second": None if rate is None else round(rate, 2),
        "requests_per_second": round(len(good) / seconds, 3) if seconds else 0.0,
        "ttft_ms": percentiles([o.arrivals[0] - o.started for o in good if o.arrivals]),
        "inter_token_ms": percentiles(gaps),
        "request_ms": percentiles([o.ended - o.started for o in good]),
    }


async def measure(
    load: Load, api_key: str, warmup: int, prompt_tokens: int, prompts: Sequence[str]
) -> dict[str, Any]:
    """Warm up, send the load, and return its figures.

    Args:
        load: what to send; without a model it is the first that the server lists.
        api_key: bearer token; empty for none.
        warmup: requests sent before and not measured.
        prompt_tokens: length of the made-up prompts.
        prompts: prompts to send in turn instead.

    Raises:
        LoadError: the server cannot be measured.
    """
    tls = httpx.create_ssl_context()
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(open_client(api_key, tls, load.time_limit))
            for _ in range(load.streams)
        ]
        if not load.model:
            load = replace(load, model=await find_model(clients[0], load.url))
        if prompts:
            texts = itertools.cycle(prompts)
        else:
            words = await words_for(clients[0], replace(load, max_tokens=1), prompt_tokens)
            texts = (word_prompt(words, seed) for seed in itertools.count())
        if warmup:
            with tqdm(total=warmup, desc="warm-up", unit="req", disable=None) as bar:
                outcomes = await run_load(clients, replace(load, requests=warmup), texts, bar)
            if all(outcome.error for outcome in outcomes):
                raise LoadError(
                    "every warm-up request failed: "
                    + (outcomes[0].error if outcomes else f"none ended in {load.time_limit:g} s")
                )
        spent = time.process_time()
        with tqdm(total=load.requests, desc="measuring", unit="req", disable=None) as bar:
            figures = summarize(load, await run_load(clients, load, texts, bar))
    share = (time.process_time() - spent) / figures["seconds"] if figures["seconds"] else 0.0
    return figures | {"client_cpu_share": round(share, 3)}


def describe(figures: Mapping[str, Any]) -> str:
    """The figures for a person."""
    requests = (
        f"{figures['completed']} of {figures['requests']} requests completed, "
        f"{figures['failed']} failed, {figures['given_up']} given up, "
        f"{figures['streams']} at a time, in {figures['seconds']} s"
    )
    rates = (
        f"{figures['tokens_per_second']} tokens/s, {figures['requests_per_second']} requests/s; "
        f"{figures['prompt_tokens']} prompt and {figures['completion_tokens']} answer tokens "
        f"(from {figures['tokens_from']})"
    )
    lines = [requests, rates]
    for key, words in (
        ("ttft_ms", "time to first token"),
        ("inter_token_ms", "between tokens"),
        ("request_ms", "whole request"),
    ):
        entry = cast("dict[str, float] | None", figures[key])
        if entry:
            shown = ", ".join(f"{name} {value:.1f}" for name, value in entry.items())
            lines.append(f"{words}, ms: {shown}")
    lines.extend(f"{count}x {error}" for error, count in figures["errors"].items())
    return "\n".join(lines)


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    # uvloop is not made for every platform; the client shares the cores with what it measures.
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.new_event_loop
    return new_event_loop


def _json_object(_: click.Context, __: click.Parameter, value: str) -> dict[str, Any]:
    try:
        parsed = json.loads(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise click.BadParameter(f"{value!r} is not a JSON object")
    return cast("dict[str, Any]", parsed)


@click.command(context_settings={"show_default": True, "max_content_width": 100})
@click.option("--url", default="http://127.0.0.1:8000/v1", help="Base address of the API.")
@click.option("--model", default="", help="Model to ask; empty for the first listed.")
@click.option(
    "--api-key",
    envvar="PARLANCE_API_KEY",
    default="",
    show_default=False,
    help="Bearer token; better given as PARLANCE_API_KEY.",
)
@click.option("--streams", type=click.IntRange(1, 4096), default=16, help="Requests at a time.")
@click.option(
    "--requests", type=click.IntRange(1, 1_000_000), default=64, help="Requests to measure."
)
@click.option("--warmup", type=click.IntRange(0), default=4, help="Requests before, not measured.")
@click.option(
    "--prompt-tokens",
    type=click.IntRange(1),
    default=64,
    help="Length of the made-up prompts, hit closely by measuring tokens per word.",
)
@click.option(
    "--prompt-file",
    type=click.Path(path_type=Path),
    help="Send the lines of this file in turn instead of made-up prompts.",
)
@click.option("--max-tokens", type=click.IntRange(1), default=64, help="Longest answer.")
@click.option(
    "--temperature", type=click.FloatRange(0, 2), help="Left to the server when not given."
)
@click.option(
    "--extra",
    default="{}",
    callback=_json_object,
    help="""JSON of further body fields, such as '{"ignore_eos": true}'.""",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(1),
    default=600.0,
    help="Seconds after which what still runs is given up.",
)
def main(
    url: str,
    api_key: str,
    warmup: int,
    prompt_tokens: int,
    prompt_file: Path | None,
    **load: Any,
) -> None:
    """Measure a server of the chat-completions API under load.

    Prints throughput, time to the first token, time between tokens, and errors; the last line is
    one JSON object. Exits with 1 when a request failed or was given up.
    """
    try:
        with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
            figures = runner.run(
                measure(
                    Load(url=url.rstrip("/"), **load),
                    api_key,
                    warmup,
                    prompt_tokens,
                    file_prompts(prompt_file) if prompt_file else (),
                )
            )
    except LoadError as error:
        raise click.UsageError(str(error)) from error
    click.echo(describe(figures))
    click.echo(json.dumps(figures))
    sys.exit(0 if figures["completed"] == figures["requests"] else 1)


if __name__ == "__main__":
    main()
