"""The small layers: parameters, RMSNorm, embedding, gated feed-forward.

A parameter's shape, logical axes and initial scale stand together in `parameter`; sharding,
initialization and loading all read them from there.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from model.axes import EMBED, FFN, GATE_UP, VOCAB
from model.config import ModelConfig


def parameter(
    rngs: nnx.Rngs, shape: Sequence[int], axes: Sequence[str], dtype: jnp.dtype, scale: float
) -> nnx.Param[jax.Array]:
    """A weight of `shape`, one logical axis name per dimension, drawn as N(0, scale²).

    `scale` 0 stands for a norm's weight, which starts at one.
    """
    if len(shape) != len(axes):
        raise ValueError(f"{len(axes)} axis names for a shape of {len(shape)} dimensions")
    if scale == 0:
        return nnx.Param(jnp.ones(shape, dtype), axes=tuple(axes))
    value = scale * jax.random.normal(rngs.params(), tuple(shape), dtype)
    return nnx.Param(value, axes=tuple(axes))


def rms_norm(
    x: Float[Array, "*batch D"], weight: Float[Array, " D"], eps: float
) -> Float[Array, "*batch D"]:
    """x / sqrt(mean(x²) + eps) · weight, in float32 (Zhang and Sennrich 2019)."""
    wide = x.astype(jnp.float32)
    scale = jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + eps)
    return (wide * scale * weight.astype(jnp.float32)).astype(x.dtype)


class RMSNorm(nnx.Module):
    """RMSNorm over the last axis."""

    def __init__(
        self, size: int, axis: str, eps: float, dtype: jnp.dtype, *, rngs: nnx.Rngs
    ) -> None:
        self.weight = parameter(rngs, (size,), (axis,), dtype, 0.0)
        self.eps = eps

    def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        """Normalize x."""
        return rms_norm(x, self.weight[...], self.eps)


class Embedding(nnx.Module):
    """Token ids to vectors, and vectors to logits."""

    def __init__(self, config: ModelConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs) -> None:
        shape = (config.vocab_size, config.embed_dim)
        self.weight = parameter(rngs, shape, (VOCAB, EMBED), dtype, config.embed_dim**-0.5)

    def __call__(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """The tokens' vectors."""
        return self.weight[...][tokens]

    def logits(self, x: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Scores of every token, float32."""
        return jnp.einsum("btd,vd->btv", x, self.weight[...], preferred_element_type=jnp.float32)


class GatedMLP(nnx.Module):
    """down(silu(gate(x)) · up(x)), gate and up in one product (Shazeer 2020, SwiGLU)."""

    def __init__(self, config: ModelConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs) -> None:
        embed, ffn = config.embed_dim, config.ffn_dim
        self.gate_up = parameter(rngs, (embed, 2, ffn), (EMBED, GATE_UP, FFN), dtype, embed**-0.5)
        self.down = parameter(
            rngs, (ffn, embed), (FFN, EMBED), dtype, (2 * config.num_layers * ffn) ** -0.5
        )

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Apply the layer."""
        # The output keeps the weight's order of axes: any other makes XLA transpose the weight.
        both = jnp.einsum("btd,dcf->btcf", x, self.gate_up[...])
        hidden = jax.nn.silu(both[:, :, 0]) * both[:, :, 1]
        return jnp.einsum("btf,fd->btd", hidden, self.down[...])
