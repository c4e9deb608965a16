"""Times of the ways to multiply groups of rows by matrices of their own: experts.

    python -m tools.bench_experts --tokens 1,16,64,256

One projection of a mixture of experts in float32, every token going through experts drawn at
random. The floor is reading the matrices of the experts that were drawn once: a share of the
time of a product of every matrix with one row. Times are medians in milliseconds, ratios are
to the floor. `jax.lax.ragged_dot` multiplies every row by every matrix on a CPU and is left
out beyond `--ragged` tokens. The last line is one JSON object.
"""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import click
import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from model.grouped import LARGE_TILE, SMALL_TILE, dot_in_tiles
from tools.bench_sampler import median_ms, numbers

SMALL, LARGE = f"tiles of {SMALL_TILE}", f"tiles of {LARGE_TILE}"
RAGGED = "ragged_dot"
WAYS: dict[str, Callable[..., jax.Array]] = {
    SMALL: partial(dot_in_tiles, tile=SMALL_TILE),
    LARGE: partial(dot_in_tiles, tile=LARGE_TILE),
    RAGGED: jax.lax.ragged_dot,
}


def draw_sizes(
    generator: np.random.Generator, experts: int, chosen: int, tokens: int
) -> np.ndarray:
    """Rows of each expert, every token having drawn some."""
    drawn = [generator.choice(experts, chosen, replace=False) for _ in range(tokens)]
    return np.bincount(np.concatenate(drawn), minlength=experts).astype(np.int32)


def floor_ms(weights: jax.Array, repeats: int) -> float:
    """The time of reading all matrices once."""
    row = jnp.ones(weights.shape[:2])
    product = jax.jit(lambda row, weights: jnp.einsum("ei,eio->eo", row, weights))
    return median_ms(lambda _: product(row, weights), repeats)


@click.command()
@click.option("--experts", default=64, show_default=True)
@click.option("--chosen", default=8, show_default=True, help="Experts of a token.")
@click.option("--shape", callback=numbers, default="1024,768", show_default=True, help="In, out.")
@click.option("--tokens", callback=numbers, default="1,16,64,256", show_default=True)
@click.option("--ragged", default=64, show_default=True, help="Most tokens for ragged_dot.")
@click.option("--repeats", default=20, show_default=True, help="Timed runs; ragged_dot gets two.")
@click.option("--seed", default=0, show_default=True)
def main(
    experts: int,
    chosen: int,
    shape: list[int],
    tokens: list[int],
    ragged: int,
    repeats: int,
    seed: int,
) -> None:
    """Time one projection of a mixture of experts."""
    generator = np.random.default_rng(seed)
    wide, narrow = shape
    weights = jnp.asarray(generator.standard_normal((experts, wide, narrow), np.float32))
    result: dict[str, Any] = {
        "device": jax.devices()[0].device_kind,
        "weights": [experts, wide, narrow],
        "chosen": chosen,
        "counts": [],
    }
    with tqdm(tokens, unit="count", disable=None, leave=False) as progress:
        for count in progress:
            drawn = draw_sizes(generator, experts, chosen, count)
            x = jnp.asarray(generator.standard_normal((count * chosen, wide), np.float32))
            sizes, hit = jnp.asarray(drawn), int(np.count_nonzero(drawn))
            # Beside the others, since the machine's speed changes.
            floor = floor_ms(weights, repeats) * hit / experts
            row: dict[str, Any] = {"tokens": count, "hit": hit, "floor": round(floor, 3)}
            for name, way in WAYS.items():
                if name != RAGGED or count <= ragged:
                    jitted = jax.jit(way)
                    taken = median_ms(
                        lambda _, f=jitted, x=x, s=sizes: f(x, weights, s),
                        2 if name == RAGGED else repeats,
                    )
                    row[name] = {"ms": taken, "over_floor": round(taken / floor, 2)}
            result["counts"].append(row)
            progress.write(json.dumps(row))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
