"""Attention among the patches of images on TPU: JAX's flash attention kernel.

Scores never leave a core's own memory. Every device attends with its own heads, and its own part of
the queries. Elsewhere, and of patches that the kernel does not take, attention is in plain JAX
(`vision/attention.py`).
"""

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.flash_attention import BlockSizes, SegmentIds, flash_attention
from jaxtyping import Array, Float, Int

from model.axes import HEAD_DIM, IMAGES, KV_HEADS, PATCHES, TOKENS
from model.cache import LANES
from model.mesh import partition, shards

# Queries, and keys, of a block.
BLOCK = 512


def takes(q: Float[Array, "B T K H"]) -> bool:
    """Whether the kernel takes such queries; of float32 it would multiply fewer bits."""
    return q.dtype == jnp.bfloat16 and q.shape[1] % (BLOCK * shards(PATCHES)) == 0


def attend_by_flash(
    q: Float[Array, "B T K H"],
    k: Float[Array, "B T K H"],
    v: Float[Array, "B T K H"],
    image: Int[Array, "B T"],
) -> Float[Array, "B T K H"]:
    """See `vision.attention.attend_within_images`; within a `jit`."""

    def part(
        q: jax.Array, k: jax.Array, v: jax.Array, own: jax.Array, image: jax.Array
    ) -> jax.Array:
        width = q.shape[-1]
        room = ((0, 0), (0, 0), (0, 0), (0, -width % LANES))
        heads = (jnp.moveaxis(jnp.pad(each, room), 2, 1) for each in (q, k, v))
        blocks = BlockSizes(block_q=BLOCK, block_k_major=BLOCK, block_k=BLOCK, block_b=1)
        out = flash_attention(
            *heads,
            segment_ids=SegmentIds(own, image),
            sm_scale=width**-0.5,
            block_sizes=blocks,
        )
        return jnp.moveaxis(out[..., :width], 1, 2)

    if jax.sharding.get_abstract_mesh().empty:
        return part(q, k, v, image, image)
    queries = partition(q.shape, (IMAGES, PATCHES, KV_HEADS, HEAD_DIM))
    keys = partition(k.shape, (IMAGES, TOKENS, KV_HEADS, HEAD_DIM))
    own, whole = (partition(image.shape, (IMAGES, axis)) for axis in (PATCHES, TOKENS))
    return jax.shard_map(
        part,
        in_specs=(queries, keys, keys, own, whole),
        out_specs=queries,
        check_vma=False,
    )(q, k, v, image, image)
