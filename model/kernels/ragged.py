"""Attention through page tables on TPU: JAX's ragged paged attention kernel.

Prefill and decode are the same call: the kernel takes the rows' queries one row after another
and each row's length. Every device attends with its own heads over its own part of the pages.
Where the kernel can run is `backends.py`'s knowledge.
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax.experimental.pallas import tpu as pltpu
from jax.experimental.pallas.ops.tpu.ragged_paged_attention import ragged_paged_attention
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

from model.attention import PageView, Scoring, attend_pages, token_slots
from model.axes import HEAD_DIM, HEAD_GROUP, KV_HEADS, PAGE, PAGES, ROWS, TOKENS
from model.cache import CombinedPages, LayerCache, Pool
from model.kernels.ragged_sinks import ragged_paged_attention_with_sinks
from model.mesh import partition

# The kernel holds two blocks of pages while it works on one; this leaves room for the rest
# in the 16 MiB that a program gets of a core's vector memory.
_BLOCK_BYTES = 2 << 20
_BLOCK_KEYS = 2048
QUERIES_PER_BLOCK = 32
# Where more query heads share a kv head, their scores take more: blocks are smaller, and the kernel
# asks for more of that memory, which a v4 alone has not. What it has, fusions cannot use.
_WHOLE_GROUP = 8
_MORE_MEMORY = 24 << 20

AttendCombined = Callable[
    [Float[Array, "B T K G H"], CombinedPages, PageView, Scoring], Float[Array, "B T K G H"]
]


class RaggedAttention:
    """The backend: writes into combined pages, then attends by the kernel."""

    def __init__(self, view: PageView) -> None:
        self.view = view

    def __call__(
        self,
        q: Float[Array, "B T K G H"],
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
        cache: Pool | None,
        scoring: Scoring,
    ) -> tuple[Float[Array, "B T K G H"], Pool | None]:
        """Write, then attend; see `attention.Attend`."""
        if not isinstance(cache, CombinedPages):
            raise TypeError("ragged attention needs a layer's combined pages")

        def part(
            q: jax.Array,
            k: jax.Array,
            v: jax.Array,
            pool: CombinedPages,
            everyone: PageView,
            mine: PageView,
            sinks: jax.Array | None,
        ) -> tuple[jax.Array, CombinedPages]:
            pool = write_combined(pool, k, v, everyone)
            return attend_combined(q, pool, mine, scoring._replace(sinks=sinks)), pool

        if jax.sharding.get_abstract_mesh().empty:
            return part(q, k, v, cache, self.view, self.view, scoring.sinks)
        queries = partition(q.shape, (ROWS, TOKENS, KV_HEADS, HEAD_GROUP, HEAD_DIM))
        # All rows' keys go into every copy of the pages, whoever computes the rows.
        keys = PartitionSpec(None, *partition(k.shape, (ROWS, TOKENS, KV_HEADS, HEAD_DIM))[1:])
        pages = partition(cache.pages.shape, (PAGES, PAGE, KV_HEADS, HEAD_DIM))
        rows = partition(self.view.positions.shape, (ROWS, TOKENS))
        heads = partition(q.shape[2:4], (KV_HEADS, HEAD_GROUP))
        return jax.shard_map(
            part,
            in_specs=(queries, keys, keys, pages, PartitionSpec(), rows, heads),
            out_specs=(queries, CombinedPages(pages)),  # type: ignore[arg-type]
            check_vma=False,
        )(q, k, v, cache, self.view, self.view, scoring.sinks)


def write_combined(
    pool: CombinedPages, k: Float[Array, "B T K H"], v: Float[Array, "B T K H"], view: PageView
) -> CombinedPages:
    """The pages with the tokens' keys and values in them; padding is dropped."""
    pages, page_size, combined, width = pool.pages.shape
    slots = token_slots(view.tables, view.positions, page_size, pages)
    both = jnp.stack([k, v], axis=3).reshape(-1, 2 * k.shape[2], k.shape[-1])
    both = _filled_up(both, (combined, width)).astype(pool.pages.dtype)
    flat = pool.pages.reshape(pages * page_size, combined, width)
    flat = flat.at[slots.reshape(-1)].set(both, mode="drop")
    return CombinedPages(flat.reshape(pool.pages.shape))


def attend_combined(
    q: Float[Array, "B T K G H"], pool: CombinedPages, view: PageView, scoring: Scoring
) -> Float[Array, "B T K G H"]:
    """Attend by the kernel to what each query's position and window let it see; within a `jit`.

    A row's tokens are consecutive, with its padding after them; padding's values are not defined.
    """
    rows, length, heads, group, width = q.shape
    tables, positions = view
    # A row that is padding counts as one query for the first key: the kernel wants one at least.
    lengths = jnp.maximum(jnp.sum(positions >= 0, axis=1), 1)
    ends = jnp.cumsum(lengths)
    offsets = jnp.arange(length)
    where = jnp.where(
        offsets < lengths[:, None], (ends - lengths)[:, None] + offsets, rows * length
    )
    page_size, combined, filled = pool.pages.shape[1:]
    room = combined // 2 * group
    queries = _filled_up(q.reshape(rows * length, heads * group, width), (room, filled))
    if rows > 1 and length > 1:
        queries = jnp.zeros_like(queries).at[where.reshape(-1)].set(queries, mode="drop")
    page_bytes = math.prod(pool.pages.shape[1:]) * pool.pages.dtype.itemsize
    keys = _BLOCK_KEYS * _WHOLE_GROUP // max(_WHOLE_GROUP, group)
    block = max(1, min(_BLOCK_BYTES // page_bytes, keys // page_size, tables.shape[1]))
    kernel = ragged_paged_attention
    if scoring.sinks is not None:
        sinks = _filled_up(scoring.sinks, (combined // 2, group))
        kernel = partial(ragged_paged_attention_with_sinks, sinks=sinks)
    out = kernel(
        queries,
        # Else the compiler takes a whole pool that fits there into the core's memory, and back.
        pltpu.with_memory_space_constraint(pool.pages, pltpu.HBM),
        jnp.maximum(positions.max(axis=1) + 1, 1).astype(jnp.int32),
        tables,
        jnp.concatenate([jnp.zeros(1, jnp.int32), ends.astype(jnp.int32)]),
        jnp.array([rows], jnp.int32),
        sm_scale=scoring.scale,
        sliding_window=scoring.window,
        soft_cap=scoring.softcap,
        num_kv_pages_per_block=block,
        num_queries_per_block=min(QUERIES_PER_BLOCK, rows * length),
        vmem_limit_bytes=_MORE_MEMORY if group > _WHOLE_GROUP else None,
    )
    if rows > 1 and length > 1:
        out = out.at[where.reshape(-1)].get(mode="clip")
    return out[:, : heads * group, :width].reshape(q.shape)


def _filled_up(values: jax.Array, last: tuple[int, int]) -> jax.Array:
    """With zeros behind the last two axes, up to so many."""
    room = [(0, most - size) for most, size in zip(last, values.shape[-2:], strict=True)]
    return jnp.pad(values, [(0, 0)] * (values.ndim - 2) + room)


def reference_combined(
    q: Float[Array, "B T K G H"], pool: CombinedPages, view: PageView, scoring: Scoring
) -> Float[Array, "B T K G H"]:
    """`attend_combined` by the plain backend."""
    by_head = jnp.moveaxis(pool.pages[:, :, : 2 * q.shape[2], : q.shape[-1]], 2, 0)
    return attend_pages(q, LayerCache(by_head[::2], by_head[1::2]), view, scoring)
