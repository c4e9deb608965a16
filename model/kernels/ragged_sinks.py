"""JAX's ragged paged attention kernel with sinks: scores that only take part in the softmax.

The kernel knows none, but it leaves behind, for each of a block's queries, its largest score m and
the sum l of exp(score - m). A sink s would have added exp(s - m) to l, so what the kernel has found
is multiplied by l / (l + exp(s - m)) before it leaves the core's memory.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.experimental.pallas.ops.tpu.ragged_paged_attention.kernel import (
    get_min_heads_per_blk,
    ragged_paged_attention_kernel,
)
from jaxtyping import Array, Float, Int

_LANES = 128
_PREFETCHED = 5
_SINKS = _PREFETCHED + 2  # Behind queries and pages.


def _kernel(*refs: Any, **settings: Any) -> None:
    theirs, sinks = refs[:_SINKS] + refs[_SINKS + 1 :], refs[_SINKS]
    ragged_paged_attention_kernel(*theirs, **settings)
    out, _, _, sums, largest, found = theirs[_SINKS:]
    width = found.shape[-1]
    group = found.shape[1] // sinks.shape[0]
    for head in range(sinks.shape[0]):
        share = sums[head] / (sums[head] + jnp.exp(sinks[head] - largest[head]))
        mine = found.at[:, head * group : (head + 1) * group, :]
        values = mine[...].reshape(-1, width)
        mine[...] = (values * jnp.tile(share, (1, width // _LANES))).reshape(mine.shape)
    out[...] = found[...].astype(out.dtype)


def ragged_paged_attention_with_sinks(
    q: Float[Array, "n N H"],
    pages: Float[Array, "P page two_K H"],
    kv_lens: Int[Array, " B"],
    tables: Int[Array, "B M"],
    ends: Int[Array, " B1"],
    rows: Int[Array, " 1"],
    *,
    sinks: Float[Array, "K G"],
    num_kv_pages_per_block: int,
    num_queries_per_block: int,
    vmem_limit_bytes: int | None,
    **settings: Any,
) -> Float[Array, "n N H"]:
    """`ragged_paged_attention` of JAX, whose arguments these are, with a sink per query head."""
    tokens, query_heads, width = q.shape
    page_size, combined = pages.shape[1:3]
    heads_at_once, combined_at_once = get_min_heads_per_blk(
        query_heads, combined, q.dtype, pages.dtype
    )
    kv_heads, group = sinks.shape
    kv_at_once, queries = combined_at_once // 2, num_queries_per_block
    # As the kernel keeps sums and largest scores: a row for each query and head of a group.
    spread = jnp.tile(sinks.astype(jnp.float32), (1, queries))[:, :, None]
    spread = jnp.broadcast_to(spread, (kv_heads, queries * group, _LANES))
    block = pl.BlockSpec((queries, heads_at_once, width), lambda heads, i, *_: (i, heads, 0))
    per_query = (kv_at_once, queries * group, _LANES)
    call = pl.pallas_call(
        partial(_kernel, **settings),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=_PREFETCHED,
            in_specs=[
                block,
                pl.BlockSpec(memory_space=pl.ANY),
                pl.BlockSpec(per_query, lambda heads, *_: (heads, 0, 0)),
            ],
            out_specs=block,
            grid=(query_heads // heads_at_once, pl.cdiv(tokens, queries)),
            scratch_shapes=[
                pltpu.VMEM(
                    (2, num_kv_pages_per_block, page_size, combined_at_once, width), pages.dtype
                ),
                pltpu.SemaphoreType.DMA((2,)),
                pltpu.VMEM(per_query, jnp.float32),
                pltpu.VMEM(per_query, jnp.float32),
                pltpu.VMEM((queries, heads_at_once, width), jnp.float32),
            ],
        ),
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("arbitrary", "arbitrary"), vmem_limit_bytes=vmem_limit_bytes
        ),
        out_shape=jax.ShapeDtypeStruct(q.shape, q.dtype),
        name="ragged_paged_attention_with_sinks",
    )
    first = jnp.zeros(2, jnp.int32)  # The row and the buffer that the first block begins with.
    return call(kv_lens, tables, ends, first, rows, q, pages, spread)
