"""The weights of a published checkpoint: tensors under a family's names, made into ours.

Everything that headers can tell is checked before a byte of data is read. On a CPU a parameter
is written straight into the memory that it stays in; elsewhere its tensors go to the devices,
each a part of them, and a compiled program makes the parameter there.
"""

import math
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from model.config import CheckpointError, ModelConfig
from model.families.registry import Family
from model.families.stored import Stored
from model.layout import Layout, layout_of
from model.mesh import sharding, spread
from model.parameters import ParameterSpec, is_small, make_held, parameter_specs
from model.small import Weight
from model.weights.copying import copy_view, empty_aligned
from model.weights.groups import groups_by_size
from model.weights.moves import copies
from model.weights.tensors import TensorInfo, TensorStore

# More threads than this wait for the same memory.
_MAX_THREADS = 8
# What tensors that are made while they are read may take together, if one parameter's take less.
_MADE_BYTES = 4 << 30


class Told(NamedTuple):
    """How to speak of a checkpoint whose tensors are not those that its config asks for.

    Attributes:
        config: where the config is.
        whole: what to do where tensors are missing.
        fitting: what to do where others are there, or of another shape.
    """

    config: str
    whole: str
    fitting: str


IN_A_DIRECTORY = Told(
    "config.json",
    "give the whole checkpoint, with the config.json that belongs to it",
    "give the config.json that belongs to it",
)
IN_ONE_FILE = Told(
    "its own metadata", "download it again", "download it again, or have it converted anew"
)


class PublishedTensors:
    """Tensors whose headers fit the parameters that they are to make; no data has been read.

    Attributes:
        counts: parameter → how many values it has.
        dtypes: parameter → the dtype that its tensors make.
        sizes: parameter → bytes that are read for it.
    """

    def __init__(
        self,
        place: Path,
        store: TensorStore,
        stored: Mapping[str, Stored],
        specs: Mapping[str, ParameterSpec],
        unused: Sequence[str] = (),
        told: Told = IN_A_DIRECTORY,
    ) -> None:
        """Check what is stored against what is needed.

        Args:
            place: the checkpoint, for messages.
            store: its tensors.
            stored: where each parameter is among them.
            specs: each parameter as published.
            unused: regular expressions for names of tensors that may be there besides.
            told: how to speak of what does not fit.

        Raises:
            CheckpointError: the tensors are not those that are needed.
        """
        tensors = store.listed()
        self._stored = {name: _present(each, tensors) for name, each in stored.items()}
        used = [name for each in self._stored.values() for name in each.tensors]
        if missing := sorted(set(used) - set(tensors)):
            bare = [name.removeprefix("model.") for name in missing]
            if found := [name for name in bare if name in tensors]:
                raise CheckpointError(
                    f"{tensors[found[0]].file} has {found[0]} for model.{found[0]}, as models that "
                    "make embeddings and write no text are published; give a model that writes text"
                )
            raise CheckpointError(
                f"{place} lacks the tensor {missing[0]} ({len(missing)} are missing); {told.whole}"
            )
        ignored = re.compile("|".join(unused))
        unknown = {name for name in set(tensors) - set(used) if not ignored.fullmatch(name)}
        if extra := sorted(unknown - _zero_biases(store, unknown)):
            raise CheckpointError(
                f"{tensors[extra[0]].file} has the tensor {extra[0]}, for which this architecture "
                f"has no use ({len(extra)} such tensors); {told.fitting}"
            )
        needed = [[tensors[name] for name in each.tensors] for each in self._stored.values()]
        self.dtypes = {
            name: _built_dtype(name, specs[name], each, parts, told)
            for (name, each), parts in zip(self._stored.items(), needed, strict=True)
        }
        self.counts = {name: math.prod(specs[name].shape) for name in self._stored}
        self.sizes = {
            name: sum(part.size for part in parts)
            for name, parts in zip(self._stored, needed, strict=True)
        }
        # Of the one parameter for which most has to be made that is not in the files as it is.
        self._made_bytes = max(
            sum(count for part in parts if (count := _bytes(part)) > part.size) for parts in needed
        )
        self._tensors = store.opened(used)

    def made(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: jnp.dtype,
        mesh: Mesh,
        place: NamedSharding,
        layout: Layout | None = None,
    ) -> jax.Array:
        """A parameter, read and made.

        Args:
            name: the parameter's.
            shape: that it has laid out.
            dtype: of what is made.
            mesh: the devices.
            place: where it is to lie.
            layout: what is made of the parameter as published; None to leave it so.
        """
        stored = self._stored[name]
        sources = [self._tensors[tensor] for tensor in stored.tensors]
        build = stored.build if layout is None else layout.after(stored.build)
        if mesh.size == 1 and mesh.devices.flat[0].platform == "cpu":
            target = empty_aligned(shape, dtype)
            moves = copies(build, sources, target)
            if moves is not None:
                for move in moves:
                    copy_view(move.target, move.source, self._tensors.release)
                return jax.device_put(target, place, may_alias=True)
        parts = [_spread(source, mesh) for source in sources]
        value = jax.block_until_ready(_make(build, dtype, place, *parts))
        for source in sources:
            self._tensors.release(source)
        return value


