"""What the same decoders compute on meshes of eight CPU devices, for tests to compare.

    python -m support.on_eight_devices RESULTS.npz

Runs in a process of its own, for the number of devices is settled when JAX starts. Results are
named `model mesh what`: logits of two prompts in two chunks each beside rows that decode, and of
decoded tokens, sampled ids, and the shape of the part of the embedding, of the projections and of
the pages on one device.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.interpreted import interpret_attention
from support.tiny import tiny_parameters

from model import steps
from model.adapters import PROJECTIONS
from model.cache import PageLayout, cache_sharding, empty_cache
from model.config import AdapterShape, ExpertsConfig, LayerConfig, ModelConfig
from model.kernels import paged_gpu
from model.layout import laid_out, layout_of
from model.loading import LoadedModel
from model.mesh import choose_mesh, make_mesh, parse_mesh, replicated, sharding
from model.parameters import parameter_specs
from model.rope import plain_rope
from sampling.batch import Choice, empty_rows, load_rows, row_settings
from sampling.params import SamplingParams
from sampling.sampler import sample

MESHES = ("data=1,model=8", "data=2,model=4", "data=4,model=2", "data=8,model=1")
ALONE = "data=1,model=1"

_ROPE = plain_rope(10_000.0, 8)
_DENSE = ModelConfig(
    vocab_size=64,
    embed_dim=32,
    num_heads=16,
    num_kv_heads=8,
    head_dim=8,
    ffn_dim=64,
    context_length=128,
    layers=(LayerConfig(_ROPE), LayerConfig(_ROPE, window=9)),
    norm_eps=1e-6,
    qk_norm="head",
)
MODELS = {
    "dense": _DENSE,
    "two kv heads": replace(
        _DENSE, num_kv_heads=2, qk_norm="width", qkv_bias=True, attention_sinks=True
    ),
    "odd vocabulary": replace(_DENSE, vocab_size=67, tied_head=True, logit_softcap=20.0),
    "experts": replace(
        _DENSE,
        layers=(LayerConfig(_ROPE, experts=True), LayerConfig(_ROPE)),
        experts=ExpertsConfig(8, 2, ffn_dim=24, renormalize=True, bias=True),
        activation="clamped_swish",
    ),
}

# Its kv heads are copied.
MODELS["adapters"] = replace(
    MODELS["two kv heads"],
    adapters=AdapterShape(3, 8, PROJECTIONS),
)
# Its kv heads are copied. One layer, for interpreted the TPU kernel compiles for seconds.
MODELS["window and sinks"] = replace(
    MODELS["two kv heads"], layers=MODELS["two kv heads"].layers[1:]
)

# What copies and padding do hangs on `model` alone.
_DIVIDED = ("data=1,model=8", "data=2,model=4")
MESHES_OF = {
    "dense": MESHES,
    "two kv heads": _DIVIDED,
    "odd vocabulary": _DIVIDED,
    "experts": MESHES,
    "adapters": _DIVIDED,
    "window and sinks": (),
}

# Rows and heads divided at once, and rows alone.
GPU_KERNEL_MESHES = ("data=2,model=4", "data=8,model=1")
BY_TPU_KERNEL, TPU_KERNEL_MESH = "window and sinks", "data=2,model=4"

PAGE_SIZE, POOL, WIDTH, ROWS, STEPS = 4, 64, 32, 8, 6
# Tokens of the steps that read prompts, padding among them, and what each reads of both prompts:
# all devices can divide the first ones, and none the others.
MIXED = ((40, 16), (19, 5))
# Rows that decode meanwhile. Of 40 tokens each of eight devices has five: chunks are cut.
BESIDE = range(2, 6)


def random_values(config: ModelConfig) -> dict[str, np.ndarray]:
    """Random parameters, biases and sinks not zero."""
    generator = np.random.default_rng(3)
    return {
        name: generator.standard_normal(value.shape).astype(np.float32)
        * (0.1 if "adapters" in name else 1.0)
        if any(part in name for part in ("bias", "sinks", "adapters"))
        else np.asarray(value)
        for name, value in tiny_parameters(config).items()
    }


def placed(config: ModelConfig, values: dict[str, np.ndarray], mesh_text: str) -> LoadedModel:
    """A model on a mesh."""
    mesh = make_mesh(*choose_mesh(config, jax.device_count(), parse_mesh(mesh_text)))
    parameters, held = {}, laid_out(config, mesh)
    for name, spec in parameter_specs(config).items():
        laid = layout_of(held, spec)(values[name])
        parameters[name] = jax.device_put(laid, sharding(mesh, spec.axes))
    return LoadedModel(held, parameters, mesh, jnp.dtype("float32"))


# Samples on one device, whatever the mesh: the logits are whole.
_sample = jax.jit(sample)


def results(model: LoadedModel, layout: PageLayout = "by_head") -> Iterator[tuple[str, np.ndarray]]:
    """Prompts of two rows beside others, then steps of all eight rows, sampled from the logits."""
    config = model.config
    forward = Stepper(model, layout)
    scores = partial(jax.jit(partial(steps.logits, config)), model.parameters)
    generator = np.random.default_rng(5)
    tables = generator.permutation(POOL).astype(np.int32).reshape(ROWS, -1)
    length = sum(count for _, count in MIXED)
    prompts = generator.integers(0, config.vocab_size, (2, length)).tolist()
    rows = empty_rows(ROWS, config.vocab_size)._replace(last_token=jnp.arange(ROWS))
    logits, prompt_logits, start = [], [], 0
    for step, (size, count) in enumerate(MIXED):
        parts = [
            steps.RowTokens(row, start, prompts[row][start : start + count], tables[row])
            for row in range(2)
        ]
        parts += [steps.RowTokens(row, step, (steps.LAST,), tables[row]) for row in BESIDE]
        picked, hidden, firsts = forward(parts, size, rows.last_token)
        logits.append(np.asarray(scores(picked))[: len(parts)])
        everywhere = np.asarray(scores(hidden))
        prompt_logits += [everywhere[first : first + count] for first in firsts[:2]]
        start += count
    yield "prefill", np.concatenate(logits)
    yield "prompt", np.concatenate(prompt_logits)

    choices = [
        Choice(SamplingParams(temperature=0.9 if row % 2 else 0.0, top_p=0.95, seed=row))
        for row in range(ROWS)
    ]
    rows = load_rows(rows, jnp.arange(ROWS), row_settings(choices, ROWS))
    at = np.array([length] * 2 + [len(MIXED)] * len(BESIDE) + [0] * 2, np.int32)
    logits, ids = [], []
    for step in range(STEPS):
        parts = [
            steps.RowTokens(row, int(at[row]) + step, (steps.LAST,), tables[row])
            for row in range(ROWS)
        ]
        picked, _, _ = forward(parts, ROWS, rows.last_token)
        logits.append(np.asarray(scores(picked)))
        where = np.stack([np.arange(ROWS, dtype=np.int32), at + step + 1])
        rows, sampled = _sample(rows, logits[-1], where)
        ids.append(np.asarray(sampled))
    yield "decode", np.stack(logits)
    yield "ids", np.stack(ids)
    for name in ("embedding.weight", "blocks.0.attention.qkv", "blocks.0.mlp.gate_up"):
        yield name, np.array(model.parameters[name].addressable_shards[0].data.shape)
    yield "pages", np.array(forward.cache.layers[0][0].addressable_shards[0].data.shape)


class Stepper:
    """Runs steps of a model on its mesh, each number of tokens by a program of its own."""

    def __init__(self, model: LoadedModel, layout: PageLayout) -> None:
        self._model = model
        sizes = {"pages": POOL, "page_size": PAGE_SIZE, "rows": ROWS, "table_width": WIDTH}
        cache = empty_cache(model.config, dtype=model.dtype, layout=layout, **sizes)
        self._places = cache_sharding(model.config, model.mesh, layout)
        self.cache = jax.device_put(cache, self._places)
        self._programs: dict[int, Any] = {}

    def __call__(
        self, parts: list[steps.RowTokens], size: int, last: jax.Array
    ) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """Hidden vectors after the last token of each part, those of all, and where parts begin."""
        inputs, firsts = steps.step_inputs(parts, size, ROWS, PAGE_SIZE)
        picks = np.zeros(ROWS, np.int32)
        ends = [first + len(part.tokens) - 1 for first, part in zip(firsts, parts, strict=True)]
        picks[: len(ends)] = ends
        given = (self._model.parameters, self.cache, np.asarray(last), inputs, picks)
        if self._model.config.adapters is not None:
            # Of each slot; some have none.
            given += (np.arange(ROWS, dtype=np.int32) % 4 - 1,)
        if size not in self._programs:
            self._programs[size] = self._compiled(*given)
        picked, hidden, self.cache = self._programs[size](*given)
        return np.asarray(picked), np.asarray(hidden), firsts

    def _compiled(self, *given: Any) -> Any:
        config, mesh, whole = self._model.config, self._model.mesh, replicated(self._model.mesh)
        abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(
                x.shape, x.dtype, sharding=x.sharding if isinstance(x, jax.Array) else whole
            ),
            given,
        )
        out = (whole, whole, self._places)
        return steps.compile_step(partial(steps.forward, config), mesh, (1,), out, *abstract)


def environment(devices: int = 8) -> dict[str, str]:
    """For a process with so many CPU devices; a step of theirs needs as many threads."""
    return os.environ | {
        # Unoptimized: each program runs a few times and is compiled for every mesh.
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices} "
        "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
        "NPROC": "16",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(map(str, Path(__file__).parents[1:3])),
    }


def run_on_eight(target: Path) -> dict[str, np.ndarray]:
    """Run this file in a process of its own, which is killed if it hangs."""
    command = [sys.executable, "-m", "support.on_eight_devices", str(target)]
    subprocess.run(command, env=environment(), check=True, timeout=560)
    with np.load(target) as found:
        return dict(found)


def main(target: str) -> None:
    found: dict[str, np.ndarray] = {}
    for name, config in MODELS.items():
        values = random_values(config)
        for mesh in (ALONE, *MESHES_OF[name]):
            for what, value in results(placed(config, values, mesh)):
                found[f"{name} {mesh} {what}"] = value
    paged_gpu.paged_attention = partial(paged_gpu.paged_attention, interpret=True)
    values = random_values(_DENSE)
    for mesh in GPU_KERNEL_MESHES:
        for what, value in results(placed(_DENSE, values, mesh), "by_head_on_gpu"):
            found[f"dense {mesh} {what} by the GPU kernel"] = value
    with pytest.MonkeyPatch.context() as patch:
        interpret_attention(patch)
        config = MODELS[BY_TPU_KERNEL]
        values = random_values(config)
        for what, value in results(placed(config, values, TPU_KERNEL_MESH), "combined"):
            found[f"{BY_TPU_KERNEL} {what} by the TPU kernel"] = value
    np.savez(target, **found)


if __name__ == "__main__":
    main(sys.argv[1])
