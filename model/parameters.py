"""Parameters as a flat mapping: dotted name → array.

The decoder's modules are the one description of what parameters there are; here they become
names, shapes and shardings for loading, and back into modules inside a trace. A flat dict is
what the compiled steps take: it costs no Python work per parameter per step.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.experimental.layout import Format
from jax.sharding import Mesh, NamedSharding

from model.config import ModelConfig
from model.decoder import Decoder
from model.mesh import sharding

Parameters = dict[str, jax.Array]


class ParameterSpec(NamedTuple):
    """A parameter's shape and logical axes."""

    shape: tuple[int, ...]
    axes: tuple[str, ...]


def _flat_state(state: Any) -> dict[str, nnx.Variable[Any]]:
    return {".".join(str(part) for part in path): leaf for path, leaf in nnx.to_flat_state(state)}


@cache
def _abstract_decoder(config: ModelConfig) -> tuple[Any, Any]:
    return nnx.split(
        nnx.eval_shape(lambda: Decoder(config, jnp.dtype("float32"), rngs=nnx.Rngs(0)))
    )


def parameter_specs(config: ModelConfig) -> dict[str, ParameterSpec]:
    """Every parameter of a decoder of this shape, without allocating any."""
    _, state = _abstract_decoder(config)
    return {
        name: ParameterSpec(tuple(leaf.shape), leaf.get_metadata()["axes"])
        for name, leaf in _flat_state(state).items()
    }


def count_parameters(config: ModelConfig) -> int:
    """Parameters of a decoder of this shape, the embedding counted once when tied.

    Copies and padding that a layout adds are not counted.
    """
    published = replace(config, kv_copies=1, vocab_padding=0)
    return sum(math.prod(spec.shape) for spec in parameter_specs(published).values())


def abstract_parameters(
    config: ModelConfig,
    dtype: jnp.dtype,
    mesh: Mesh,
    places: Mapping[str, NamedSharding | Format] | None = None,
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes, dtype and shardings of the parameters: what to load into, or compile for.

    Args:
        config: the decoder as the mesh holds it.
        dtype: of all of them.
        mesh: the devices.
        places: how each lies there; None for the shardings alone, in the order of the axes.
    """
    return {
        name: jax.ShapeDtypeStruct(
            spec.shape,
            dtype,
            sharding=sharding(mesh, spec.axes) if places is None else places[name],
        )
        for name, spec in parameter_specs(config).items()
    }


def random_parameters(config: ModelConfig, dtype: jnp.dtype, seed: int) -> Parameters:
    """Fresh parameters drawn from `seed`, one by one."""
    return parameters_of(Decoder(config, dtype, rngs=nnx.Rngs(seed)))


def parameters_of(decoder: Decoder) -> Parameters:
    """The arrays of a decoder's modules by name."""
    return {name: leaf[...] for name, leaf in _flat_state(nnx.state(decoder)).items()}


def decoder_with(config: ModelConfig, parameters: Mapping[str, jax.Array]) -> Decoder:
    """A decoder whose modules hold these arrays; cheap inside a trace."""
    graph, state = _abstract_decoder(config)
    flat = nnx.to_flat_state(state)
    filled = [
        (path, leaf.replace(parameters[".".join(str(part) for part in path)]))
        for path, leaf in flat
    ]
    return nnx.merge(graph, nnx.from_flat_state(filled))
