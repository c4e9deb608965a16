"""A tower's parameters as a flat mapping, as the decoder's are (`model/parameters.py`)."""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from model.mesh import RULES, parts_on
from model.parameters import Arrays, OneKey, ParameterSpec, flat_state
from model.vision.config import AnyVisionConfig, Gemma3VisionConfig
from model.vision.gemma3 import Gemma3Tower
from model.vision.qwen3_vl import Qwen3VLTower

Tower = Gemma3Tower | Qwen3VLTower


def make_tower(config: AnyVisionConfig, dtype: jnp.dtype, rngs: nnx.Rngs) -> Tower:
    """A tower of this shape with weights drawn from `rngs`."""
    if isinstance(config, Gemma3VisionConfig):
        return Gemma3Tower(config, dtype, rngs=rngs)
    return Qwen3VLTower(config, dtype, rngs=rngs)


@cache
def _abstract_tower(config: AnyVisionConfig) -> tuple[Any, Any]:
    return nnx.split(nnx.eval_shape(lambda: make_tower(config, jnp.dtype("float32"), OneKey(0))))


def tower_specs(config: AnyVisionConfig) -> dict[str, ParameterSpec]:
    """Every parameter of a tower of this shape, without allocating any."""
    _, state = _abstract_tower(config)
    return {
        name: ParameterSpec(tuple(leaf.shape), leaf.get_metadata()["axes"])
        for name, leaf in flat_state(state).items()
    }


def count_tower_parameters(config: AnyVisionConfig) -> int:
    """Parameters of a tower of this shape."""
    return sum(math.prod(spec.shape) for spec in tower_specs(config).values())


def tower_place(mesh: Mesh, spec: ParameterSpec) -> NamedSharding:
    """How a parameter lies on a mesh: by the table of axes, whole where parts would be unequal.

    So a decoder's mesh never is one that its tower cannot lie on.
    """
    return NamedSharding(mesh, PartitionSpec(*_divided(mesh, spec)))


def _divided(mesh: Mesh | AbstractMesh, spec: ParameterSpec) -> list[str | None]:
    return [
        RULES[axis] if size % parts_on(mesh, axis) == 0 else None
        for size, axis in zip(spec.shape, spec.axes, strict=True)
    ]


def tower_bytes(config: AnyVisionConfig, dtype: jnp.dtype, mesh: Mesh | AbstractMesh) -> int:
    """Bytes that a tower's parameters take of each device of a mesh."""
    total = 0
    for spec in tower_specs(config).values():
        used = [axis for axis in _divided(mesh, spec) if axis is not None and not mesh.empty]
        total += math.prod(spec.shape) // math.prod(mesh.shape[axis] for axis in used)
    return total * dtype.itemsize


def abstract_tower_parameters(
    config: AnyVisionConfig, dtype: jnp.dtype, mesh: Mesh
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes, dtypes and shardings of a tower's parameters: what to compile for."""
    return {
        name: jax.ShapeDtypeStruct(spec.shape, dtype, sharding=tower_place(mesh, spec))
        for name, spec in tower_specs(config).items()
    }


def random_tower_parameters(config: AnyVisionConfig, dtype: jnp.dtype, seed: int) -> Arrays:
    """Fresh parameters drawn from `seed`."""
    state = nnx.state(make_tower(config, dtype, nnx.Rngs(seed)))
    return {name: leaf[...] for name, leaf in flat_state(state).items()}


def tower_with(config: AnyVisionConfig, parameters: Mapping[str, jax.Array]) -> Tower:
    """A tower whose modules hold these arrays; cheap inside a trace."""
    graph, state = _abstract_tower(config)
    filled = [
        (path, leaf.replace(parameters[".".join(map(str, path))]))
        for path, leaf in nnx.to_flat_state(state)
    ]
    return nnx.merge(graph, nnx.from_flat_state(filled))
