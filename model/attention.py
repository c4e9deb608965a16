"""Self-attention: the interface that backends share, and the plain backends.

A backend is a callable of type `Attend`: it is given one layer's new queries, keys and
values and that layer's cache, and returns the attended values and the cache with the new
keys and values in it. The decoder knows no more of a cache than that.
"""

import math
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from model.axes import EMBED, HEAD_DIM, HEAD_GROUP, KV_HEADS
from model.cache import LayerCache, read, write
from model.config import ModelConfig
from model.layers import RMSNorm, parameter
from model.rope import rotate

KEYS_PER_BLOCK = 128
NO_SCORE = -1e30


@runtime_checkable
class Attend(Protocol):
    """Attention over what a layer has seen so far."""

    def __call__(
        self,
        q: Float[Array, "B T K G H"],
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
        cache: LayerCache | None,
    ) -> tuple[Float[Array, "B T K G H"], LayerCache | None]:
        """The attended values, and the cache with the new keys and values in it."""
        ...


class PageView(NamedTuple):
    """Where a step's tokens are, and what each row can see.

    Attributes:
        tables: page table of each row.
        positions: position of each query token in its row; −1 for padding.
    """

    tables: Int[Array, "B M"]
    positions: Int[Array, "B T"]


class DenseAttention:
    """Attention among the tokens of the call itself, without a cache: for training.

    `mask[b, t, s]` says whether query t sees key s.
    """

    def __init__(self, mask: Bool[Array, "B T S"]) -> None:
        self.mask = mask

    def __call__(
        self,
        q: Float[Array, "B T K G H"],
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
        cache: LayerCache | None,
    ) -> tuple[Float[Array, "B T K G H"], LayerCache | None]:
        """Attend under the mask; the cache passes through."""
        scores = jnp.einsum("btkgh,bskh->bkgts", q, k, preferred_element_type=jnp.float32)
        scores = jnp.where(self.mask[:, None, None], scores / math.sqrt(q.shape[-1]), NO_SCORE)
        weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
        return jnp.einsum("bkgts,bskh->btkgh", weights, v), cache


class PagedAttention:
    """Attention through the page tables, in plain JAX: the reference backend.

    New keys and values are written first, then every row attends to its keys in blocks of
    `KEYS_PER_BLOCK` with a running maximum and sum (Milakov and Gimelshein 2018). The number
    of blocks is the longest row's, found on the device: one program serves every length, and
    a block that a row cannot see changes none of its bits, so results do not depend on how
    long the neighbours are.
    """

    def __init__(self, view: PageView) -> None:
        self.view = view

    def __call__(
        self,
        q: Float[Array, "B T K G H"],
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
        cache: LayerCache | None,
    ) -> tuple[Float[Array, "B T K G H"], LayerCache | None]:
        """Write, then attend; see the class."""
        if cache is None:
            raise ValueError("paged attention needs a layer's cache")
        tables, positions = self.view
        page_size = cache.keys.shape[2]
        slots = token_slots(tables, positions, page_size, cache.keys.shape[1])
        cache = LayerCache(write(cache.keys, k, slots), write(cache.values, v, slots))
        return attend_pages(q, cache, self.view), cache


def token_slots(
    tables: Int[Array, "B M"], positions: Int[Array, "B T"], page_size: int, pages: int
) -> Int[Array, "B T"]:
    """The slot of each token in the pool; out of range for padding."""
    index = jnp.maximum(positions, 0) // page_size
    page = jnp.take_along_axis(tables, index, axis=1)
    slots = page * page_size + positions % page_size
    return jnp.where(positions >= 0, slots, pages * page_size)


