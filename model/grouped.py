"""Products of groups of rows, each group with a matrix of its own: what experts need.

Two ways of the same signature. `jax.lax.ragged_dot` is what accelerators have a kernel for;
XLA's CPU backend expands it to every row times every matrix, 75 times slower than reading
the matrices once. There, tiles of a group's rows are multiplied one after another, as long
as there are any: only matrices with rows are read, at the speed of memory.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

SMALL_TILE, LARGE_TILE = 4, 32
# Up to so many rows of a group on average, small tiles are faster (`tools/bench_experts.py`).
_FEW = 8


def grouped_dot(
    x: Float[Array, "m i"], weights: Float[Array, "E i o"], sizes: Int[Array, " E"]
) -> Float[Array, "m o"]:
    """Each row times its group's matrix, by the way that suits the platform compiled for.

    Args:
        x: rows, ordered by group.
        weights: one matrix per group.
        sizes: rows of each group; they sum to at most m, and what comes of the rows after
            them is not defined.
    """
    return jax.lax.platform_dependent(x, weights, sizes, cpu=tiled_dot, default=jax.lax.ragged_dot)


def tiled_dot(
    x: Float[Array, "m i"], weights: Float[Array, "E i o"], sizes: Int[Array, " E"]
) -> Float[Array, "m o"]:
    """`grouped_dot` in tiles that suit how many rows a group has."""
    few = x.shape[0] <= _FEW * weights.shape[0]
    return dot_in_tiles(x, weights, sizes, SMALL_TILE if few else LARGE_TILE)


def dot_in_tiles(
    x: Float[Array, "m i"], weights: Float[Array, "E i o"], sizes: Int[Array, " E"], tile: int
) -> Float[Array, "m o"]:
    """`grouped_dot` by a loop over tiles of so many rows, as many tiles as the groups need."""
    rows, width = x.shape[0], weights.shape[2]
    ends = jnp.cumsum(sizes)
    tiles = -(-sizes // tile)
    tile_ends = jnp.cumsum(tiles)
    padded = jnp.concatenate([x, jnp.zeros((tile, x.shape[1]), x.dtype)])

    def multiply(index: jax.Array, out: jax.Array) -> jax.Array:
        group = jnp.searchsorted(tile_ends, index, side="right")
        before = index - (tile_ends[group] - tiles[group])
        first = ends[group] - sizes[group] + before * tile
        part = jax.lax.dynamic_slice_in_dim(padded, first, tile)
        product = part @ jax.lax.dynamic_index_in_dim(weights, group, keepdims=False)
        # What lies past the group's end belongs to the next group, which comes later.
        return jax.lax.dynamic_update_slice_in_dim(out, product, first, axis=0)

    out = jnp.zeros((rows + tile, width), x.dtype)
    return jax.lax.fori_loop(0, tile_ends[-1], multiply, out)[:rows]
