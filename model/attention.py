"""Self-attention: the interface that backends share, and the backend for training.

A backend is a callable of type `Attend`: it is given one layer's new queries, keys and
values and that layer's cache, and returns the attended values and the cache with the new
keys and values in it. The decoder knows no more of a cache than that.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from model.axes import EMBED, HEAD_DIM, HEAD_GROUP, KV_HEADS, QKV_GROUP
from model.cache import Pool
from model.config import LayerConfig, ModelConfig
from model.layers import (
    Adapt,
    RMSNorm,
    constant,
    parameter,
    product,
    rms_norm,
    soft_cap,
    unadapted,
    with_bias,
)
from model.rope import Angles, rotate
from model.small import Small, Weight

NO_SCORE = -1e30


class Scoring(NamedTuple):
    """How one layer turns queries and keys into weights.

    Attributes:
        scale: factor of the scores.
        window: a query sees this many last positions, its own among them; None for all.
        softcap: see `soft_cap`; None for none.
        sinks: a score per query head that takes part in the softmax and adds nothing
            (gpt-oss); None for none.
    """

    scale: float
    window: int | None = None
    softcap: float | None = None
    sinks: Float[Array, "K G"] | None = None

    def scores(self, q_dot_k: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Scaled and capped products of queries and keys."""
        scaled = q_dot_k * self.scale
        return scaled if self.softcap is None else soft_cap(scaled, self.softcap)


@runtime_checkable
class Attend(Protocol):
    """Attention over what a layer has seen so far."""

    def __call__(
        self,
        q: Float[Array, "B T K G H"],
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
        cache: Pool | None,
        scoring: Scoring,
    ) -> tuple[Float[Array, "B T K G H"], Pool | None]:
        """The attended values, and the cache with the new keys and values in it."""
        ...


class DenseAttention:
    """Attention among the tokens of the call itself, without a cache: for training.

    `mask[b, t, s]` says whether query t sees key s. Windows and sinks are not for training.
    """

    def __init__(self, mask: Bool[Array, "B T S"]) -> None:
        self.mask = mask

    def __call__(
        self,
        q: Float[Array, "B T K G H"],
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
        cache: Pool | None,
        scoring: Scoring,
    ) -> tuple[Float[Array, "B T K G H"], Pool | None]:
        """Attend under the mask; the cache passes through."""
        if scoring.window is not None or scoring.sinks is not None:
            raise ValueError("dense attention has neither windows nor sinks")
        scores = jnp.einsum("btkgh,bskh->bkgts", q, k, preferred_element_type=jnp.float32)
        scores = jnp.where(self.mask[:, None, None], scoring.scores(scores), NO_SCORE)
        weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
        return jnp.einsum("bkgts,bskh->btkgh", weights, v), cache


