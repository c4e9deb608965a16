"""What the server adds to the raw step: the served rate over what the decode step allows.

    python -m tools.bench_overhead --model DIR --streams 16

In one run: the raw decode step (forward and sampling) of the checkpoint at as many rows as
there are streams, then `parlance serve` on it under a load of so many streams over HTTP, then
the raw step again, because a machine's speed drifts. The last line is one JSON object;
`share` is the served rate while all streams are answering over streams ÷ step time.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from model.loading import load_model
from model.mesh import make_mesh
from serve.config import bundled_model
from tools.bench_serve import measure
from tools.bench_step import Bench
from tools.load_generator import Load
from tools.served import Served


def median_bound(before: dict[float, float], after: dict[float, float]) -> float:
    """The smallest bucket bound that holds half of what came between two readings."""
    counts = {bound: after[bound] - before.get(bound, 0.0) for bound in after}
    total = max(counts.values())
    return min(bound for bound, count in counts.items() if count >= total / 2)


@click.command()
@click.option("--model", type=click.Path(path_type=Path), default=None, help="The checkpoint.")
@click.option("--streams", default=16, show_default=True)
@click.option("--prompt-tokens", default=58, show_default=True)
@click.option("--max-tokens", default=192, show_default=True, help="Tokens of each answer.")
@click.option("--rounds", default=1, show_default=True, help="Requests of each stream.")
@click.option("--repeats", default=30, show_default=True, help="Timed raw steps.")
@click.argument("flags", nargs=-1)
def main(
    model: Path | None,
    streams: int,
    prompt_tokens: int,
    max_tokens: int,
    rounds: int,
    repeats: int,
    flags: tuple[str, ...],
) -> None:
    """Compare the served rate with the raw step; FLAGS go to `parlance serve`."""
    directory = model or bundled_model()
    loaded = load_model(directory, make_mesh())
    bench = Bench(loaded.config, loaded.parameters, loaded.dtype, repeats)
    visible = prompt_tokens + max_tokens // 2
    with tqdm(total=3, desc="raw step", disable=None) as progress:
        steps = [bench.decode(streams, visible)]
        progress.update()
        progress.set_description("served")
        with Served(directory, flags) as server:
            load = Load(
                url=server.url,
                model="",
                streams=streams,
                requests=streams * rounds,
                max_tokens=max_tokens,
                temperature=1.0,
                extra={"top_p": 0.9},
                time_limit=1200.0,
            )
            before = server.histogram("parlance_step_host_seconds")
            figures = asyncio.run(measure(load, "", streams, prompt_tokens, ()))
            host = median_bound(before, server.histogram("parlance_step_host_seconds"))
            ready = server.ready_seconds
        progress.update()
        progress.set_description("raw step")
        steps.append(bench.decode(streams, visible))
        progress.update()
    step = sum(times["step"] for times in steps) / len(steps)
    rate = figures["full_load_chunks_per_second"]
    result: dict[str, Any] = {
        "streams": streams,
        "raw_step_ms": [round(1e3 * times["step"], 3) for times in steps],
        "raw_tokens_per_second": round(streams / step, 1),
        "served_tokens_per_second": rate,
        "share": round(rate * step / streams, 3) if rate else None,
        "host_ms_p50_at_most": 1e3 * host,
        "ready_seconds": ready,
        "load": figures,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
