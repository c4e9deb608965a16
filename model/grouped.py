"""Products of groups of rows, each group with a matrix of its own: what experts need.

Two ways of the same signature. `jax.lax.ragged_dot` is what accelerators have a kernel for;
XLA's CPU backend expands it to every row times every matrix, 75 times slower than reading
the matrices once. There, tiles of a group's rows are multiplied one after another, as long
as there are any: only matrices with rows are read, at the speed of memory.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from model.small import Small, Weight, product

SMALL_TILE, LARGE_TILE = 4, 32
# Up to so many rows of a group on average, small tiles are faster (`tools/bench_experts.py`).
_FEW = 8


def grouped_dot(
    x: Float[Array, "m i"], weights: Weight, sizes: Int[Array, " E"]
) -> Float[Array, "m o"]:
    """Each row times its group's matrix, by the way that suits the platform compiled for.

    Args:
        x: rows, ordered by group.
        weights: one matrix per group, [E, i, o]; of any dtype, or of a form with one scale per
            output or more.
        sizes: rows of each group; they sum to at most m, and what comes of the rows after
            them is not defined.
    """
    other = tiled_dot
    if not isinstance(weights, Small):
        other = jax.lax.ragged_dot if weights.dtype == x.dtype else tiled_dot
    elif weights.form == "int8":
        other = _ragged_int8
    return jax.lax.platform_dependent(x, weights, sizes, cpu=tiled_dot, default=other)


def _ragged_int8(
    x: Float[Array, "m i"], weights: Small, sizes: Int[Array, " E"]
) -> Float[Array, "m o"]:
    # The kernel widens int8 itself; of fp8 it would be given all experts in full, and int4 it does
    # not take.
    out = jax.lax.ragged_dot(x, weights.values, sizes, preferred_element_type=jnp.float32)
    scales = jnp.repeat(weights.scales, sizes, axis=0, total_repeat_length=len(x))
    return (out * scales).astype(x.dtype)


def tiled_dot(
    x: Float[Array, "m i"], weights: Weight, sizes: Int[Array, " E"]
) -> Float[Array, "m o"]:
    """`grouped_dot` in tiles that suit how many rows a group has."""
    few = x.shape[0] <= _FEW * weights.shape[0]
    return dot_in_tiles(x, weights, sizes, SMALL_TILE if few else LARGE_TILE)


def dot_in_tiles(
    x: Float[Array, "m i"], weights: Weight, sizes: Int[Array, " E"], tile: int
) -> Float[Array, "m o"]:
    """`grouped_dot` by a loop over tiles of so many rows, as many tiles as the groups need."""
    rows, width = x.shape[0], weights.shape[-1]
    ends = jnp.cumsum(sizes)
    tiles = -(-sizes // tile)
    tile_ends = jnp.cumsum(tiles)
    padded = jnp.concatenate([x, jnp.zeros((tile, x.shape[1]), x.dtype)])

    def multiply(index: jax.Array, out: jax.Array) -> jax.Array:
        group = jnp.searchsorted(tile_ends, index, side="right")
        before = index - (tile_ends[group] - tiles[group])
        first = ends[group] - sizes[group] + before * tile
        part = jax.lax.dynamic_slice_in_dim(padded, first, tile)
        matrix = jax.tree.map(
            lambda each: jax.lax.dynamic_index_in_dim(each, group, keepdims=False), weights
        )
        done = _times(part, matrix)
        # What lies past the group's end belongs to the next group, which comes later.
        return jax.lax.dynamic_update_slice_in_dim(out, done, first, axis=0)

    out = jnp.zeros((rows + tile, width), x.dtype)
    return jax.lax.fori_loop(0, tile_ends[-1], multiply, out)[:rows]


def _times(x: Float[Array, "m i"], matrix: Weight) -> Float[Array, "m o"]:
    if isinstance(matrix, Small) or matrix.dtype != x.dtype:
        return product("bti,io->bto", x[None], matrix)[0]
    return x @ matrix
