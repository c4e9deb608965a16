"""The small layers: parameters, RMSNorm, embedding, gated feed-forward.

A parameter's shape, logical axes and first values stand together in `parameter` or
`constant`; sharding, initialization and loading all read them from there.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from model import small
from model.axes import EMBED, FFN, GATE_UP, ROWS, SCORES, TOKENS, VOCAB
from model.config import Activation, ModelConfig
from model.mesh import constrain


def parameter(
    rngs: nnx.Rngs,
    shape: Sequence[int],
    axes: Sequence[str],
    dtype: jnp.dtype,
    scale: float,
    inputs: int = 0,
    sums: Sequence[int] | None = None,
) -> nnx.Param[jax.Array]:
    """A weight drawn as N(0, scale²).

    Args:
        rngs: drawn from.
        shape: one size per dimension.
        axes: one logical axis name per dimension.
        dtype: of the weight.
        scale: its standard deviation.
        inputs: the first so many axes are those that its product with an activation sums over,
            and may be held as the last (`ModelConfig.turned`); 0 for a weight that may not.
        sums: axes that its product sums over, of a weight that may be held in fewer bits
            (`ModelConfig.weight_form`); None for its inputs.
    """
    if len(shape) != len(axes):
        raise ValueError(f"{len(axes)} axis names for a shape of {len(shape)} dimensions")
    value = scale * jax.random.normal(rngs.params(), tuple(shape), dtype)
    summed = range(inputs) if sums is None else sums
    return nnx.Param(value, axes=tuple(axes), inputs=inputs, sums=tuple(summed))


def constant(
    shape: Sequence[int], axes: Sequence[str], dtype: jnp.dtype, value: float
) -> nnx.Param[jax.Array]:
    """A weight that starts out the same everywhere: a norm's, or a bias."""
    return nnx.Param(jnp.full(shape, value, dtype), axes=tuple(axes))


def rms_norm(
    x: Float[Array, "*batch D"], weight: Float[Array, "*heads D"], eps: float, offset: float = 0.0
) -> Float[Array, "*batch D"]:
    """x / sqrt(mean(x²) + eps) · (weight + offset), in float32 (Zhang and Sennrich 2019)."""
    wide = x.astype(jnp.float32)
    scale = jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + eps)
    return (wide * scale * (weight.astype(jnp.float32) + offset)).astype(x.dtype)


