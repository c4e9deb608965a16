"""Raw prefill and decode step times of a model shape: what the device allows.

    python -m tools.bench_step --layers 12 --embed 768 --heads 12 --kv-heads 4 \
        --ffn 2048 --vocab 32000 --rows 1,16 --prefill 64,256

Times the engine's own steps with random weights and nothing around them: a forward step with its
logits, and one with sampling without any rule. `mixed` is a forward step of the most rows beside a
prompt, over the longer of the two alone. `all_rules` and `logprobs` are the
times of a step with every sampling rule in use in every row, and of one with log-probabilities
and 20 alternatives, over that. With `--adapters` `adapted` is the time of a forward step whose rows
have one adapter after another, over that of one whose rows have none, which is the decoder's own
program. `floor_share` is the time in which the same machine, in the same
run, reads as many bytes as the weights and the visible keys and values have, over the forward
step's; `rate_share` is a prompt's rate of multiplying over that of one large product of matrices.
With `--transformers PYTHON` the same steps run in PyTorch transformers too, and `beside` is their
time over ours. The last line is one JSON object. The shape of Llama-3.1-8B:

    python -m tools.bench_step --layers 32 --embed 4096 --heads 32 --kv-heads 8 --head-dim 128 \
        --ffn 14336 --vocab 128256 --untied --dtype bfloat16 --context 4096 --visible 1024 \
        --rows 1,16,64,128 --prefill 2048 --transformers python
"""

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import click
import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from model import steps
from model.adapters import PROJECTIONS
from model.backends import choose_backend
from model.cache import Cache, bytes_per_token, empty_cache
from model.config import AdapterShape, LayerConfig, ModelConfig
from model.loading import resolve_dtype, resolve_form
from model.memory_layout import either_order
from model.mesh import make_mesh
from model.paged import KEYS_PER_TURN
from model.parameters import (
    Parameters,
    adapter_specs,
    count_parameters,
    held_bytes,
    parameter_specs,
    random_parameters,
)
from model.rope import plain_rope
from model.small import WEIGHT_FORMS
from sampling.batch import Choice, bias_of, empty_rows, load_bias, load_rows, row_settings
from sampling.logprobs import top_logprobs
from sampling.params import SamplingParams
from serve.engine.programs import draw
from tools.bench_sampler import RULES

PAGE_SIZE = 16
READ_BYTES = 1 << 30
MATRIX = {"cpu": 2048, "gpu": 8192, "tpu": 8192}


