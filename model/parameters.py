"""Parameters as a flat mapping: dotted name → array, or what stands for a matrix in fewer bits.

The decoder's modules are the one description of what parameters there are; here they become
names, shapes and shardings for loading, and back into modules inside a trace. A flat dict is
what the compiled steps take: it costs no Python work per parameter per step.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.experimental.layout import Format
from jax.sharding import AbstractMesh, Mesh, NamedSharding

from model.axes import WITHIN_GROUP
from model.config import ModelConfig
from model.decoder import Decoder
from model.freed import release_memory
from model.mesh import RULES, parts_on, sharding
from model.small import Parts, Small, Weight, has_scales, parts_of, quantized, quantized_on_host

Parameters = dict[str, Weight]
# Of a decoder none of whose matrices are held in fewer bits.
Arrays = dict[str, jax.Array]
Shape = jax.ShapeDtypeStruct | Small
# How each parameter lies: a sharding, a format, or a `Small` of two.
Places = Mapping[str, NamedSharding | Format | Small]


class ParameterSpec(NamedTuple):
    """A parameter as it is held.

    Attributes:
        shape: one size per axis.
        axes: their logical names.
        inputs: how many axes its product sums over: the first ones, or the last of a decoder
            that is turned. 0 for what is never turned.
        sums: axes that its product sums over, if it may be held in fewer bits.
    """

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    inputs: int = 0
    sums: tuple[int, ...] = ()


def flat_state(state: Any) -> dict[str, nnx.Variable[Any]]:
    """The variables of modules by their dotted names."""
    return {".".join(str(part) for part in path): leaf for path, leaf in nnx.to_flat_state(state)}


class OneKey(nnx.Rngs):
    """Where only shapes are wanted: counting keys is dear inside a trace."""

    def params(self) -> jax.Array:
        """The one key."""
        return jax.random.key(0)


@cache
def _abstract_decoder(config: ModelConfig) -> tuple[Any, Any]:
    return nnx.split(nnx.eval_shape(lambda: Decoder(config, jnp.dtype("float32"), rngs=OneKey(0))))


def parameter_specs(config: ModelConfig) -> dict[str, ParameterSpec]:
    """Every parameter of a decoder of this shape, without allocating any."""
    _, state = _abstract_decoder(config)
    return {name: _spec(config, leaf) for name, leaf in flat_state(state).items()}


def adapter_specs(config: ModelConfig) -> dict[str, ParameterSpec]:
    """Those of the parameters that are adapters'."""
    plain = parameter_specs(replace(config, adapters=None))
    return {name: spec for name, spec in parameter_specs(config).items() if name not in plain}


def _spec(config: ModelConfig, leaf: nnx.Variable[Any]) -> ParameterSpec:
    shape, axes, inputs = tuple(leaf.shape), leaf.get_metadata()["axes"], _inputs(leaf)
    last = inputs if config.turned else 0
    sums = () if config.turned else leaf.get_metadata().get("sums", ())
    return ParameterSpec(shape[last:] + shape[:last], axes[last:] + axes[:last], inputs, sums)


def _inputs(leaf: nnx.Variable[Any]) -> int:
    return leaf.get_metadata().get("inputs", 0)


def count_parameters(config: ModelConfig) -> int:
    """Parameters of a decoder of this shape, the embedding counted once when tied.

    Copies and padding that a layout adds are not counted.
    """
    published = replace(
        config,
        kv_copies=1,
        vocab_padding=0,
        turned=False,
        weight_form="",
        weight_parts=1,
        adapters=None,
    )
    return sum(math.prod(spec.shape) for spec in parameter_specs(published).values())


def abstract_parameters(
    config: ModelConfig,
    dtype: jnp.dtype,
    mesh: Mesh,
    places: Places | None = None,
) -> dict[str, Shape]:
    """Shapes, dtypes and shardings of the parameters: what to load into, or compile for.

    Args:
        config: the decoder as the mesh holds it.
        dtype: of all of them but matrices in a form of their own.
        mesh: the devices.
        places: how each lies there; None for the shardings alone, in the order of the axes.
    """
    shapes: dict[str, Shape] = {}
    for name, spec in parameter_specs(config).items():
        parts = held_as(config, spec, dtype)
        chosen = held_places(config, spec, mesh) if places is None else places[name]
        shapes[name] = jax.tree.map(
            lambda part, place: jax.ShapeDtypeStruct(part.shape, part.dtype, sharding=place),
            parts,
            chosen,
        )
    return shapes


def held_as(config: ModelConfig, spec: ParameterSpec, dtype: jnp.dtype) -> Shape:
    """What a parameter is held as: shapes and dtypes, over all devices."""
    parts = _parts(config, spec)
    if parts is None:
        return jax.ShapeDtypeStruct(spec.shape, _plain_dtype(config, spec, dtype))
    values, scales = map(jax.ShapeDtypeStruct, parts.shapes, parts.dtypes)
    return Small(values, scales, config.weight_form)


def _plain_dtype(config: ModelConfig, spec: ParameterSpec, dtype: jnp.dtype) -> jnp.dtype:
    """Of a parameter that is one array."""
    return jnp.dtype(config.weight_form) if is_small(config, spec) else dtype


