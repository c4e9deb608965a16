"""Vision towers compiled by the TPU's own compiler for chips that are not there.

    python -m support.tower_compiler RESULTS.json LAYERS

Runs in a process of its own, as `tpu_compiler` does.
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

TOPOLOGY, MESH, BFLOAT16 = "v5e:2x4", (2, 4), jnp.dtype("bfloat16")
PATCHES = 4096
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


def compiled(config: AnyVisionConfig) -> dict[str, Any]:
    """What a test asks of a call."""
    devices = make_mesh(*MESH, devices=slice_devices(parse_slice(TOPOLOGY)))
    program = compile_program(lower_tower(config, BFLOAT16, devices, PATCHES))
    exchanges = Counter((each.kind, each.bytes) for each in program.text.exchanges)
    return {
        "weights": tower_bytes(config, BFLOAT16, devices),
        "argument_bytes": program.argument_bytes,
        "temporary_bytes": program.temporary_bytes,
        "kernels": program.text.kernels,
        "exchanges": sorted((kind, size, count) for (kind, size), count in exchanges.items()),
    }


def run_compiler(target: Path, layers: int) -> dict[str, Any]:
    """Run this file in a process of its own, which is killed if it hangs."""
    run_module("support.tower_compiler", str(target), str(layers))
    return json.loads(target.read_text())


def main(target: str, layers: int) -> None:
    found = {name: compiled(reduced(name, layers)) for name in TOWERS}
    Path(target).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
