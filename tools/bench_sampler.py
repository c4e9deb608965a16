"""Times of the sampling step, rule by rule, and of ways to truncate the vocabulary.

    python -m tools.bench_sampler --vocab 32000,152000,262144 --rows 1,16,64

`rules` times the compiled step that the engine runs, every row using the named rule, and in
the last place the call for log-probabilities. `ways` times top_k and top_p alone, as they are,
top_k by a search, which is another way on a CPU, and both by sorting.
Times are medians in milliseconds over normal logits of spread 3, which are flatter than a
model's. The last line is one JSON object.
"""

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import click
import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from sampling import by_sort, top_k, transforms
from sampling.batch import Choice, bias_of, empty_rows, load_bias, load_rows, row_settings
from sampling.logprobs import top_logprobs
from sampling.params import SamplingParams
from sampling.sampler import sample

SPREAD = 3.0
BIAS = tuple((7 * token, float(token % 5)) for token in range(1024))
RULES: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "plain": {},
    "logit_bias": {"logit_bias": BIAS},
    "penalties": {"frequency_penalty": 0.5, "presence_penalty": 0.1},
    "repetition_penalty": {"repetition_penalty": 1.1},
    "ignore_eos": {"ignore_eos": True},
    "top_k 50": {"top_k": 50},
    "top_p 0.9": {"top_p": 0.9},
    "min_p 0.05": {"min_p": 0.05},
    "all": {
        "temperature": 0.8,
        "logit_bias": BIAS,
        "frequency_penalty": 0.5,
        "presence_penalty": 0.1,
        "ignore_eos": True,
        "top_k": 50,
        "top_p": 0.9,
        "min_p": 0.05,
    },
}


def median_ms(run: Callable[[int], Any], repeats: int) -> float:
    """Median time of `run(i)`, whose result is waited for, after one warm-up."""
    jax.block_until_ready(run(0))
    times: list[float] = []
    for index in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(run(index))
        times.append(time.perf_counter() - began)
    return round(1e3 * statistics.median(times), 3)


def many_logits(rows: int, vocab: int) -> list[jax.Array]:
    """Logits that take turns, since how long a search takes depends on them."""
    return [
        SPREAD * jax.random.normal(jax.random.key(seed), (rows, vocab), jnp.float32)
        for seed in range(4)
    ]


def rule_times(rows: int, vocab: int, repeats: int) -> dict[str, float]:
    """The sampling step with each rule."""
    logits = many_logits(rows, vocab)
    slots = np.arange(rows, dtype=np.int32)
    where = np.stack([slots, slots + 100])
    state = empty_rows(rows, vocab)
    began = time.perf_counter()
    step = jax.jit(sample, donate_argnums=0).lower(state, logits[0], where).compile()
    found = {"compile s": round(time.perf_counter() - began, 2)}

    def run(index: int) -> jax.Array:
        nonlocal state
        state, tokens = step(state, logits[index % len(logits)], where)
        return tokens

    for name, fields in RULES.items():
        params = [SamplingParams(seed=seed, **fields) for seed in range(rows)]
        loaded = [Choice(each, 0, 100, (1, 2)) for each in params]
        state = load_rows(state, jnp.asarray(slots), row_settings(loaded, rows))
        state = load_bias(state, jnp.asarray(slots), bias_of(params, rows))
        found[name] = median_ms(run, repeats)
    alternatives = jax.jit(top_logprobs)
    tokens = jnp.zeros(rows, jnp.int32)
    found["logprobs"] = median_ms(lambda i: alternatives(logits[i % len(logits)], tokens), repeats)
    return found


def way_times(rows: int, vocab: int, repeats: int) -> dict[str, float]:
    """Each way to truncate alone, logits in and out."""
    logits = many_logits(rows, vocab)
    few = jnp.full(rows, 50)
    mass = jnp.full(rows, 0.9, jnp.float32)
    ways: dict[str, tuple[Callable[..., jax.Array], jax.Array, int]] = {
        "top_k 50": (top_k.keep_top_k, few, repeats),
        "top_k 50, search": (top_k.keep_top_k_by_search, few, repeats),
        "top_k 50, sort": (by_sort.keep_top_k_by_sort, few, 2),
        "top_p 0.9": (transforms.keep_top_p, mass, repeats),
        "top_p 0.9, sort": (by_sort.keep_top_p_by_sort, mass, 2),
    }
    found: dict[str, float] = {}
    for name, (way, setting, times) in ways.items():
        jitted = jax.jit(way)
        found[name] = median_ms(lambda i, f=jitted, s=setting: f(logits[i % 4], s), times)
    return found


def numbers(context: click.Context, option: click.Parameter, value: str) -> list[int]:
    """An option that is a list of numbers: `1,16,64`."""
    del context, option
    try:
        return [int(part) for part in value.split(",")]
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a list of numbers like 1,16,64") from error


@click.command()
@click.option("--vocab", callback=numbers, default="32000,152000,262144", show_default=True)
@click.option("--rows", callback=numbers, default="1,16,64", show_default=True)
@click.option("--repeats", default=20, show_default=True, help="Timed runs; sorts get two.")
@click.option("--ways/--no-ways", default=True, show_default=True, help="Time bisection and sorts.")
def main(vocab: list[int], rows: list[int], repeats: int, ways: bool) -> None:
    """Time the sampler."""
    shapes = [(count, size) for size in vocab for count in rows]
    result: dict[str, Any] = {"device": jax.devices()[0].device_kind, "shapes": []}
    with tqdm(shapes, unit="shape", disable=None) as progress:
        for count, size in progress:
            row: dict[str, Any] = {"rows": count, "vocab": size}
            row["rules"] = rule_times(count, size, repeats)
            if ways:
                row["ways"] = way_times(count, size, repeats)
            result["shapes"].append(row)
            progress.write(json.dumps(row))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
