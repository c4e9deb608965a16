"""The fixtures of models that see, for tests: their towers, and what the reference found.

    python -m support.towers RESULTS.npz

runs the towers on meshes of eight CPU devices, in a process of its own, for the number of devices
is settled when JAX starts. Results are named `fixture mesh what`.
"""

import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file
from support.interpreted import interpret_attention
from support.on_eight_devices import environment

from model.kernels import flash
from model.mesh import make_mesh, parse_mesh
from model.vision.inputs import NO_IMAGE, Grid, TowerInputs, TowerOutput
from model.vision.loading import open_tower
from model.vision.tower import LoadedTower, look

FIXTURES = Path(__file__).parents[1] / "fixtures" / "models"
GEMMA, QWEN = "gemma-3-vision", "qwen-3-vl"
MESHES = ("data=2,model=4", "data=1,model=8", "data=8,model=1")
SHOWN = ("blocks.0.attention.qkv", "blocks.0.mlp.up", "positions")


@dataclass(frozen=True)
class Seen:
    """What the reference library found.

    Attributes:
        images: patches and grid of each.
        vectors: of each.
        deepstack: [layers, tokens, D] of each.
    """

    images: list[tuple[np.ndarray, Grid]]
    vectors: list[np.ndarray]
    deepstack: list[np.ndarray]


def seen(fixture: str) -> Seen:
    """What a fixture's tower sees."""
    found = load_file(FIXTURES / fixture / "expected_vision.safetensors")
    if fixture == GEMMA:
        patches = found["pixels"].reshape(-1, 3, 12, 4, 12, 4).transpose(0, 2, 4, 1, 3, 5)
        images = [(each, (12, 12)) for each in patches.reshape(-1, 144, 48)]
        vectors = list(found["vectors"])
        return Seen(images, vectors, [np.zeros((0, *each.shape), np.float32) for each in vectors])
    grids = [(int(rows), int(columns)) for rows, columns in found["grids"]]
    ends = np.cumsum([rows * columns for rows, columns in grids])[:-1]
    images = list(zip(np.split(found["patches"], ends), grids, strict=True))
    vectors = np.split(found["vectors"], ends // 4)
    return Seen(images, vectors, np.split(found["deepstack"], ends // 4, axis=1))


def load_tower(fixture: str, mesh: str = "data=1") -> LoadedTower:
    """A fixture's tower in float32."""
    opened = open_tower(FIXTURES / fixture, make_mesh(*parse_mesh(mesh)), "float32")
    assert opened is not None
    return opened.load()


def look_at(tower: LoadedTower, inputs: TowerInputs) -> TowerOutput:
    """A call of any size."""
    return jax.jit(partial(look, tower.config))(tower.parameters, inputs)


def run_on_eight(target: Path) -> dict[str, np.ndarray]:
    """Run this file in a process of its own, which is killed if it hangs."""
    command = [sys.executable, "-m", "support.towers", str(target)]
    subprocess.run(command, env=environment(), check=True, timeout=300)
    with np.load(target) as found:
        return dict(found)


def patches_of_images(dtype: str = "float32") -> tuple[jax.Array, ...]:
    """Queries, keys and values of 1,024 patches, and their images: two, and what fills up."""
    generator = np.random.default_rng(5)
    heads = (jnp.asarray(generator.standard_normal((1, 1024, 4, 24)), dtype) for _ in range(3))
    image = np.repeat([0, 1, NO_IMAGE], [400, 400, 224]).astype(np.int32)
    return *heads, jnp.asarray(image[None])


def main(target: str) -> None:
    found: dict[str, np.ndarray] = {}
    with pytest.MonkeyPatch.context() as patch:
        interpret_attention(patch)
        patch.setattr(flash, "BLOCK", 128)
        for mesh in MESHES:
            with jax.set_mesh(make_mesh(*parse_mesh(mesh))):
                attended = jax.jit(flash.attend_by_flash)(*patches_of_images())
            found[f"flash {mesh}"] = np.asarray(attended)
    for fixture in (GEMMA, QWEN):
        for mesh in MESHES:
            tower = load_tower(fixture, mesh)
            output = tower(seen(fixture).images)
            found[f"{fixture} {mesh} vectors"] = np.asarray(output.vectors)
            found[f"{fixture} {mesh} deepstack"] = np.asarray(output.deepstack)
            for name in SHOWN:
                part = tower.parameters[name].addressable_shards[0].data
                found[f"{fixture} {mesh} {name}"] = np.array(part.shape)
    np.savez(target, **found)


if __name__ == "__main__":
    main(sys.argv[1])