def median_seconds(run: Callable[[], Any], repeats: int) -> float:
    """Median time of `run`, whose result is waited for, after one warm-up."""
    jax.block_until_ready(run())
    times: list[float] = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def read_bandwidth(repeats: int) -> float:
    """Bytes per second at which the device sums a large array: the memory's reading rate."""
    data = jnp.ones(READ_BYTES // 4, jnp.float32)
    total = jax.jit(jnp.sum)
    return READ_BYTES / median_seconds(lambda: total(data), repeats)


def multiply_rate(dtype: jnp.dtype, repeats: int) -> float:
    """Floating-point operations per second of a large product of matrices."""
    size = MATRIX[jax.default_backend()]
    matrix = jnp.full((size, size), 0.5, dtype)
    product = jax.jit(jnp.matmul)
    return 2 * size**3 / median_seconds(lambda: product(matrix, matrix), repeats)


def beside(python: str, shape: Mapping[str, Any]) -> dict[str, Any]:
    """What `transformers_steps` measures for this shape, run by this interpreter."""
    command = [python, "-m", "tools.transformers_steps", json.dumps(shape)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    if ran.returncode:
        raise click.ClickException(
            f"{python} cannot time PyTorch transformers (its words are above); give --transformers "
            f"an interpreter that has torch and transformers"
        )
    return json.loads(ran.stdout)


class Bench:
    """One model and what its steps take."""

    def __init__(
        self,
        config: ModelConfig,
        parameters: Parameters,
        dtype: jnp.dtype,
        repeats: int,
        adapters: AdapterShape | None = None,
    ) -> None:
        self.config = config
        self.parameters = parameters
        self.adapted = None if adapters is None else replace(config, adapters=adapters)
        self.dtype = dtype
        self.repeats = repeats
        platform = jax.default_backend()
        self.backend = choose_backend(config, platform, config.held_kv_heads, dtype)
        block_pages = KEYS_PER_TURN // PAGE_SIZE
        blocks = -(-config.context_length // KEYS_PER_TURN)
        self.width = blocks * block_pages

    def cache(self, rows: int) -> Cache:
        """Pages for `rows` rows of full context, each row's in order."""
        cache = empty_cache(
            self.config,
            pages=rows * self.width,
            page_size=PAGE_SIZE,
            rows=rows,
            table_width=self.width,
            dtype=self.dtype,
            layout=self.backend.layout,
            heads=self.backend.heads,
        )
        tables = np.arange(rows * self.width, dtype=np.int32).reshape(rows, self.width)
        return cache._replace(tables=jnp.asarray(tables))

    def rows_of(self, rows: int, context: int) -> list[steps.RowTokens]:
        """The last token of each row."""
        return [
            steps.RowTokens(row, context - 1, (steps.LAST,), self.pages(row)) for row in range(rows)
        ]

    def pages(self, row: int) -> range:
        """A row's."""
        return range(row * self.width, (row + 1) * self.width)

    def prompt(self, slot: int, tokens: int) -> steps.RowTokens:
        """A prompt's chunk, from nothing."""
        ids = np.random.default_rng(0).integers(0, self.config.vocab_size, tokens)
        return steps.RowTokens(slot, 0, ids.tolist(), self.pages(slot))

    def forward_of(
        self, parts: list[steps.RowTokens], slots: int, adapted: ModelConfig | None = None
    ) -> Callable[[], jax.Array]:
        """Runs a step again and again: the hidden vectors after its rows' last tokens.

        Args:
            parts: of the rows.
            slots: that there are.
            adapted: the decoder with its adapters, where each row is to have one.
        """
        total = sum(len(part.tokens) for part in parts)
        inputs, firsts = steps.step_inputs(parts, total, slots, PAGE_SIZE)
        picks = np.zeros(slots, np.int32)
        picks[: len(parts)] = [
            first + len(part.tokens) - 1 for first, part in zip(firsts, parts, strict=True)
        ]
        config, parameters, more = self.config, self.parameters, ()
        if adapted is not None and adapted.adapters is not None:
            config, specs = adapted, adapter_specs(adapted)
            zeros = {name: jnp.zeros(spec.shape, self.dtype) for name, spec in specs.items()}
            parameters, more = parameters | zeros, (np.arange(slots) % adapted.adapters.count,)
        step = jax.jit(partial(steps.forward, config), donate_argnums=1)
        cache, last = self.cache(slots), jnp.zeros(slots, jnp.int32)

        def run() -> jax.Array:
            nonlocal cache
            picked, _, cache = step(parameters, cache, last, inputs, picks, *more)
            return picked

        return run

    def decode(self, rows: int, context: int) -> dict[str, float]:
        """Seconds of a decode step at `rows` rows that see `context` tokens, by its sampling.

        The kinds take turns, so that what else the machine does falls on all of them alike.
        """
        hidden = self.forward_of(self.rows_of(rows, context), rows)
        with_adapters = self.forward_of(self.rows_of(rows, context), rows, self.adapted)
        draws = jax.jit(partial(draw, self.config), donate_argnums=1)
        scores = jax.jit(partial(steps.logits, self.config))
        alternatives = jax.jit(top_logprobs)
        state = empty_rows(rows, self.config.vocab_size)
        slots = np.arange(rows, dtype=np.int32)
        where = np.stack([slots, np.full(rows, context, np.int32)])
        none = np.zeros_like(where)

        def load(fields: Mapping[str, Any]) -> None:
            nonlocal state
            params = [SamplingParams(seed=seed, **fields) for seed in range(rows)]
            choices = [Choice(each, 0, context, (1, 2)) for each in params]
            state = load_rows(state, jnp.asarray(slots), row_settings(choices, rows))
            state = load_bias(state, jnp.asarray(slots), bias_of(params, rows))

        def forward() -> jax.Array:
            return scores(self.parameters, hidden())

        def drawn() -> tuple[jax.Array, jax.Array]:
            nonlocal state
            state, tokens, logits = draws(self.parameters, state, hidden(), where, none)
            return tokens, logits

        def whole() -> jax.Array:
            return drawn()[0]

        def explained() -> Any:
            tokens, logits = drawn()
            return tokens, alternatives(logits, tokens)

        kinds: dict[str, tuple[Mapping[str, Any], Callable[[], Any]]] = {
            "forward": (RULES["plain"], forward),
            "step": (RULES["plain"], whole),
            "all_rules": (RULES["all"], whole),
            "logprobs": (RULES["plain"], explained),
        }
        if self.adapted is not None:
            kinds |= {"alone": (RULES["plain"], hidden), "adapted": (RULES["plain"], with_adapters)}
        times: dict[str, list[float]] = {kind: [] for kind in kinds}
        for turn in range(self.repeats + 1):
            for kind, (fields, run) in kinds.items():
                load(fields)
                jax.block_until_ready(state)
                began = time.perf_counter()
                jax.block_until_ready(run())
                # The first turn compiles.
                if turn:
                    times[kind].append(time.perf_counter() - began)
        return {kind: statistics.median(found) for kind, found in times.items()}

    def prefill(self, tokens: int) -> float:
        """Seconds of one prompt chunk of `tokens` tokens."""
        step = self.forward_of([self.prompt(0, tokens)], 1)
        scores = jax.jit(partial(steps.logits, self.config))
        return median_seconds(lambda: scores(self.parameters, step()), self.repeats)

    def mixed(self, rows: int, context: int, tokens: int) -> float:
        """Seconds of a forward step of `rows` rows beside a prompt, `tokens` in all."""
        parts = [*self.rows_of(rows, context), self.prompt(rows, tokens - rows)]
        step = self.forward_of(parts, rows + 1)
        return median_seconds(step, self.repeats)

    def prefill_operations(self, tokens: int) -> float:
        """Floating-point operations of a prompt: its products with weights, and attention's."""
        config = self.config
        embedding = config.vocab_size * config.embed_dim
        # The head sees one token only.
        weights = count_parameters(config) - embedding * (1 if config.tied_head else 2)
        attention = 2 * config.num_layers * config.num_heads * config.head_dim * tokens**2
        return 2 * weights * tokens + attention

    def floor(self, rows: int, context: int, bandwidth: float) -> float:
        """Seconds to read the weights once and every row's keys and values once."""
        mesh = make_mesh()
        # Of an untied input embedding a step reads one vector per row.
        read = sum(
            held_bytes(self.config, spec, self.dtype, mesh)
            for name, spec in parameter_specs(self.config).items()
            if name != "embedding.weight" or self.config.tied_head
        )
        cached = (
            rows
            * context
            * bytes_per_token(self.config, "by_head", self.dtype, self.config.held_kv_heads)
        )
        return (read + cached) / bandwidth


def _numbers(context: click.Context, option: click.Parameter, value: str) -> list[int]:
    del context, option
    try:
        return [int(part) for part in value.split(",")]
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a list of numbers like 1,4,16") from error


@click.command()
@click.option("--layers", default=12, show_default=True)
@click.option("--embed", default=768, show_default=True)
@click.option("--heads", default=12, show_default=True)
@click.option("--kv-heads", default=4, show_default=True)
@click.option("--head-dim", default=64, show_default=True)
@click.option("--ffn", default=2048, show_default=True)
@click.option("--vocab", default=32_000, show_default=True)
@click.option("--context", default=2048, show_default=True, help="Longest context, in tokens.")
@click.option("--tied/--untied", default=True, show_default=True)
@click.option("--visible", default=128, show_default=True, help="Tokens each decode row sees.")
@click.option("--rows", callback=_numbers, default="1,4,16,32", show_default=True)
@click.option("--prefill", callback=_numbers, default="64,256", show_default=True)
@click.option(
    "--dtype", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto", show_default=True
)
@click.option("--adapters", default=0, show_default=True, help="LoRA adapters beside the model.")
@click.option("--rank", default=16, show_default=True, help="Theirs.")
@click.option("--weights", type=click.Choice(WEIGHT_FORMS), default="full", show_default=True)
@click.option("--repeats", default=20, show_default=True, help="Timed runs; medians are shown.")
@click.option("--transformers", metavar="PYTHON", help="Time PyTorch transformers too, by this.")
def main(
    layers: int,
    embed: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    ffn: int,
    vocab: int,
    context: int,
    tied: bool,
    visible: int,
    rows: list[int],
    prefill: list[int],
    dtype: str,
    adapters: int,
    rank: int,
    weights: str,
    repeats: int,
    transformers: str | None,
) -> None:
    """Time prefill and decode steps of a random model of the given shape."""
    config = ModelConfig(
        vocab_size=vocab,
        embed_dim=embed,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        ffn_dim=ffn,
        context_length=context,
        layers=(LayerConfig(plain_rope(10_000.0, head_dim)),) * layers,
        norm_eps=1e-6,
        tied_head=tied,
    )
    shape = {
        "layers": layers,
        "embed": embed,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": head_dim,
        "ffn": ffn,
        "vocab": vocab,
        "context": context,
        "tied": tied,
        "visible": visible,
        "rows": rows,
        "prefill": prefill,
        "dtype": dtype,
        "repeats": repeats,
    }
    # Before JAX begins, which then holds most of a GPU's memory.
    others = {} if transformers is None else beside(transformers, shape)
    chosen = resolve_dtype(dtype)
    # As a published checkpoint of this shape is held.
    mesh = make_mesh()
    form = resolve_form(weights, chosen, mesh)
    turned = not form and either_order(chosen, mesh)
    config = replace(config, turned=turned, weight_form=form)
    held = AdapterShape(adapters, rank, PROJECTIONS) if adapters else None
    bench = Bench(config, random_parameters(config, chosen, seed=0), chosen, repeats, held)
    bandwidth, rate = read_bandwidth(repeats=5), multiply_rate(chosen, repeats=5)
    result: dict[str, Any] = {
        "device": jax.devices()[0].device_kind,
        "dtype": str(bench.dtype),
        "weights": weights,
        "attention": bench.backend.name,
        "parameters": count_parameters(config),
        "beside": {name: others[name] for name in ("torch", "transformers") if others},
        "read_gb_per_s": round(bandwidth / 1e9, 2),
        "multiply_tflop_per_s": round(rate / 1e12, 3),
        "decode": [],
        "prefill": [],
        "mixed": [],
    }
    with tqdm(total=len(rows) + 2 * len(prefill), unit="shape", disable=None) as progress:
        for count in rows:
            times = bench.decode(count, visible)
            floor = bench.floor(count, visible, bandwidth)
            row = {
                "rows": count,
                "visible": visible,
                "forward_ms": round(1e3 * times["forward"], 3),
                "step_ms": round(1e3 * times["step"], 3),
                "all_rules": round(times["all_rules"] / times["step"], 3),
                "logprobs": round(times["logprobs"] / times["step"], 3),
                "tokens_per_s": round(count / times["step"], 1),
                "floor_share": round(floor / times["forward"], 3),
            }
            if adapters:
                row["adapted"] = round(times["adapted"] / times["alone"], 3)
            if others:
                row["beside"] = round(others["decode_ms"][str(count)] / row["forward_ms"], 2)
            result["decode"].append(row)
            progress.write(f"decode  {row}")
            progress.update()
        for length in prefill:
            seconds = bench.prefill(length)
            row = {
                "tokens": length,
                "ms": round(1e3 * seconds, 3),
                "tokens_per_s": round(length / seconds, 1),
                "rate_share": round(bench.prefill_operations(length) / seconds / rate, 3),
            }
            if others:
                row["beside"] = round(others["prefill_ms"][str(length)] / row["ms"], 2)
            result["prefill"].append(row)
            progress.write(f"prefill {row}")
            progress.update()
        for length in prefill:
            if length > (most := max(rows)):
                seconds = bench.mixed(most, visible, length)
                alone = max(
                    *(each["forward_ms"] for each in result["decode"] if each["rows"] == most),
                    *(each["ms"] for each in result["prefill"] if each["tokens"] == length),
                )
                row = {
                    "rows": most,
                    "tokens": length,
                    "ms": round(1e3 * seconds, 3),
                    "over_longer": round(1e3 * seconds / alone, 3),
                }
                result["mixed"].append(row)
                progress.write(f"mixed   {row}")
            progress.update()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
