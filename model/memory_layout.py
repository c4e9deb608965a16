"""In which order of its axes a device keeps each parameter.

A TPU keeps an array in tiles of two of its axes, and a product reads fastest with certain axes
in the tiles. Where a step finds a parameter in another order, it rearranges the parameter first,
every time: the feed-forward weights would be read twice and written once. So the compiler is
asked which orders it would like, and parameters are put into them when they are loaded. On other
platforms parameters stay in the order of their axes. Which axes come first matters to a CPU:
published matrices have a product's inputs last, and float32 is multiplied faster, by a
quarter, with inputs first; bfloat16 about as fast as they are, and large ones faster, so
that loading need not transpose them.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.layout import Format, Layout
from jax.sharding import Mesh, NamedSharding

from model import steps
from model.backends import backend_on
from model.cache import Cache, abstract_cache
from model.config import LayerConfig, ModelConfig
from model.mesh import replicated
from model.parameters import (
    Parameters,
    Places,
    abstract_parameters,
    held_places,
    parameter_specs,
)
from model.small import Weight

# Whose compiler is asked.
_PLATFORMS = ("tpu",)
# A step to ask about: what a server does most, of any length.
_ROWS, _PAGE, _TABLE = 64, 32, 8


def parameter_places(
    config: ModelConfig, dtype: jnp.dtype, mesh: Mesh, page_dtype: jnp.dtype | None = None
) -> Places:
    """How each parameter lies on the mesh, and in which order where that matters.

    Args:
        config: the decoder as the mesh holds it.
        dtype: of parameters.
        mesh: the devices, which need not be there.
        page_dtype: of pages; None for that of parameters.
    """
    if mesh.devices.flat[0].platform not in _PLATFORMS:
        specs = parameter_specs(config)
        return {name: held_places(config, spec, mesh) for name, spec in specs.items()}
    # Layers of a kind are all treated alike: one of each is soon compiled.
    kinds = list(dict.fromkeys(config.layers))
    reduced = replace(config, layers=tuple(kinds))
    places = _orders_wished(reduced, dtype, mesh, page_dtype or dtype)
    return {name: places[_alike(name, config, kinds)] for name in parameter_specs(config)}


def either_order(dtype: jnp.dtype, mesh: Mesh) -> bool:
    """Whether matrices may stay in the order in which they are stored, and lose no speed."""
    return mesh.devices.flat[0].platform == "cpu" and dtype == jnp.bfloat16


def put(value: Weight, place: Any) -> Weight:
    """A parameter that lies on the mesh already, in the order of its place."""
    return jax.tree.map(
        lambda part, where: (
            part if isinstance(where, NamedSharding) else jax.device_put(part, where)
        ),
        value,
        place,
    )


def _alike(name: str, config: ModelConfig, kinds: list[LayerConfig]) -> str:
    """The name that a parameter has in a decoder with one layer of each kind."""
    match name.split(".", 2):
        case ["blocks", index, rest]:
            return f"blocks.{kinds.index(config.layers[int(index)])}.{rest}"
        case _:
            return name


def _orders_wished(
    config: ModelConfig, dtype: jnp.dtype, mesh: Mesh, page_dtype: jnp.dtype
) -> dict[str, Any]:
    backend = backend_on(mesh, config, page_dtype)
    cache, cache_places = abstract_cache(
        config,
        mesh,
        pages=_ROWS * _TABLE,
        page_size=_PAGE,
        rows=_ROWS,
        table_width=_TABLE,
        dtype=page_dtype,
        layout=backend.layout,
        heads=backend.heads,
    )
    whole = replicated(mesh)
    parameters = abstract_parameters(config, dtype, mesh)
    free = jax.tree.map(lambda each: Format(Layout.AUTO, each.sharding), parameters)

    def step(parameters: Parameters, cache: Cache, *rest: Any) -> tuple[jax.Array, Cache]:
        picked, _, cache = steps.forward(config, parameters, cache, *rest)
        return steps.logits(config, parameters, picked), cache

    jitted = jax.jit(
        step,
        in_shardings=(free, cache_places, whole, whole, whole),
        out_shardings=(whole, cache_places),
        donate_argnums=1,
    )
    unplaced = jax.tree.map(lambda each: jax.ShapeDtypeStruct(each.shape, each.dtype), parameters)
    last, tokens, rows, picks = (
        jax.ShapeDtypeStruct(shape, jnp.int32)
        for shape in ((_ROWS,), (4, _ROWS), (3, _ROWS), (_ROWS,))
    )
    with jax.set_mesh(mesh):
        lowered = jitted.lower(unplaced, cache, last, steps.StepInputs(tokens, rows), picks)
    compiled = lowered.compile()
    return compiled.input_formats[0][0]
