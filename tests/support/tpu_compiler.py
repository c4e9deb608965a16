"""The runner's steps, compiled by the TPU's own compiler for chips that are not there.

    python -m support.tpu_compiler RESULTS.json

Runs in a process of its own: the compiler reads its environment when it is loaded.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from model.config import ExpertsConfig, LayerConfig, ModelConfig
from model.mesh import MeshShape
from model.rope import plain_rope
from model.small import Small
from model.vision.config import Gemma3VisionConfig
from serve.engine.page_calls import MOVE_WIDTHS
from serve.plan.chips import parse_slice
from serve.plan.compiler import compile_program
from serve.plan.deployment import Workload, deploy
from serve.plan.environment import PLAN_ENVIRONMENT

TOPOLOGIES = ("v5e:2x2", "v5e:2x4", "v6e:2x4", "v5p:2x2x1", "tpu7x:2x2x1")
MOVED = ("v5e:1x1", "v6e:2x4")
LAYERS, CHUNK = 2, 128
# A layer's pool fits a core's own memory, but must not be taken there and back.
WORK = Workload(rows=64, context=2048, page_size=32, prefill_chunk=CHUNK)

_ROPE = plain_rope(10_000.0, 128)
_PLAIN = LayerConfig(_ROPE)
DENSE = ModelConfig(
    vocab_size=2040,
    embed_dim=1024,
    num_heads=16,
    num_kv_heads=8,
    head_dim=128,
    ffn_dim=2048,
    context_length=8192,
    layers=(_PLAIN, LayerConfig(_ROPE, window=100)),
    norm_eps=1e-6,
    attention_softcap=50.0,
)
# As gpt-oss has them: sinks, and heads that do not fill a register.
_HALF = plain_rope(10_000.0, 64)
SINKS = replace(
    DENSE,
    head_dim=64,
    layers=(LayerConfig(_HALF), LayerConfig(_HALF, window=100)),
    attention_softcap=None,
    attention_sinks=True,
)
# More query heads on a device than the compiler has room for by itself.
MANY = replace(DENSE, num_heads=64, num_kv_heads=4)
# Two kv heads on each of four devices, of a width that the kernel takes one of.
_WIDE = plain_rope(10_000.0, 256)
WIDE = replace(DENSE, head_dim=256, layers=(LayerConfig(_WIDE),) * LAYERS)
EXPERTS = replace(
    DENSE,
    layers=(replace(_PLAIN, experts=True),) * LAYERS,
    experts=ExpertsConfig(count=16, chosen=2, ffn_dim=768, renormalize=True),
)


# Sees images as Gemma 3 does: each of their tokens all of them.
TOWER = Gemma3VisionConfig(
    embed_dim=1152,
    ffn_dim=4304,
    num_heads=16,
    num_layers=1,
    patch_size=14,
    out_dim=DENSE.embed_dim,
    image_token=3,
    begin_token=1,
    end_token=2,
)

# How matrices are held, and the cache beside them.
SMALL_FORMS = {"int8": "fp8", "fp8": "auto", "int4": "auto"}
# A step of all rows, one with a chunk beside them, and what comes after either.
PROGRAMS = {
    "decode": ("forward", WORK.rows),
    "mixed": ("forward", CHUNK),
    "image": ("seeing", 256),
    "draw": ("draw", WORK.rows),
}


def compiled(
    config: ModelConfig,
    topology: str,
    mesh: MeshShape | None,
    step: str,
    work: Workload = WORK,
) -> Any:
    """What a test asks of one program."""
    deployment = deploy(config, parse_slice(topology), work, mesh)
    spec = deployment.programs()[PROGRAMS[step]]
    program = compile_program(spec.lower())
    parameters, state = spec.arguments[:2]
    weights = [
        x.values if isinstance(x, Small) else x
        for name, x in parameters.items()
        if len(x.shape) > 1 and not {"router", "sinks"} & set(name.split("."))
    ]
    parts = (
        [] if step == "draw" else [prod(x.sharding.shard_shape(x.shape)) for x in state.layers[0]]
    )
    return {
        "mesh": dict(deployment.mesh.shape),
        "fallback": deployment.backend.fallback,
        "kernels": program.text.kernels,
        "exchanges": [(each.kind, each.bytes) for each in program.text.exchanges],
        "copies": [each.values for each in program.text.copies],
        "rearranged": [each.values for each in program.text.copies if not each.fetched],
        "pool": min(parts, default=0),
        "pool_bytes": sum(parts) * deployment.page_dtype.itemsize * LAYERS,
        "smallest_weight": min(prod(x.shape) for x in weights) * deployment.dtype.itemsize,
        "smallest_part": min(prod(x.sharding.shard_shape(x.shape)) for x in weights),
        "logits": config.vocab_size * WORK.rows,
        "aliased_bytes": program.aliased_bytes,
        "temporary_bytes": program.temporary_bytes,
    }


def moving(topology: str) -> dict[str, Any]:
    """What a test asks of the programs that move pages: a device's pool, and what each needs."""
    deployment = deploy(DENSE, parse_slice(topology), WORK)
    engine = replace(deployment.engine, has_page_directory=True)
    programs = replace(deployment, engine=engine).programs()
    found: dict[str, Any] = {}
    for name, size in ((name, size) for name in ("take", "fill") for size in MOVE_WIDTHS):
        spec = programs[name, size]
        program = compile_program(spec.lower())
        pool = [prod(x.sharding.shard_shape(x.shape)) for x in spec.arguments[0].layers[0]]
        found[f"{name} {size}"] = {
            "pool_bytes": sum(pool) * deployment.page_dtype.itemsize * LAYERS,
            "aliased_bytes": program.aliased_bytes,
            "temporary_bytes": program.temporary_bytes,
            "exchanges": len(program.text.exchanges),
        }
    return found


