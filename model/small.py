"""Matrices that are kept in fewer bits than they are multiplied in.

int8 and fp8 have one scale for each output of a matrix, applied after the product; int4 has one
for each output and group of up to 128 inputs, applied inside it. What reads such a matrix widens
it within the product: an accelerator's compiler fuses that, and for a CPU it goes tile by tile,
through the processor's cache. No matrix is ever there in full.

On a CPU, XLA gives an int4 a whole byte and widens fp8 number by number. There two int4 share a
byte, the first half of a group's inputs in the low bits, and fp8 is kept as its bits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import EllipsisType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from model.float8 import float8_bits, of_float8_bits, to_float8
from model.weights.copying import empty_aligned

# What a person may choose. The first is the dtype of all else; the next two have no scales.
WEIGHT_FORMS = ("full", "float32", "bfloat16", "int8", "fp8", "int4")
GROUP = 128
# Groups of a power of two suit a TPU's tiles; smaller ones than this would be mostly scales.
_LEAST_GROUP = 32
# Numbers of a tile, so that it stays in a processor's cache when it is widened.
_TILE = 1 << 20


class _Kind(NamedTuple):
    """How numbers are kept.

    Attributes:
        dtype: of what holds them.
        most: the largest magnitude.
        grouped: there is a scale for each group of inputs, in bfloat16; else one for all.
        paired: two of them share a byte.
    """

    dtype: Any
    most: float
    grouped: bool = False
    paired: bool = False


_KINDS = {
    "int8": _Kind(jnp.int8, 127.0),
    "fp8": _Kind(jnp.float8_e4m3fn, 448.0),
    "fp8_bits": _Kind(jnp.uint8, 448.0),
    "int4": _Kind(jnp.int4, 8.0, grouped=True),
    "int4_pairs": _Kind(jnp.uint8, 8.0, grouped=True, paired=True),
}
_ON_CPU = {"fp8": "fp8_bits", "int4": "int4_pairs"}
# Numbers that are quantized at a time.
_TURN = 1 << 20


@partial(jax.tree_util.register_dataclass, data_fields=("values", "scales"), meta_fields=("form",))
@dataclass(frozen=True)
class Small:
    """Stands for a matrix.

    Attributes:
        values: in the matrix's shape; of grouped forms the last axis of its inputs is two, groups
            and what is in one.
        scales: float32 in the shape of its outputs; of grouped forms bfloat16, in the shape of
            values without the axis within groups.
        form: how the values are kept.
    """

    values: Any
    scales: Any
    form: str

    def __getitem__(self, key: EllipsisType) -> "Small":
        """All of it: as a module reads its parameter."""
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the values."""
        return self.values.shape


Weight = jax.Array | Small


class Parts(NamedTuple):
    """Shapes, dtypes and axes of a `Small`'s two arrays.

    Attributes:
        shapes: of values and scales.
        dtypes: of both.
        axes: logical names of both; those within a group have `within`.
    """

    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    dtypes: tuple[Any, Any]
    axes: tuple[tuple[str, ...], tuple[str, ...]]


def form_on(platform: str, form: str, dtype: jnp.dtype) -> str:
    """A form that a person chose, as it is kept on a platform; empty for the dtype of all else."""
    if form in ("full", str(dtype)):
        return ""
    return _ON_CPU.get(form, form) if platform == "cpu" else form


def form_in_words(form: str) -> str:
    """A form as a person knows it."""
    return form.split("_")[0]


def has_scales(form: str) -> bool:
    """Whether matrices of this form are `Small`, and not just arrays of another dtype."""
    return form in _KINDS


def group_size(inputs: int, parts: int) -> int:
    """Inputs of a group, so that each device's part of them is whole groups.

    128, or the largest power of two below that will do; where that is less than 32, the largest
    divisor up to 128 of a device's inputs.
    """
    own = inputs // parts
    size = math.gcd(own, GROUP)
    if size >= min(_LEAST_GROUP, own):
        return size
    return next(size for size in range(min(own, GROUP), 0, -1) if own % size == 0)


