"""Vision towers compiled by the TPU's own compiler for chips that are not there.

    python -m support.tower_compiler RESULTS.json [LAYERS]

Runs in a process of its own, as `tpu_compiler` does. With all 27 layers it tells the figures of
docs/plan.md, for several minutes.
"""

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from support.tpu_compiler import run_module

from model.mesh import make_mesh
from model.vision.config import AnyVisionConfig, Gemma3VisionConfig, Qwen3VLVisionConfig
from model.vision.parameters import tower_bytes
from model.vision.tower import lower_tower
from serve.plan.chips import parse_slice
from serve.plan.compiler import compile_program, slice_devices
from serve.plan.costs import exchange_seconds, tower_operations

TOPOLOGY, BFLOAT16 = "v5e:2x4", jnp.dtype("bfloat16")
MESHES = {"data=2,model=4": (2, 4), "data=1,model=8": (1, 8)}
_SHAPE = {
    "embed_dim": 1152,
    "ffn_dim": 4304,
    "num_heads": 16,
    "num_layers": 27,
    "image_token": 3,
    "begin_token": 1,
    "end_token": 2,
}
# Gemma 3 27B's and Qwen3-VL-8B's.
TOWERS: dict[str, AnyVisionConfig] = {
    "gemma": Gemma3VisionConfig(**_SHAPE, patch_size=14, out_dim=5376),
    "qwen": Qwen3VLVisionConfig(
        **_SHAPE, patch_size=16, out_dim=4096, deepstack_layers=(8, 16, 24)
    ),
}


def reduced(name: str, layers: int) -> AnyVisionConfig:
    """A tower of fewer blocks, with deepstack after the first."""
    deepstack = {"deepstack_layers": (0,)} if TOWERS[name].deepstack else {}
    return replace(TOWERS[name], num_layers=layers, **deepstack)


def compiled(config: AnyVisionConfig, mesh: str, size: int) -> dict[str, Any]:
    """What a test asks of one program."""
    where = parse_slice(TOPOLOGY)
    devices = make_mesh(*MESHES[mesh], devices=slice_devices(where))
    program = compile_program(lower_tower(config, BFLOAT16, devices, size))
    exchanges = program.text.exchanges
    return {
        "weights": tower_bytes(config, BFLOAT16, devices),
        "argument_bytes": program.argument_bytes,
        "temporary_bytes": program.temporary_bytes,
        "code_bytes": program.code_bytes,
        "milliseconds": 1e3 * program.text.cycles / where.chip.clock,
        "exchange_milliseconds": 1e3
        * sum(exchange_seconds(each, MESHES[mesh][1], where.chip) for each in exchanges),
        "kernels": program.text.kernels,
        "operations": tower_operations(config, size),
        "exchanges": sorted(
            (kind, size, count)
            for (kind, size), count in Counter(
                (each.kind, each.bytes) for each in exchanges
            ).items()
        ),
    }


def run_compiler(target: Path, layers: int) -> dict[str, Any]:
    """Run this file in a process of its own, which is killed if it hangs."""
    run_module("support.tower_compiler", str(target), str(layers))
    return json.loads(target.read_text())


def main(target: str, layers: int) -> None:
    whole = layers == _SHAPE["num_layers"]
    meshes = list(MESHES) if whole else list(MESHES)[:1]
    found = {
        f"{name} {size} {mesh}": compiled(
            TOWERS[name] if whole else reduced(name, layers), mesh, size
        )
        for mesh in meshes
        for name, sizes in (("gemma", (4096, 16384)), ("qwen", (1024, 4096, 16384)))
        for size in (sizes if whole else (4096,))
    }
    Path(target).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else _SHAPE["num_layers"])