def held_places(config: ModelConfig, spec: ParameterSpec, mesh: Mesh) -> Any:
    """How it lies on a mesh: a sharding, or a `Small` of two."""
    parts = _parts(config, spec)
    if parts is None:
        return sharding(mesh, spec.axes)
    values, scales = (sharding(mesh, axes) for axes in parts.axes)
    return Small(values, scales, config.weight_form)


def held_bytes(
    config: ModelConfig, spec: ParameterSpec, dtype: jnp.dtype, mesh: Mesh | AbstractMesh
) -> float:
    """Bytes that a parameter takes of each device of a mesh, as it is held."""
    parts = _parts(config, spec)
    axes = (spec.axes,) if parts is None else parts.axes
    return sum(
        math.prod(each.shape)
        / math.prod(parts_on(mesh, axis) for axis in names)
        * bits_of(each.dtype)
        / 8
        for each, names in zip(jax.tree.leaves(held_as(config, spec, dtype)), axes, strict=True)
    )


def bits_of(dtype: jnp.dtype) -> int:
    """Bits that a number takes on an accelerator."""
    return 4 if dtype == jnp.int4 else 8 * dtype.itemsize


def _parts(config: ModelConfig, spec: ParameterSpec) -> Parts | None:
    """The two arrays of a matrix in fewer bits; None for a parameter that is one array."""
    if not spec.sums or not has_scales(config.weight_form):
        return None
    count = _input_parts(config, spec)
    return parts_of(spec.shape, spec.axes, spec.sums, config.weight_form, count, WITHIN_GROUP)


def _input_parts(config: ModelConfig, spec: ParameterSpec) -> int:
    return 1 if RULES[spec.axes[spec.sums[-1]]] is None else config.weight_parts


def held(config: ModelConfig, spec: ParameterSpec, dtype: jnp.dtype, value: jax.Array) -> Weight:
    """A parameter as it is held, made of its values; within a `jit`."""
    if spec.sums and has_scales(config.weight_form):
        return quantized(value, spec.sums, config.weight_form, _input_parts(config, spec))
    return value.astype(_plain_dtype(config, spec, dtype))


def make_held(
    config: ModelConfig, spec: ParameterSpec, dtype: jnp.dtype, mesh: Mesh, value: jax.Array
) -> Weight:
    """`held`, on a mesh; waited for, so that no more than one is there in full."""
    alone = mesh.size == 1 and mesh.devices.flat[0].platform == "cpu"
    if alone and spec.sums and has_scales(config.weight_form):
        made = quantized_on_host(np.asarray(value), spec.sums, config.weight_form)
        places = held_places(config, spec, mesh)
        release_memory()
        return jax.tree.map(partial(jax.device_put, may_alias=True), made, places)
    return jax.block_until_ready(_make_held(config, spec, dtype, mesh, value))


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _make_held(
    config: ModelConfig, spec: ParameterSpec, dtype: jnp.dtype, mesh: Mesh, value: jax.Array
) -> Weight:
    made = held(config, spec, dtype, value)
    return jax.lax.with_sharding_constraint(made, held_places(config, spec, mesh))


def is_small(config: ModelConfig, spec: ParameterSpec) -> bool:
    """Whether a parameter is held in a form of its own."""
    return bool(spec.sums and config.weight_form)


def random_parameters(config: ModelConfig, dtype: jnp.dtype, seed: int) -> Parameters:
    """Fresh parameters drawn from `seed`, one by one, as they are held."""
    specs = parameter_specs(config)
    return {
        name: (
            jax.jit(partial(held, config, specs[name], dtype))(value)
            if is_small(config, specs[name])
            else value
        )
        for name, value in random_arrays(config, dtype, seed).items()
    }


def random_arrays(config: ModelConfig, dtype: jnp.dtype, seed: int) -> Arrays:
    """Fresh parameters drawn from `seed`, all of this dtype."""
    return parameters_of(Decoder(config, dtype, rngs=nnx.Rngs(seed)))


def parameters_of(decoder: Decoder) -> Arrays:
    """The arrays of a decoder's modules by name, turned where its config says so."""
    return {
        name: turn(leaf[...], _inputs(leaf)) if decoder.config.turned else leaf[...]
        for name, leaf in flat_state(nnx.state(decoder)).items()
    }


def turn(value: jax.Array, inputs: int) -> jax.Array:
    """The value with its first `inputs` axes as the last; a negative number turns it back.

    Turned as a matrix: that is the form which XLA's CPU backend leaves to the product itself.
    """
    if not inputs:
        return value
    first, last = value.shape[:inputs], value.shape[inputs:]
    return value.reshape(math.prod(first), math.prod(last)).T.reshape(*last, *first)


def decoder_with(config: ModelConfig, parameters: Mapping[str, Weight]) -> Decoder:
    """A decoder whose modules hold these arrays; cheap inside a trace."""
    graph, state = _abstract_decoder(config)
    flat = nnx.to_flat_state(state)

    def value(path: tuple[Any, ...], leaf: nnx.Variable[Any]) -> Weight:
        found = parameters[".".join(map(str, path))]
        if isinstance(found, Small) or not config.turned:
            return found
        return turn(found, -_inputs(leaf))

    filled = [(path, leaf.replace(value(path, leaf))) for path, leaf in flat]
    return nnx.merge(graph, nnx.from_flat_state(filled))