def parts_of(
    shape: Sequence[int],
    axes: Sequence[str],
    sums: Sequence[int],
    form: str,
    parts: int,
    within: str,
) -> Parts:
    """What a matrix becomes.

    Args:
        shape: of the matrix.
        axes: their logical names.
        sums: axes that its product sums over.
        form: how it is kept.
        parts: that the last of these axes is cut into, over all devices.
        within: name of the axis within groups.
    """
    kind = _KINDS[form]
    shape, axes = tuple(shape), tuple(axes)
    if not kind.grouped:
        kept = [axis for axis in range(len(shape)) if axis not in sums]
        scales = tuple(shape[axis] for axis in kept)
        return Parts(
            (shape, scales),
            (jnp.dtype(kind.dtype), jnp.dtype("float32")),
            (axes, tuple(axes[axis] for axis in kept)),
        )
    last = sums[-1]
    size = group_size(shape[last], parts)
    before, after = (*shape[:last], shape[last] // size), shape[last + 1 :]
    held = -(-size // 2) if kind.paired else size
    return Parts(
        ((*before, held, *after), (*before, *after)),
        (jnp.dtype(kind.dtype), jnp.dtype("bfloat16")),
        ((*axes[: last + 1], within, *axes[last + 1 :]), axes),
    )


def quantized(value: Float[Array, "..."], sums: Sequence[int], form: str, parts: int = 1) -> Small:
    """A matrix in a form; see `parts_of` for the arguments."""
    kind = _KINDS[form]
    wide = value.astype(jnp.float32)
    if not kind.grouped:
        scales = jnp.max(jnp.abs(wide), axis=tuple(sums), keepdims=True) / kind.most
        scaled = wide / jnp.where(scales == 0, 1.0, scales)
        made = {
            "int8": lambda: jnp.round(scaled).astype(jnp.int8),
            "fp8": lambda: to_float8(scaled),
            "fp8_bits": lambda: float8_bits(scaled),
        }
        values = made[form]()
        return Small(values, jnp.squeeze(scales, tuple(sums)), form)
    last = sums[-1]
    size = group_size(value.shape[last], parts)
    groups = wide.reshape(*value.shape[:last], -1, size, *value.shape[last + 1 :])
    scales = _group_scales(groups, last + 1)
    values = _to_int4(groups, scales)
    values = _paired(values, last + 1) if kind.paired else values.astype(jnp.int4)
    return Small(values, jnp.squeeze(scales, last + 1).astype(jnp.bfloat16), form)


def quantized_on_host(value: np.ndarray, sums: Sequence[int], form: str) -> Small:
    """`quantized` for one CPU device, some outputs after the others, in NumPy's memory.

    So little is there beside both matrices: a program of the whole would need several of them.
    """
    run = partial(jax.jit(quantized, static_argnums=(1, 2)), sums=tuple(sums), form=form)
    whole = jax.eval_shape(partial(quantized, sums=sums, form=form), value)
    target = jax.tree.map(lambda each: empty_aligned(each.shape, each.dtype), whole)
    outs = [axis for axis in range(value.ndim) if axis not in sums]
    axis = max(outs, key=lambda each: value.shape[each])
    grouped = _KINDS[form].grouped
    of_values = axis + 1 if grouped and axis > sums[-1] else axis
    of_scales = axis if grouped else outs.index(axis)
    width = max(1, _TURN * value.shape[axis] // value.size)
    for first in range(0, value.shape[axis], width):
        mine = slice(first, first + width)
        part = run(jnp.asarray(value[_along(axis, mine)]))
        np.copyto(target.values[_along(of_values, mine)], part.values)
        np.copyto(target.scales[_along(of_scales, mine)], part.scales)
    return target


def _along(axis: int, mine: slice) -> tuple[slice, ...]:
    return (*(slice(None),) * axis, mine)


def _group_scales(groups: jax.Array, axis: int) -> jax.Array:
    """The scale of each group, float32 with the values of bfloat16.

    Of the sixteen numbers -8 has the largest magnitude: it stands for the group's largest. To cut
    that off for the sake of the others makes a group's squared error less, and a model's worse.
    """
    low, high = groups.min(axis, keepdims=True), groups.max(axis, keepdims=True)
    scales = jnp.where(-low > high, -low, -high) / 8.0
    return scales.astype(jnp.bfloat16).astype(jnp.float32)


def _to_int4(groups: jax.Array, scales: jax.Array) -> jax.Array:
    """The nearest whole numbers of scales from -8 to 7, float32."""
    return jnp.clip(jnp.round(groups / jnp.where(scales == 0, 1.0, scales)), -8, 7)


def _paired(values: jax.Array, axis: int) -> jax.Array:
    """Whole numbers from -8 to 7 in the low and the high bits of bytes; an odd last one alone."""
    size = values.shape[axis]
    bits = values.astype(jnp.int32) & 15
    half = -(-size // 2)
    low = jax.lax.slice_in_dim(bits, 0, half, axis=axis)
    high = jax.lax.slice_in_dim(bits, half, size, axis=axis)
    room = [(0, half - (size - half) if each == axis else 0) for each in range(values.ndim)]
    return (low | jnp.pad(high, room) << 4).astype(jnp.uint8)


def _pieces(values: jax.Array, form: str, size: int, axis: int, dtype: Any) -> list[jax.Array]:
    """Values as numbers, in pieces that follow one another along an axis of this size."""
    match form:
        case "fp8_bits":
            return [of_float8_bits(values).astype(dtype)]
        case "int4_pairs":
            signed = partial(jax.lax.bitcast_convert_type, new_dtype=jnp.int8)
            low, high = signed(values << 4) >> 4, signed(values) >> 4
            high = jax.lax.slice_in_dim(high, 0, size - low.shape[axis], axis=axis)
            return [low.astype(dtype), high.astype(dtype)]
        case _:
            return [values.astype(dtype)]


def widened(weight: Small, size: int, axis: int, dtype: Any) -> Float[Array, "..."]:
    """The values as numbers, in the shape of the values.

    Args:
        weight: the matrix.
        size: of the axis of its values that may hold pairs: of the inputs, or of a group.
        axis: that axis.
        dtype: of the result.
    """
    pieces = _pieces(weight.values, weight.form, size, axis, dtype)
    return pieces[0] if len(pieces) == 1 else jnp.concatenate(pieces, axis)


def product(
    letters: str,
    x: Float[Array, "B T *inputs"],
    weight: Weight,
    dtype: jnp.dtype | None = None,
) -> Float[Array, "B T *outputs"]:
    """`layers.product` with a matrix of another dtype than the activations, or a `Small`.

    Args:
        letters: the einsum's; a matrix has its inputs first, in the activations' order.
        x: the activations.
        weight: the matrix.
        dtype: of the result; None for that of the activations.
    """
    wanted = dtype or x.dtype
    return jax.lax.platform_dependent(
        x,
        weight,
        cpu=partial(_in_tiles, dtype=wanted),
        default=partial(_fused, letters, dtype=wanted),
    )


def _fused(letters: str, x: jax.Array, weight: Weight, dtype: jnp.dtype) -> jax.Array:
    """The product as one einsum of which widening is a part."""
    if not isinstance(weight, Small):
        wide = jnp.promote_types(x.dtype, weight.dtype)
        return jnp.einsum(letters, x.astype(wide), weight.astype(wide)).astype(dtype)
    left, right, out = _terms(letters)
    inputs = [letter for letter in right if letter not in out]
    axis = right.index(inputs[-1])
    if not _KINDS[weight.form].grouped:
        values = widened(weight, weight.shape[axis], axis, x.dtype)
        whole = jnp.einsum(letters, x, values, preferred_element_type=dtype)
        return (whole.astype(jnp.float32) * weight.scales).astype(dtype)
    count, there = weight.scales.shape[axis], left.index(inputs[-1])
    size = x.shape[there] // count
    values = widened(weight, size, axis + 1, x.dtype)
    values = values * jnp.expand_dims(weight.scales.astype(x.dtype), axis + 1)
    split = x.reshape(*x.shape[:there], count, size, *x.shape[there + 1 :])
    # As two axes: one would have the compiler write all of the values anew.
    left, right = (term.replace(inputs[-1], "z" + inputs[-1]) for term in (left, right))
    return jnp.einsum(f"{left},{right}->{out}", split, values, preferred_element_type=dtype)


def _terms(letters: str) -> tuple[str, str, str]:
    both, out = letters.split("->")
    left, right = both.split(",")
    return left, right, out


def _in_tiles(x: jax.Array, weight: Weight, dtype: jnp.dtype) -> jax.Array:
    """The product by a loop over tiles of inputs, each widened and multiplied in float32."""
    leading, inputs = x.shape[:2], x.ndim - 2
    rows = x.reshape(math.prod(leading), -1).astype(jnp.float32)
    width = rows.shape[1]
    if isinstance(weight, Small) and _KINDS[weight.form].grouped:
        outs = weight.shape[inputs + 1 :]
        sums = _of_groups(rows, weight, weight.shape[inputs], math.prod(outs))
    else:
        outs = weight.shape[inputs:]
        small = isinstance(weight, Small)
        values, form = (weight.values, weight.form) if small else (weight, "")
        sums = _of_channels(rows, values.reshape(width, -1), form)
        if small:
            sums = sums * weight.scales.reshape(-1)
    return sums.astype(dtype).reshape(*leading, *outs)


def _of_channels(rows: jax.Array, values: Num[Array, "i o"], form: str) -> jax.Array:
    inputs, outs = values.shape
    tile = max(16, _TILE // outs)

    def part(first: Any, size: int) -> jax.Array:
        mine = jax.lax.dynamic_slice_in_dim(rows, first, size, axis=1)
        held = jax.lax.dynamic_slice_in_dim(values, first, size)
        return mine @ _pieces(held, form, size, 0, jnp.float32)[0]

    if inputs <= tile:
        return part(0, inputs)
    count = inputs // tile
    sums = jax.lax.fori_loop(
        0,
        count,
        lambda index, sums: sums + part(index * tile, tile),
        jnp.zeros((len(rows), outs), jnp.float32),
    )
    rest = inputs - count * tile
    return sums + part(count * tile, rest) if rest else sums


def _of_groups(rows: jax.Array, weight: Small, held: int, outs: int) -> jax.Array:
    values, scales = weight.values.reshape(-1, held, outs), weight.scales.reshape(-1, outs)
    count = len(values)
    size = rows.shape[1] // count
    groups = rows.reshape(len(rows), count, size)

    def add(index: jax.Array, sums: jax.Array) -> jax.Array:
        group, mine, scale = (
            jax.lax.dynamic_index_in_dim(each, index, axis, keepdims=False)
            for each, axis in ((values, 0), (groups, 1), (scales, 0))
        )
        pieces = _pieces(group, weight.form, size, 0, jnp.float32)
        parts = jnp.split(mine, [len(pieces[0])], axis=1)
        total = sum(part @ piece for part, piece in zip(parts, pieces, strict=False))
        return sums + total * scale.astype(jnp.float32)

    return jax.lax.fori_loop(0, count, add, jnp.zeros((len(rows), outs), jnp.float32))
