"""How fast and in how little memory a published checkpoint is loaded.

    python -m tools.bench_load                     # makes 2 GB in a temporary directory
    python -m tools.bench_load --model DIRECTORY   # one that is there

Each round reads the same warm files three times: with `cat`, which re-uses one small buffer
and is the rate at which the files can be read at all; by a plain copy of their bytes into fresh
memory, the floor of any loader, whose result has to lie somewhere; and with `load_model`. Memory
is what the process held more at the worst moment of a load than before it. The last line is one
JSON object.
"""

import json
import math
import mmap
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from model.loading import load_model
from model.mesh import make_mesh
from model.weights.copying import empty_aligned
from tools.published_checkpoint import tensor_shapes, write_checkpoint

SHAPE: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_act": "silu",
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "max_position_embeddings": 4096,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
    "vocab_size": 64_000,
}
PIECE_BYTES = 8 << 20


def make_checkpoint(directory: Path, gigabytes: float, shards: int, seed: int) -> None:
    """Write a random bfloat16 checkpoint of about this size."""
    base, more = (_sizes(layers) for layers in (1, 2))
    layer = sum(more.values()) - sum(base.values())
    layers = max(1, 1 + round((gigabytes * 1e9 - sum(base.values())) / layer))
    config = SHAPE | {"num_hidden_layers": layers}
    shapes, sizes = tensor_shapes(config), _sizes(layers)
    generator = np.random.default_rng(seed)
    with tqdm(
        total=sum(sizes.values()), desc="drawing", unit="B", unit_scale=True, disable=None
    ) as bar:

        def draw(name: str) -> np.ndarray:
            bar.update(sizes[name])
            values = generator.standard_normal(shapes[name], np.float32) * 0.02
            return values.astype(jnp.bfloat16)

        write_checkpoint(directory, config, sizes, draw, shards)


def _sizes(layers: int) -> dict[str, int]:
    shapes = tensor_shapes(SHAPE | {"num_hidden_layers": layers})
    return {name: 2 * math.prod(shape) for name, shape in shapes.items()}


def seconds(run: Callable[[], Any]) -> float:
    """How long `run` takes; what it returns is freed after the clock has stopped."""
    began = time.perf_counter()
    result = run()
    taken = time.perf_counter() - began
    del result
    return taken


def read_with_cat(files: list[Path]) -> None:
    """Read the files as `cat FILES > /dev/null` does."""
    subprocess.run(["cat", *files], stdout=subprocess.DEVNULL, check=True)  # noqa: S603, S607


def copy_plainly(files: list[Path]) -> np.ndarray:
    """The files' bytes in fresh memory, copied from their mappings by all cores."""
    pieces: list[tuple[np.ndarray, int]] = []
    total = 0
    for file in files:
        with file.open("rb") as opened:
            mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        content = np.frombuffer(mapped, np.uint8)
        starts = range(0, content.size, PIECE_BYTES)
        pieces += [(content[start : start + PIECE_BYTES], total + start) for start in starts]
        total += content.size
    target = empty_aligned((total,), np.dtype(np.uint8))

    def copy(piece: tuple[np.ndarray, int]) -> None:
        content, start = piece
        target[start : start + content.size] = content

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(copy, pieces))
    return target


def load(directory: Path, dtype: str) -> dict[str, jax.Array]:
    """The model's parameters, all there."""
    return jax.block_until_ready(load_model(directory, make_mesh(), dtype).parameters)


def resident(field: str) -> int:
    """`VmRSS` or `VmHWM` of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(field))
    return int(line.split()[1]) * 1024


def peak_share(directory: Path, dtype: str) -> tuple[float, int]:
    """The memory at the worst moment of a load over what the parameters take, and those bytes."""
    before = resident("VmRSS")
    # Starts the high-water mark anew; see proc_pid_clear_refs(5).
    Path("/proc/self/clear_refs").write_text("5")
    parameters = load(directory, dtype)
    final = sum(value.nbytes for value in parameters.values())
    return (resident("VmHWM") - before) / final, final


@click.command()
@click.option("--model", type=click.Path(path_type=Path), help="Load this one; make none.")
@click.option("--gigabytes", default=2.0, show_default=True, help="Size of the one to make.")
@click.option("--shards", default=4, show_default=True, help="Files of the one to make.")
@click.option("--seed", default=0, show_default=True, help="Seed of its weights.")
@click.option(
    "--dtype", type=click.Choice(["float32", "bfloat16"]), default="bfloat16", show_default=True
)
@click.option("--rounds", default=7, show_default=True, help="The medians are of so many rounds.")
def main(
    model: Path | None, gigabytes: float, shards: int, seed: int, dtype: str, rounds: int
) -> None:
    """Compare loading a checkpoint with reading its files."""
    with tempfile.TemporaryDirectory() if model is None else nullcontext(model) as place:
        directory = Path(place)
        if model is None:
            make_checkpoint(directory, gigabytes, shards, seed)
        files = sorted(directory.glob("*.safetensors"))
        size = sum(file.stat().st_size for file in files)
        read_with_cat(files)
        # The first load imports, compiles and starts threads; what it leaves is not the load's.
        load(directory, dtype)
        times: dict[str, list[float]] = {"cat": [], "copy": [], "load": []}
        for _ in tqdm(range(rounds), desc="rounds", disable=None, leave=False):
            times["cat"].append(seconds(lambda: read_with_cat(files)))
            times["copy"].append(seconds(lambda: copy_plainly(files)))
            times["load"].append(seconds(lambda: load(directory, dtype)))
        peak, final = peak_share(directory, dtype)
    rates = {name: size / statistics.median(taken) / 1e9 for name, taken in times.items()}
    click.echo(f"{len(files)} files, {size / 1e9:.2f} GB, to {dtype} on {os.cpu_count()} cores:")
    for name, rate in rates.items():
        click.echo(f"  {name:5}{rate:6.2f} GB/s   best {size / min(times[name]) / 1e9:.2f}")
    click.echo(f"  peak {peak:.2f} of the {final / 1e9:.2f} GB that the parameters take")
    summary = {
        "bytes": size,
        "dtype": dtype,
        "gigabytes_per_second": {name: round(rate, 2) for name, rate in rates.items()},
        "load_over_cat": round(rates["load"] / rates["cat"], 3),
        "load_over_copy": round(rates["load"] / rates["copy"], 3),
        "peak_over_final": round(peak, 3),
    }
    click.echo(json.dumps(summary))


if __name__ == "__main__":
    main()