class RMSNorm(nnx.Module):
    """RMSNorm over the last axes, as many as the weight has."""

    def __init__(
        self, shape: Sequence[int], axes: Sequence[str], config: ModelConfig, dtype: jnp.dtype
    ) -> None:
        self.weight = constant(shape, axes, dtype, 1.0 - config.norm_offset)
        self.eps, self.offset = config.norm_eps, config.norm_offset

    def __call__(self, x: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        """Normalize x."""
        weight = self.weight[...]
        kept = x.shape[: x.ndim - weight.ndim]
        flat = rms_norm(x.reshape(*kept, -1), weight.reshape(-1), self.eps, self.offset)
        return flat.reshape(x.shape)


@jax.custom_vjp
def looked_up(table: Float[Array, "V D"], tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
    """`table[tokens]`, whose gradient is summed by a product with one-hot rows.

    JAX would scatter it, and on a GPU wait wherever a token occurs often: for longer than all the
    rest of a training step takes.
    """
    return table[tokens]


def _look_up(table: jax.Array, tokens: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return table[tokens], (table, tokens)


def _looked_up_gradient(
    kept: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, None]:
    table, tokens = kept
    rows = jax.nn.one_hot(tokens, len(table), dtype=gradient.dtype)
    return jnp.einsum("btv,btd->vd", rows, gradient).astype(table.dtype), None


looked_up.defvjp(_look_up, _looked_up_gradient)


class Embedding(nnx.Module):
    """Token ids to vectors, and vectors to logits."""

    def __init__(self, config: ModelConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs) -> None:
        shape = (config.held_vocab, config.embed_dim)
        self.weight = parameter(rngs, shape, (VOCAB, EMBED), dtype, config.embed_dim**-0.5)
        self.scale, self.softcap = config.embed_scale, config.logit_softcap
        self.vocab_size = config.vocab_size

    def __call__(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """The tokens' vectors."""
        x = looked_up(self.weight[...], tokens)
        # The factor is rounded to the weights' dtype, as the models were trained.
        return x if self.scale == 1.0 else x * jnp.asarray(self.scale, x.dtype)

    def logits(self, x: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Scores of every token, float32."""
        logits = product("btd,vd->btv", x, self.weight[...], jnp.dtype("float32"))
        if self.softcap is not None:
            logits = soft_cap(logits, self.softcap)
        # Gathered before the cut: a cut through shards would move values between all of them.
        return constrain(logits, (ROWS, TOKENS, SCORES))[..., : self.vocab_size]


def soft_cap(x: Float[Array, "*batch"], cap: float) -> Float[Array, "*batch"]:
    """cap · tanh(x / cap): near x while small, never beyond the cap (Gemma 2)."""
    return cap * jnp.tanh(x / cap)


def gated(both: Float[Array, "*batch two F"], activation: Activation) -> Float[Array, "*batch F"]:
    """activation(gate) · up, of gate and up side by side on the last axis but one.

    silu and gelu_tanh are Shazeer's SwiGLU and GEGLU (2020); clamped_swish is gpt-oss':
    the gate at most 7 and up within ±7, gate · sigmoid(1.702 · gate) · (up + 1).
    """
    gate, up = both[..., 0, :], both[..., 1, :]
    match activation:
        case "silu":
            return jax.nn.silu(gate) * up
        case "gelu_tanh":
            return jax.nn.gelu(gate, approximate=True) * up
        case "clamped_swish":
            gate, up = jnp.minimum(gate, 7.0), jnp.clip(up, -7.0, 7.0)
            return gate * jax.nn.sigmoid(1.702 * gate) * (up + 1.0)


Product = Literal["qkv", "out", "gate_up", "down"]


@runtime_checkable
class Adapt(Protocol):
    """What adapters make of a product of a decoder block (`adapters.py`)."""

    def __call__(
        self, name: Product, x: Float[Array, "B T *inputs"], out: Float[Array, "B T *outputs"]
    ) -> Float[Array, "B T *outputs"]:
        """The product `out` of `x` with a weight, and what is added to it."""
        ...


def unadapted(
    name: Product, x: Float[Array, "B T *inputs"], out: Float[Array, "B T *outputs"]
) -> Float[Array, "B T *outputs"]:
    """The product alone."""
    del name, x
    return out


class GatedMLP(nnx.Module):
    """down(activation(gate(x)) · up(x)), gate and up in one product."""

    def __init__(self, config: ModelConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs) -> None:
        embed, ffn = config.embed_dim, config.ffn_dim
        self.activation: Activation = config.activation
        self.gate_up = parameter(
            rngs, (embed, 2, ffn), (EMBED, GATE_UP, FFN), dtype, embed**-0.5, inputs=1
        )
        self.down = parameter(
            rngs, (ffn, embed), (FFN, EMBED), dtype, (2 * config.num_layers * ffn) ** -0.5, inputs=1
        )
        bias = config.mlp_bias
        self.gate_up_bias = constant((2, ffn), (GATE_UP, FFN), dtype, 0.0) if bias else None
        self.down_bias = constant((embed,), (EMBED,), dtype, 0.0) if bias else None

    def __call__(self, x: Float[Array, "B T D"], adapt: Adapt = unadapted) -> Float[Array, "B T D"]:
        """Apply the layer."""
        # The output keeps the weight's order of axes: any other makes XLA transpose the weight.
        both = adapt("gate_up", x, product("btd,dcf->btcf", x, self.gate_up[...]))
        hidden = gated(with_bias(both, self.gate_up_bias), self.activation)
        out = adapt("down", hidden, product("btf,fd->btd", hidden, self.down[...]))
        return with_bias(out, self.down_bias)


def product(
    letters: str,
    x: Float[Array, "*left"],
    weight: small.Weight,
    dtype: jnp.dtype | None = None,
) -> Float[Array, "*out"]:
    """`jnp.einsum` of activations [B, T, …] with a weight, as `dtype` or else as the activations.

    XLA's CPU backend multiplies bfloat16 as it is only into float32 and for two tokens at least;
    otherwise it first writes the whole weight anew in float32, on every step.
    """
    if isinstance(weight, small.Small) or weight.dtype != x.dtype:
        return small.product(letters, x, weight, dtype)
    plainly = partial(jnp.einsum, letters, preferred_element_type=dtype)
    if x.dtype != jnp.bfloat16:
        return plainly(x, weight)

    def into_float32(x: jax.Array, weight: jax.Array) -> jax.Array:
        two = jnp.repeat(x, 2, axis=0) if math.prod(x.shape[:2]) == 1 else x
        out = jnp.einsum(letters, two, weight, preferred_element_type=jnp.float32)
        return out[: len(x)].astype(dtype or x.dtype)

    return jax.lax.platform_dependent(x, weight, cpu=into_float32, default=plainly)


def with_bias(
    x: Float[Array, "*shape"], bias: nnx.Param[jax.Array] | None
) -> Float[Array, "*shape"]:
    """X, plus a bias where there is one."""
    return x if bias is None else x + bias[...]