def run_compiler(target: Path) -> dict[str, Any]:
    """Run this file in a process of its own, which is killed if it hangs."""
    run_module("support.tpu_compiler", str(target))
    return json.loads(target.read_text())


def run_plan(*arguments: str) -> dict[str, Any]:
    """`parlance plan --json`, in a process of its own."""
    return json.loads(run_module("serve", "plan", "--json", *arguments))


def run_module(*arguments: str) -> str:
    """What a module prints that runs where the compiler can."""
    ours = map(str, Path(__file__).parents[1:3])
    environment = (
        os.environ | PLAN_ENVIRONMENT | {"PYTHONPATH": os.pathsep.join([*ours, *sys.path])}
    )
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
        timeout=800,
        text=True,
    )
    return done.stdout


if __name__ == "__main__":
    found = {
        f"dense {topology} {step}": compiled(DENSE, topology, None, step)
        for topology in TOPOLOGIES
        for step in ("decode", "mixed")
    }
    for step in ("decode", "mixed"):
        found[f"sinks v6e:2x2 {step}"] = compiled(SINKS, "v6e:2x2", None, step)
    found["many v5e:1x1 decode"] = compiled(MANY, "v5e:1x1", None, "decode")
    found["wide v5e:2x2 decode"] = compiled(WIDE, "v5e:2x2", None, "decode")
    found["experts v6e:2x2 decode"] = compiled(EXPERTS, "v6e:2x2", None, "decode")
    for step in ("decode", "mixed"):
        found[f"rows v5e:2x4 {step}"] = compiled(DENSE, "v5e:2x4", MeshShape(2, 4), step)
    seen = replace(WORK, tower=TOWER)
    found["image v5e:2x4"] = compiled(DENSE, "v5e:2x4", MeshShape(2, 4), "image", seen)
    for topology in MOVED:
        found[f"moving {topology}"] = moving(topology)
    found["dense v6e:2x4 draw"] = compiled(DENSE, "v6e:2x4", None, "draw")
    for form, cache in SMALL_FORMS.items():
        small = replace(WORK, weights=form, cache_dtype=cache)
        for name, config in (("dense", DENSE), ("experts", EXPERTS)):
            found[f"{name} {form}"] = compiled(config, "v5e:2x2", None, "decode", small)
    Path(sys.argv[1]).write_text(json.dumps(found))