def attend_pages(
    q: Float[Array, "B T K G H"], cache: LayerCache, view: PageView
) -> Float[Array, "B T K G H"]:
    """Attend to the keys at or before each query's position; padding gives zeros."""
    tables, positions = view
    rows, length, heads, group, width = q.shape
    page_size = cache.keys.shape[2]
    block_pages = max(1, KEYS_PER_BLOCK // page_size)
    block = block_pages * page_size
    if tables.shape[1] % block_pages:
        raise ValueError(f"a page table of {tables.shape[1]} is not in blocks of {block_pages}")
    queries = jnp.moveaxis(q, 2, 0).reshape(heads, rows, length * group, width)
    query_positions = jnp.repeat(positions, group, axis=1)
    scale = 1.0 / math.sqrt(width)

    def attend_block(
        index: jax.Array, carry: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        best, total, out = carry
        pages = jax.lax.dynamic_slice_in_dim(tables, index * block_pages, block_pages, axis=1)
        k, v = read(cache.keys, pages), read(cache.values, pages)
        scores = jnp.einsum("kbqh,kbsh->kbqs", queries, k, preferred_element_type=jnp.float32)
        seen = index * block + jnp.arange(block) <= query_positions[..., None]
        scores = jnp.where(seen, scores * scale, NO_SCORE)
        peak = jnp.maximum(best, scores.max(axis=-1))
        shrink = jnp.exp(best - peak)
        weights = jnp.where(seen, jnp.exp(scores - peak[..., None]), 0.0)
        part = jnp.einsum(
            "kbqs,kbsh->kbqh", weights.astype(v.dtype), v, preferred_element_type=jnp.float32
        )
        return peak, total * shrink + weights.sum(axis=-1), out * shrink[..., None] + part

    shape = (heads, rows, length * group)
    start = (
        jnp.full(shape, NO_SCORE, jnp.float32),
        jnp.zeros(shape, jnp.float32),
        jnp.zeros((*shape, width), jnp.float32),
    )
    blocks = jnp.max(positions) // block + 1
    _, total, out = jax.lax.fori_loop(0, blocks, attend_block, start)
    out = out / jnp.maximum(total, jnp.finfo(jnp.float32).tiny)[..., None]
    return jnp.moveaxis(out.reshape(heads, rows, length, group, width), 0, 2).astype(q.dtype)


class SelfAttention(nnx.Module):
    """Projections, rotation and the attention backend of one decoder block.

    Query, key and value projections are one array [D, K, G + 2, H]: each kv head's G query
    heads, then its key, then its value. Shards of K stay whole.
    """

    def __init__(self, config: ModelConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs) -> None:
        embed, heads = config.embed_dim, config.num_kv_heads
        group, width = config.group_size, config.head_dim
        self.qkv = parameter(
            rngs,
            (embed, heads, group + 2, width),
            (EMBED, KV_HEADS, HEAD_GROUP, HEAD_DIM),
            dtype,
            embed**-0.5,
        )
        self.out = parameter(
            rngs,
            (heads, group, width, embed),
            (KV_HEADS, HEAD_GROUP, HEAD_DIM, EMBED),
            dtype,
            (2 * config.num_layers * config.num_heads * width) ** -0.5,
        )
        norm = (width, HEAD_DIM, config.norm_eps, dtype)
        self.q_norm = RMSNorm(*norm, rngs=rngs) if config.qk_norm else None
        self.k_norm = RMSNorm(*norm, rngs=rngs) if config.qk_norm else None

    def __call__(
        self,
        x: Float[Array, "B T D"],
        angles: tuple[Float[Array, "B T half"], Float[Array, "B T half"]],
        attend: Attend,
        cache: LayerCache | None,
    ) -> tuple[Float[Array, "B T D"], LayerCache | None]:
        """Attend; returns the block's output and the layer's cache."""
        mixed = jnp.einsum("btd,dkch->btkch", x, self.qkv[...])
        q, k, v = mixed[:, :, :, :-2], mixed[:, :, :, -2], mixed[:, :, :, -1]
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = rotate(q, angles), rotate(k, angles)
        attended, cache = attend(q, k, v, cache)
        return jnp.einsum("btkgh,kghd->btd", attended, self.out[...]), cache
