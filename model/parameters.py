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
    """A parameter as it is held.

    Attributes:
        shape: one size per axis.
        axes: their logical names.
        inputs: how many axes its product sums over: the first ones, or the last of a decoder
            that is turned. 0 for what is never turned.
    """

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    inputs: int = 0


def _flat_state(state: Any) -> dict[str, nnx.Variable[Any]]:
    return {".".join(str(part) for part in path): leaf for path, leaf in nnx.to_flat_state(state)}


class _OneKey(nnx.Rngs):
    """Where only shapes are wanted: counting keys is dear inside a trace."""

    def params(self) -> jax.Array:
        return jax.random.key(0)


@cache
def _abstract_decoder(config: ModelConfig) -> tuple[Any, Any]:
    return nnx.split(nnx.eval_shape(lambda: Decoder(config, jnp.dtype("float32"), rngs=_OneKey(0))))


def parameter_specs(config: ModelConfig) -> dict[str, ParameterSpec]:
    """Every parameter of a decoder of this shape, without allocating any."""
    _, state = _abstract_decoder(config)
    return {name: _spec(config, leaf) for name, leaf in _flat_state(state).items()}


def adapter_specs(config: ModelConfig) -> dict[str, ParameterSpec]:
    """Those of the parameters that are adapters'."""
    plain = parameter_specs(replace(config, adapters=None))
    return {name: spec for name, spec in parameter_specs(config).items() if name not in plain}


def _spec(config: ModelConfig, leaf: nnx.Variable[Any]) -> ParameterSpec:
    shape, axes, inputs = tuple(leaf.shape), leaf.get_metadata()["axes"], _inputs(leaf)
    last = inputs if config.turned else 0
    return ParameterSpec(shape[last:] + shape[:last], axes[last:] + axes[:last], inputs)


def _inputs(leaf: nnx.Variable[Any]) -> int:
    return leaf.get_metadata().get("inputs", 0)


def count_parameters(config: ModelConfig) -> int:
    """Parameters of a decoder of this shape, the embedding counted once when tied.

    Copies and padding that a layout adds are not counted.
    """
    published = replace(config, kv_copies=1, vocab_padding=0, turned=False, adapters=None)
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
    """The arrays of a decoder's modules by name, turned where its config says so."""
    return {
        name: turn(leaf[...], _inputs(leaf)) if decoder.config.turned else leaf[...]
        for name, leaf in _flat_state(nnx.state(decoder)).items()
    }


def turn(value: jax.Array, inputs: int) -> jax.Array:
    """The value with its first `inputs` axes as the last; a negative number turns it back.

    Turned as a matrix: that is the form which XLA's CPU backend leaves to the product itself.
    """
    if not inputs:
        return value
    first, last = value.shape[:inputs], value.shape[inputs:]
    return value.reshape(math.prod(first), math.prod(last)).T.reshape(*last, *first)


def decoder_with(config: ModelConfig, parameters: Mapping[str, jax.Array]) -> Decoder:
    """A decoder whose modules hold these arrays; cheap inside a trace."""
    graph, state = _abstract_decoder(config)
    flat = nnx.to_flat_state(state)

    def value(path: tuple[Any, ...], leaf: nnx.Variable[Any]) -> jax.Array:
        held = parameters[".".join(map(str, path))]
        return turn(held, -_inputs(leaf)) if config.turned else held

    filled = [(path, leaf.replace(value(path, leaf))) for path, leaf in flat]
    return nnx.merge(graph, nnx.from_flat_state(filled))
