"""Attention through page tables on TPU: JAX's ragged paged attention kernel.

The kernel takes a step as it is: the rows' queries one row after another, and each row's length.
It lets no token see what comes after it: rows in which some do are attended in plain JAX. Every
device attends with its own heads, and its own part of the tokens, over its own part of the
pages. Where the kernel can run is `backends.py`'s knowledge.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax.experimental.pallas import tpu as pltpu
from jax.experimental.pallas.ops.tpu.ragged_paged_attention import ragged_paged_attention
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int

from model.attention import Scoring
from model.axes import HEAD_DIM, HEAD_GROUP, KV_HEADS, PAGE, PAGES, ROWS, TOKENS
from model.cache import CombinedPages, Pool
from model.float8 import FP8, to_float8
from model.kernels.ragged_sinks import ragged_paged_attention_with_sinks
from model.mesh import partition
from model.paged import Sizes, StepView, token_slots, with_blocks

# The kernel holds two blocks of pages while it works on one; this leaves room for the rest
# in the 16 MiB that a program gets of a core's vector memory.
_BLOCK_BYTES = 2 << 20
_BLOCK_KEYS = 2048
QUERIES_PER_BLOCK = 32
# Where more query heads share a kv head, their scores take more: blocks are smaller, and the kernel
# asks for more of that memory, which a v4 alone has not. What it has, fusions cannot use.
_WHOLE_GROUP = 8
_MORE_MEMORY = 24 << 20

# Of rows in plain JAX: an image is a block.
AHEAD = Sizes(keys=512, queries=256)


class RaggedAttention:
    """The backend: writes into combined pages, then attends by the kernel."""

    def __init__(self, view: StepView) -> None:
        self.view = view

    def __call__(
        self,
        q: Float[Array, "N 1 K G H"],
        k: Float[Array, "N 1 K H"],
        v: Float[Array, "N 1 K H"],
        cache: Pool | None,
        scoring: Scoring,
    ) -> tuple[Float[Array, "N 1 K G H"], Pool | None]:
        """Write, then attend; see `attention.Attend`."""
        if not isinstance(cache, CombinedPages):
            raise TypeError("ragged attention needs a layer's combined pages")

        def part(
            q: jax.Array,
            k: jax.Array,
            v: jax.Array,
            pool: CombinedPages,
            view: StepView,
            mine: jax.Array,
            sinks: jax.Array | None,
        ) -> tuple[jax.Array, CombinedPages]:
            pool = write_combined(pool, k, v, view)
            own = view if len(mine) == len(k) else view_of(view, mine)
            attended = attend_ahead(q[:, 0], pool, own, scoring._replace(sinks=sinks))
            return attended[:, None], pool

        tokens = jnp.arange(len(q))
        if jax.sharding.get_abstract_mesh().empty:
            return part(q, k, v, cache, self.view, tokens, scoring.sinks)
        queries = partition(q.shape, (ROWS, TOKENS, KV_HEADS, HEAD_GROUP, HEAD_DIM))
        # All tokens' keys go into every copy of the pages, whoever computes the tokens.
        keys = PartitionSpec(None, *partition(k.shape, (ROWS, TOKENS, KV_HEADS, HEAD_DIM))[1:])
        pages = partition(cache.pages.shape, (PAGES, PAGE, KV_HEADS, HEAD_DIM))
        heads = partition(q.shape[2:4], (KV_HEADS, HEAD_GROUP))
        return jax.shard_map(
            part,
            in_specs=(
                *(queries, keys, keys, pages, PartitionSpec()),
                *(partition(tokens.shape, (ROWS,)), heads),
            ),
            out_specs=(queries, CombinedPages(pages)),  # type: ignore[arg-type]
            check_vma=False,
        )(q, k, v, cache, self.view, tokens, scoring.sinks)


def view_of(view: StepView, tokens: Int[Array, " n"]) -> StepView:
    """Where some consecutive tokens of a step are, by themselves.

    Rows that have some of these tokens come first; a row may be cut.
    """
    first, count = tokens[0], len(tokens)
    starts = jnp.clip(view.starts - first, 0, count)
    counts = jnp.clip(view.starts + view.counts - first, 0, count) - starts
    starts = jnp.where(counts > 0, starts, count)
    before = jnp.argmax(counts > 0)
    there = before + jnp.arange(min(len(starts), count))
    tables, starts, counts = (
        column.at[there].get(mode="fill", fill_value=fill)
        for column, fill in ((view.tables, 0), (starts, count), (counts, 0))
    )
    ends = None if view.ends is None else view.ends[tokens]
    rows = view.rows[tokens] - before
    return StepView(tables, starts, counts, rows, view.positions[tokens], ends)


def write_combined(
    pool: CombinedPages, k: Float[Array, "N 1 K H"], v: Float[Array, "N 1 K H"], view: StepView
) -> CombinedPages:
    """The pages with the tokens' keys and values in them; padding is dropped."""
    pages, page_size, combined, width = pool.pages.shape
    slots = token_slots(view, page_size, pages)
    both = jnp.stack([k, v], axis=3).reshape(-1, 2 * k.shape[2], k.shape[-1])
    both = _filled_up(both, (combined, width))
    both = to_float8(both) if pool.pages.dtype == FP8 else both.astype(pool.pages.dtype)
    flat = pool.pages.reshape(pages * page_size, combined, width)
    flat = flat.at[slots].set(both, mode="drop")
    return CombinedPages(flat.reshape(pool.pages.shape))


