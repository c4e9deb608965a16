"""The runner's steps, compiled by the TPU's own compiler for chips that are not there.

    python -m support.tpu_compiler RESULTS.json

Runs in a process of its own: the compiler reads its environment when it is loaded.
"""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import topologies

from model import steps
from model.axes import KV_HEADS
from model.backends import choose_backend
from model.cache import cache_sharding, empty_cache
from model.config import LayerConfig, ModelConfig
from model.layout import laid_out
from model.mesh import MeshShape, choose_mesh, make_mesh, parts_on, replicated
from model.parameters import abstract_parameters
from model.rope import plain_rope

# tpu7x compiles too, but this release of JAX cannot print its programs.
TOPOLOGIES = ("v5e:2x2", "v5e:2x4", "v6e:2x4", "v5p:2x2x1")
LAYERS, ROWS, PAGE_SIZE, TABLE, CHUNK = 2, 64, 32, 8, 128

_ROPE = plain_rope(10_000.0, 128)
DENSE = ModelConfig(
    vocab_size=2040,
    embed_dim=1024,
    num_heads=16,
    num_kv_heads=8,
    head_dim=128,
    ffn_dim=2048,
    context_length=256,
    layers=(LayerConfig(_ROPE), LayerConfig(_ROPE, window=100)),
    norm_eps=1e-6,
    attention_softcap=50.0,
)
_COLLECTIVE = re.compile(
    r" = (\([^=]*?\)|\S+) "
    r"(all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)
_COPY = re.compile(r" = (\S+) (?:copy|copy-start)\(")
_ARRAY = re.compile(r"\b[a-z]+\d*\[([\d,]*)\]")


def compiled(config: ModelConfig, topology: str, mesh: MeshShape | None, step: str) -> Any:
    """What a test asks of the program of one step."""
    devices = topologies.get_topology_desc(topology, "tpu").devices
    made = make_mesh(*choose_mesh(config, len(devices), mesh), devices=devices)
    held, dtype = laid_out(config, made), jnp.dtype("bfloat16")
    heads = held.held_kv_heads // parts_on(made, KV_HEADS)
    layout = choose_backend(held, "tpu", heads, dtype).layout
    shapes = jax.eval_shape(
        partial(
            empty_cache,
            held,
            pages=ROWS * TABLE,
            page_size=PAGE_SIZE,
            rows=ROWS,
            table_width=TABLE,
            dtype=dtype,
            layout=layout,
        )
    )
    places = cache_sharding(held, made, layout)
    cache = jax.tree.map(
        lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes, places
    )

    def ints(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, jnp.int32, sharding=replicated(made))

    function: Callable[..., Any]
    if step == "decode":
        function, inputs = steps.decode, (ints(ROWS), ints(3, ROWS))
    else:
        function, inputs = steps.prefill, (ints(1, CHUNK), ints(3, 1), ints(1, TABLE))
    parameters = abstract_parameters(held, dtype, made)
    program = steps.compile_step(
        partial(function, held),
        made,
        (1,),
        (replicated(made), places),
        parameters,
        cache,
        *inputs,
    )
    text = program.as_text()
    memory = program.memory_analysis()
    parts = [
        math.prod(place.shard_shape(shape.shape))
        for shape, place in zip(cache.layers[0], places.layers[0], strict=True)
    ]
    return {
        "mesh": dict(made.shape),
        "kernels": text.count('custom_call_target="tpu_custom_call"'),
        "collectives": [(kind, _values(shape)) for shape, kind in _COLLECTIVE.findall(text)],
        "copies": [_values(shape) for shape in _COPY.findall(text)],
        "pool": min(parts),
        "pool_bytes": sum(parts) * dtype.itemsize * LAYERS,
        "smallest_weight": min(
            math.prod(each.shape)
            for name, each in parameters.items()
            if len(each.shape) > 1 and "router" not in name
        ),
        "aliased_bytes": memory.alias_size_in_bytes,
    }


def _values(shape: str) -> int:
    """Values of an array, or of the largest of a tuple, as HLO spells its type."""
    sizes = (found.split(",") for found in _ARRAY.findall(shape))
    return max((math.prod(map(int, filter(None, each))) for each in sizes), default=0)


def run_compiler(target: Path) -> dict[str, Any]:
    """Run this file in a process of its own, which is killed if it hangs."""
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_ACCELERATOR_TYPE": "v5litepod-8",
        "PYTHONPATH": os.pathsep.join([*map(str, Path(__file__).parents[1:3]), *sys.path]),
    }
    command = [sys.executable, "-m", "support.tpu_compiler", str(target)]
    subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=True, timeout=280)
    return json.loads(target.read_text())


if __name__ == "__main__":
    found = {
        f"dense {topology} {step}": compiled(DENSE, topology, None, step)
        for topology in TOPOLOGIES
        for step in ("decode", "prefill")
    }
    found["rows v5e:2x4 decode"] = compiled(DENSE, "v5e:2x4", MeshShape(2, 4), "decode")
    Path(sys.argv[1]).write_text(json.dumps(found))
