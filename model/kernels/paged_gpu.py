"""Attention through page tables on GPU: JAX's paged attention kernel for decode.

The kernel (Pallas, compiled by Triton) takes one query per row and reads the plain backend's
pages where they lie. Prompts, and layers with a window or sinks, run on the plain backend in
larger blocks: each turn of its loop costs a GPU a word with the host. Where the kernel can run
is `backends.py`'s knowledge.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.pallas.ops.gpu.paged_attention import paged_attention
from jaxtyping import Array, Float, Int

from model.attention import Scoring
from model.axes import HEAD_DIM, HEAD_GROUP, KV_HEADS, PAGE, PAGES, ROWS
from model.cache import GpuPages, Pool
from model.mesh import partition
from model.paged import KEYS_PER_TURN, Sizes, StepView, attend_flat, with_blocks, written

# Few turns: each of a loop whose length the device finds makes it wait for the host.
_SIZES = Sizes(keys=1024, queries=256)
_MOST_SPLITS = 16
_TRIAL_ROWS, _TRIAL_PAGE, _TRIAL_KEYS = 4, 16, 512
_TRIAL_TOLERANCE = 2e-2


class GpuAttention:
    """The backend: writes into pages by head, then attends by the kernel where it can."""

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
        if not isinstance(cache, GpuPages):
            raise TypeError("attention on GPU needs a layer's pages for GPU")
        cache = written(cache, k[:, 0], v[:, 0], self.view)
        view, queries = self.view, q[:, 0]
        if scoring.window is not None or scoring.sinks is not None:
            return attend_flat(queries, cache, view, scoring, _SIZES)[:, None], cache
        # Rows of one token come first: the kernel has every token that may be one of them.
        alone = _attend_on_shards(queries[: len(view.counts)], cache, view, scoring)
        return with_blocks(alone, queries, cache, view, scoring, _SIZES)[:, None], cache


def _attend_on_shards(
    q: Float[Array, "S K G H"], cache: GpuPages, view: StepView, scoring: Scoring
) -> Float[Array, "S K G H"]:
    """`attend_one`, every device with its own rows and heads."""

    def part(q: jax.Array, cache: GpuPages, tables: jax.Array, positions: jax.Array) -> jax.Array:
        return attend_one(q, cache, tables, positions, scoring)

    positions = view.positions[: len(q)]
    if jax.sharding.get_abstract_mesh().empty:
        return part(q, cache, view.tables, positions)
    queries = partition(q.shape, (ROWS, KV_HEADS, HEAD_GROUP, HEAD_DIM))
    pages = partition(cache.keys.shape, (KV_HEADS, PAGES, PAGE, HEAD_DIM))
    rows = partition(positions.shape, (ROWS,))
    return jax.shard_map(
        part,
        in_specs=(queries, GpuPages(pages, pages), rows, rows),  # type: ignore[arg-type]
        out_specs=queries,
        check_vma=False,
    )(q, cache, view.tables, positions)


def attend_one(
    q: Float[Array, "S K G H"],
    cache: GpuPages,
    tables: Int[Array, "S M"],
    positions: Int[Array, " S"],
    scoring: Scoring,
) -> Float[Array, "S K G H"]:
    """Attend by the kernel, a query for each row: it sees all keys up to its own."""
    rows, heads, group, width = q.shape
    block_pages = max(1, KEYS_PER_TURN // cache.page_size)
    # The kernel has no factor of its own.
    scaled = (q.astype(jnp.float32) * scoring.scale).astype(q.dtype)
    out = paged_attention(
        scaled.reshape(rows, heads * group, width),
        cache.keys,
        cache.values,
        tables,
        (positions + 1).astype(jnp.int32),
        pages_per_compute_block=block_pages,
        k_splits=math.gcd(tables.shape[1] // block_pages, _MOST_SPLITS),
        attn_logits_soft_cap=scoring.softcap,
    )
    return out.reshape(q.shape)


@functools.cache
def trial(kv_heads: int, group: int, width: int, dtype: jnp.dtype) -> str:
    """Why the kernel is not to be used on this device; nothing if it agrees with plain JAX.

    Args:
        kv_heads: kv heads of one device.
        group: query heads of a kv head.
        width: of a head.
        dtype: of the pages.
    """
    random = np.random.default_rng(0)
    table = _TRIAL_KEYS // _TRIAL_PAGE
    pages = _TRIAL_ROWS * table

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(random.standard_normal(shape, np.float32), dtype)

    q = normal(_TRIAL_ROWS, kv_heads, group, width)
    pool = (kv_heads, pages, _TRIAL_PAGE, width)
    cache = GpuPages(normal(*pool), normal(*pool))
    tables = jnp.asarray(random.permutation(pages).reshape(_TRIAL_ROWS, table), jnp.int32)
    positions = jnp.linspace(_TRIAL_KEYS - 1, 0, _TRIAL_ROWS, dtype=jnp.int32)
    scoring, rows = Scoring(width**-0.5), jnp.arange(_TRIAL_ROWS)
    try:
        found = np.asarray(attend_one(q, cache, tables, positions, scoring), np.float32)
    except Exception as error:  # noqa: BLE001 - a driver's and a compiler's, of any type
        return f"it does not run on this device ({str(error).strip().splitlines()[0]})"
    view = StepView(tables, rows, jnp.ones_like(rows), rows, positions)
    wanted = np.asarray(attend_flat(q, cache, view, scoring), np.float32)
    worst = float(np.max(np.abs(found - wanted)))
    return "" if worst <= _TRIAL_TOLERANCE else f"its results are {worst:.2g} off on this device"