def attend_ahead(
    q: Float[Array, "N K G H"], pool: CombinedPages, view: StepView, scoring: Scoring
) -> Float[Array, "N K G H"]:
    """`attend_combined`, and in plain JAX rows in which tokens see what comes after them."""
    attended = attend_combined(q, pool, view, scoring)
    if view.ends is None:
        return attended
    ahead = jnp.zeros(len(view.counts), bool).at[view.rows].max(view.ends > view.positions)
    return with_blocks(attended, q, pool, view, scoring, AHEAD, ahead)


def attend_combined(
    q: Float[Array, "N K G H"], pool: CombinedPages, view: StepView, scoring: Scoring
) -> Float[Array, "N K G H"]:
    """Attend by the kernel to what each query's position and window let it see; within a `jit`.

    Padding's values are not defined.
    """
    size, heads, group, width = q.shape
    # The kernel wants a row at least, though there be padding alone.
    counts = view.counts.at[0].max(1)
    ends = jnp.cumsum(counts).astype(jnp.int32)
    lengths = view.positions[jnp.minimum(ends, size) - 1] + 1
    page_size, combined, filled = pool.pages.shape[1:]
    room = combined // 2 * group
    queries = _filled_up(q.reshape(size, heads * group, width), (room, filled))
    page_bytes = math.prod(pool.pages.shape[1:]) * pool.pages.dtype.itemsize
    keys = _BLOCK_KEYS * _WHOLE_GROUP // max(_WHOLE_GROUP, group)
    block = max(1, min(_BLOCK_BYTES // page_bytes, keys // page_size, view.tables.shape[1]))
    # The kernel widens what it is told the scale of.
    scale = 1.0 if pool.pages.dtype == FP8 else None
    kernel = ragged_paged_attention
    if scoring.sinks is not None:
        sinks = _filled_up(scoring.sinks, (combined // 2, group))
        kernel = partial(ragged_paged_attention_with_sinks, sinks=sinks)
    out = kernel(
        queries,
        # Else the compiler takes a whole pool that fits there into the core's memory, and back.
        pltpu.with_memory_space_constraint(pool.pages, pltpu.HBM),
        jnp.maximum(lengths, 1).astype(jnp.int32),
        view.tables,
        jnp.concatenate([jnp.zeros(1, jnp.int32), ends]),
        jnp.sum(counts > 0, dtype=jnp.int32)[None],
        sm_scale=scoring.scale,
        sliding_window=scoring.window,
        soft_cap=scoring.softcap,
        k_scale=scale,
        v_scale=scale,
        num_kv_pages_per_block=block,
        num_queries_per_block=min(QUERIES_PER_BLOCK, size),
        vmem_limit_bytes=_MORE_MEMORY if group > _WHOLE_GROUP else None,
    )
    return out[:, : heads * group, :width].reshape(q.shape)


def _filled_up(values: jax.Array, last: tuple[int, int]) -> jax.Array:
    """With zeros behind the last two axes, up to so many."""
    room = [(0, most - size) for most, size in zip(last, values.shape[-2:], strict=True)]
    return jnp.pad(values, [(0, 0)] * (values.ndim - 2) + room)
