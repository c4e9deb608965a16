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
from jaxtyping import Array, Float

from model.attention import (
    KEYS_PER_BLOCK,
    PageView,
    Scoring,
    attend_pages,
    written,
)
from model.axes import HEAD_DIM, HEAD_GROUP, KV_HEADS, PAGE, PAGES, ROWS, TOKENS
from model.cache import GpuPages, Pool
from model.mesh import partition

_KEYS_PER_TURN = 1024
_MOST_SPLITS = 16
_TRIAL_ROWS, _TRIAL_PAGE, _TRIAL_KEYS = 4, 16, 512
_TRIAL_TOLERANCE = 2e-2


class GpuAttention:
    """The backend: writes into pages by head, then attends by the kernel where it can."""

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
        if not isinstance(cache, GpuPages):
            raise TypeError("attention on GPU needs a layer's pages for GPU")
        cache = written(cache, k, v, self.view)
        if q.shape[1] > 1 or scoring.window is not None or scoring.sinks is not None:
            return attend_pages(q, cache, self.view, scoring, _KEYS_PER_TURN), cache
        return _attend_on_shards(q, cache, self.view, scoring), cache


def _attend_on_shards(
    q: Float[Array, "B 1 K G H"], cache: GpuPages, view: PageView, scoring: Scoring
) -> Float[Array, "B 1 K G H"]:
    """`attend_one`, every device with its own rows and heads."""

    def part(q: jax.Array, cache: GpuPages, view: PageView) -> jax.Array:
        return attend_one(q, cache, view, scoring)

    if jax.sharding.get_abstract_mesh().empty:
        return part(q, cache, view)
    queries = partition(q.shape, (ROWS, TOKENS, KV_HEADS, HEAD_GROUP, HEAD_DIM))
    pages = partition(cache.keys.shape, (KV_HEADS, PAGES, PAGE, HEAD_DIM))
    rows = partition(view.positions.shape, (ROWS, TOKENS))
    return jax.shard_map(
        part,
        in_specs=(queries, GpuPages(pages, pages), PageView(rows, rows)),  # type: ignore[arg-type]
        out_specs=queries,
        check_vma=False,
    )(q, cache, view)


def attend_one(
    q: Float[Array, "B 1 K G H"], cache: GpuPages, view: PageView, scoring: Scoring
) -> Float[Array, "B 1 K G H"]:
    """Attend by the kernel: every query sees all keys up to its own."""
    rows, _, heads, group, width = q.shape
    block_pages = max(1, KEYS_PER_BLOCK // cache.page_size)
    # The kernel has no factor of its own.
    scaled = (q.astype(jnp.float32) * scoring.scale).astype(q.dtype)
    out = paged_attention(
        scaled.reshape(rows, heads * group, width),
        cache.keys,
        cache.values,
        view.tables,
        (view.positions[:, 0] + 1).astype(jnp.int32),
        pages_per_compute_block=block_pages,
        k_splits=math.gcd(view.tables.shape[1] // block_pages, _MOST_SPLITS),
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

    q = normal(_TRIAL_ROWS, 1, kv_heads, group, width)
    pool = (kv_heads, pages, _TRIAL_PAGE, width)
    cache = GpuPages(normal(*pool), normal(*pool))
    tables = random.permutation(pages).reshape(_TRIAL_ROWS, table).astype(np.int32)
    positions = np.linspace(0, _TRIAL_KEYS - 1, _TRIAL_ROWS, dtype=np.int32)[:, None]
    view = PageView(jnp.asarray(tables), jnp.asarray(positions))
    scoring = Scoring(width**-0.5)
    try:
        found = np.asarray(attend_one(q, cache, view, scoring), np.float32)
    except Exception as error:  # noqa: BLE001 - a driver's and a compiler's, of any type
        return f"it does not run on this device ({str(error).strip().splitlines()[0]})"
    wanted = np.asarray(attend_pages(q, cache, view, scoring), np.float32)
    worst = float(np.max(np.abs(found - wanted)))
    return "" if worst <= _TRIAL_TOLERANCE else f"its results are {worst:.2g} off on this device"