class SelfAttention(nnx.Module):
    """Projections, rotation and the attention backend of one decoder block.

    Query, key and value projections are one array [D, K, G + 2, H]: each kv head's G query
    heads, then its key, then its value. Shards of K stay whole.
    """

    def __init__(
        self, config: ModelConfig, layer: LayerConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs
    ) -> None:
        embed, heads = config.embed_dim, config.held_kv_heads
        group, width = config.group_size, config.head_dim
        fused = (KV_HEADS, QKV_GROUP, HEAD_DIM)
        self.qkv = parameter(
            rngs, (embed, heads, group + 2, width), (EMBED, *fused), dtype, embed**-0.5, inputs=1
        )
        self.out = parameter(
            rngs,
            (heads, group, width, embed),
            (KV_HEADS, HEAD_GROUP, HEAD_DIM, EMBED),
            dtype,
            (2 * config.num_layers * config.num_heads * width) ** -0.5,
            inputs=3,
        )
        self.qkv_bias = (
            constant((heads, group + 2, width), fused, dtype, 0.0) if config.qkv_bias else None
        )
        self.out_bias = constant((embed,), (EMBED,), dtype, 0.0) if config.out_bias else None
        self.q_norm, self.k_norm = _query_key_norms(config, dtype)
        self.whole_width = config.qk_norm == "width"
        self.sinks = (
            constant((heads, group), (KV_HEADS, HEAD_GROUP), dtype, 0.0)
            if config.attention_sinks
            else None
        )
        self.scale = width**-0.5 if config.query_scale is None else config.query_scale
        self.window, self.softcap = layer.window, config.attention_softcap

    def __call__(
        self,
        x: Float[Array, "B T D"],
        angles: Angles,
        attend: Attend,
        cache: Pool | None,
        adapt: Adapt = unadapted,
    ) -> tuple[Float[Array, "B T D"], Pool | None]:
        """Attend; returns the block's output and the layer's cache."""
        mixed = adapt("qkv", x, product("btd,dkch->btkch", x, self.qkv[...]))
        mixed = with_bias(mixed, self.qkv_bias)
        # Queries and keys together: on an accelerator each small operation costs alike.
        turned = rotate(self._normed(mixed[:, :, :, :-1]), angles)
        q, k, v = turned[:, :, :, :-1], turned[:, :, :, -1], mixed[:, :, :, -1]
        sinks = None if self.sinks is None else self.sinks[...]
        scoring = Scoring(self.scale, self.window, self.softcap, sinks)
        attended, cache = attend(q, k, v, cache, scoring)
        out = adapt("out", attended, _projected(attended, self.out[...]))
        return with_bias(out, self.out_bias), cache

    def _normed(self, qk: Float[Array, "B T K G1 H"]) -> Float[Array, "B T K G1 H"]:
        """Each kv head's queries and its key, normed as the config says."""
        if self.q_norm is None or self.k_norm is None:
            return qk
        if self.whole_width:
            q, k = self.q_norm(qk[:, :, :, :-1]), self.k_norm(qk[:, :, :, -1])
            return jnp.concatenate([q, k[:, :, :, None]], axis=3)
        is_query = jnp.arange(qk.shape[3])[:, None] < qk.shape[3] - 1
        weights = jnp.where(is_query, self.q_norm.weight[...], self.k_norm.weight[...])
        return rms_norm(qk, weights, self.q_norm.eps, self.q_norm.offset)


def _projected(attended: Float[Array, "B T K G H"], weight: Weight) -> Float[Array, "B T D"]:
    """The heads' outputs, projected and summed.

    With heads and their groups apart XLA's CPU backend rearranges the weight, on every step. By
    the TPU compiler's estimate a step with one matrix of them takes up to a ninth longer.
    """
    if isinstance(weight, Small) or weight.dtype != attended.dtype:
        return product("btkgh,kghd->btd", attended, weight)

    def as_matrix(attended: jax.Array, weight: jax.Array) -> jax.Array:
        heads = attended.reshape(*attended.shape[:2], -1)
        return product("bti,id->btd", heads, weight.reshape(-1, weight.shape[-1]))

    def apart(attended: jax.Array, weight: jax.Array) -> jax.Array:
        return jnp.einsum("btkgh,kghd->btd", attended, weight)

    return jax.lax.platform_dependent(attended, weight, cpu=as_matrix, default=apart)


def _query_key_norms(
    config: ModelConfig, dtype: jnp.dtype
) -> tuple[RMSNorm, RMSNorm] | tuple[None, None]:
    heads, group, width = config.held_kv_heads, config.group_size, config.head_dim
    match config.qk_norm:
        case "none":
            return None, None
        case "head":
            norm = ((width,), (HEAD_DIM,), config, dtype)
            return RMSNorm(*norm), RMSNorm(*norm)
        case "width":
            queries = ((heads, group, width), (KV_HEADS, HEAD_GROUP, HEAD_DIM))
            keys = ((heads, width), (KV_HEADS, HEAD_DIM))
            return RMSNorm(*queries, config, dtype), RMSNorm(*keys, config, dtype)