class PublishedWeights(PublishedTensors):
    """A checkpoint whose headers fit the decoder; nothing of its data has been read.

    Attributes:
        config: the decoder as published.
        turned: matrices are stored with their inputs last, as `ModelConfig.turned` has them.
    """

    turned = True

    def __init__(
        self,
        place: Path,
        store: TensorStore,
        family: Family,
        config: ModelConfig,
        told: Told = IN_A_DIRECTORY,
    ) -> None:
        """Check what is stored against what is needed.

        Args:
            place: the checkpoint, for messages.
            store: its tensors.
            family: where each parameter is among them.
            config: the decoder as published.
            told: how to speak of what does not fit.

        Raises:
            CheckpointError: the tensors are not those that the family and the config ask for.
        """
        self.config, self._specs = config, parameter_specs(config)
        stored = family.weights(config)
        super().__init__(place, store, stored, self._specs, family.unused, told)

    def groups(self, limit: int) -> list[list[str]]:
        """The parameters in groups of up to `limit` stored bytes, or of one larger parameter."""
        return groups_by_size(self.sizes, limit)

    def load(
        self, names: Sequence[str], dtype: jnp.dtype | None, mesh: Mesh, held: ModelConfig
    ) -> Iterator[tuple[str, Weight]]:
        """Parameters of the decoder `held` on the mesh, as `dtype` or else as they are stored."""
        room = max(1, _MADE_BYTES // max(1, self._made_bytes))
        # Programs over several devices must reach all of them in one order; and where matrices are
        # kept in fewer bits, one at a time is there in full.
        alone = mesh.size > 1 or held.weight_form
        workers = 1 if alone else min(os.cpu_count() or 1, _MAX_THREADS, room)
        threads = ThreadPoolExecutor(workers)
        try:
            specs = parameter_specs(held)
            values = threads.map(
                lambda name: self._load_one(name, specs[name], held, dtype, mesh), names
            )
            yield from zip(names, values, strict=True)
        finally:
            threads.shutdown(cancel_futures=True)

    def _load_one(
        self,
        name: str,
        spec: ParameterSpec,
        held: ModelConfig,
        dtype: jnp.dtype | None,
        mesh: Mesh,
    ) -> Weight:
        layout, place = layout_of(held, self._specs[name]), sharding(mesh, spec.axes)
        small = is_small(held, spec)
        # What is kept in fewer bits is made of what is stored.
        made_dtype = self.dtypes[name] if small else dtype or self.dtypes[name]
        whole = self.made(name, spec.shape, made_dtype, mesh, place, layout)
        return make_held(held, spec, dtype or whole.dtype, mesh, whole) if small else whole


def _zero_biases(store: TensorStore, names: Collection[str]) -> set[str]:
    """Those of the tensors that are biases of zeros, which quantizers write for every module.

    Raises:
        CheckpointError: a bias is of a dtype that is not read.
    """
    biases = [name for name in names if name.endswith(".bias")]
    floats = [name for name in biases if jnp.issubdtype(store.listed()[name].dtype, jnp.floating)]
    opened = store.opened(floats)
    return {name for name in floats if not np.any(opened[name])}


def _bytes(tensor: TensorInfo) -> int:
    """Bytes of the array that a tensor is read as."""
    return math.prod(tensor.shape) * tensor.dtype.itemsize


def _present(stored: Stored, tensors: Mapping[str, TensorInfo]) -> Stored:
    """The first of a parameter's places of which the checkpoint has any tensor."""
    place: Stored | None = stored
    while place is not None:
        if any(name in tensors for name in place.tensors):
            return place
        place = place.otherwise
    return stored


def _spread(tensor: np.ndarray, mesh: Mesh) -> jax.Array:
    """A tensor on the mesh, each device with a part of it where an axis can be divided."""
    place = spread(mesh, tensor.shape)
    return jax.make_array_from_callback(tensor.shape, place, lambda index: tensor[index])


@partial(jax.jit, static_argnums=(0, 1, 2))
def _make(
    build: Callable[..., jax.Array], dtype: jnp.dtype, place: NamedSharding, *tensors: jax.Array
) -> jax.Array:
    return jax.lax.with_sharding_constraint(build(*tensors).astype(dtype), place)


def _built_dtype(
    name: str, spec: ParameterSpec, stored: Stored, parts: Sequence[TensorInfo], told: Told
) -> jnp.dtype:
    """The dtype that a parameter has as it is stored.

    Raises:
        CheckpointError: its tensors do not make a parameter of its shape.
    """
    shapes = tuple(jax.ShapeDtypeStruct(part.shape, part.dtype) for part in parts)
    try:
        built = _shape_built(stored.build, shapes)
    except (IndexError, TypeError, ValueError):
        built = None
    fractions = built is not None and jnp.issubdtype(built.dtype, jnp.floating)
    if built is not None and built.shape == spec.shape and fractions:
        return built.dtype
    packed = [part for part in parts if not jnp.issubdtype(part.dtype, jnp.floating)]
    if packed and not fractions:
        raise CheckpointError(
            f"{packed[0].file} has {packed[0].name} as {packed[0].kind}, and {name} needs numbers "
            "with a fraction; checkpoints quantized in this way are not supported"
        )
    given = " and ".join(f"{part.name} {part.shape}" for part in parts)
    raise CheckpointError(
        f"{parts[0].file} does not fit {told.config}: {given} cannot be {name} {spec.shape}; "
        f"{told.fitting}"
    )


@cache
def _shape_built(
    build: Callable[..., jax.Array], shapes: tuple[jax.ShapeDtypeStruct, ...]
) -> jax.ShapeDtypeStruct:
    # JAX keeps weak references to what it traces, and a build need not allow them.
    return jax.eval_shape(partial(build), *shapes)
