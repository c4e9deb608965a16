"""The layers of vision towers: patches to vectors, layer norm, attention, feed-forward.

Parameters are declared as the decoder's are (`model/layers.py`), and divided by the same rules.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, UInt8

from model.axes import EMBED, FFN, HEAD_DIM, IMAGES, KV_HEADS, PATCHES, PIXELS, QKV_GROUP
from model.layers import constant, parameter, product, with_bias
from model.mesh import constrain
from model.rope import Angles, rotate
from model.vision.attention import attend_within_images
from model.vision.config import VisionConfig

Activate = Callable[[jax.Array], jax.Array]
gelu_tanh: Activate = partial(jax.nn.gelu, approximate=True)
gelu: Activate = partial(jax.nn.gelu, approximate=False)


class PatchEmbedding(nnx.Module):
    """Bytes of patches → vectors: normalized, and one product."""

    def __init__(self, config: VisionConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs) -> None:
        width, embed = config.patch_values, config.embed_dim
        self.weight = parameter(rngs, (width, embed), (PIXELS, EMBED), dtype, width**-0.5)
        self.bias = constant((embed,), (EMBED,), dtype, 0.0)
        self.pixels = config.pixels

    def __call__(self, patches: UInt8[Array, "B T X"]) -> Float[Array, "B T D"]:
        """The vectors. A patch's bytes are those of one channel after those of another."""
        each = patches.shape[-1] // 3
        mean, deviation = (
            np.repeat(np.asarray(values, np.float32), each)
            for values in (self.pixels.mean, self.pixels.deviation)
        )
        values = (patches.astype(jnp.float32) * self.pixels.scale - mean) / deviation
        weight = self.weight[...]
        return with_bias(product("btx,xd->btd", values.astype(weight.dtype), weight), self.bias)


class LayerNorm(nnx.Module):
    """(x - mean) / sqrt(variance + eps) · weight + bias, in float32 (Ba et al. 2016)."""

    def __init__(
        self, shape: Sequence[int], axes: Sequence[str], eps: float, dtype: jnp.dtype
    ) -> None:
        self.weight = constant(shape, axes, dtype, 1.0)
        self.bias = constant(shape, axes, dtype, 0.0)
        self.eps = eps

    def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        """Normalize x."""
        wide = x.astype(jnp.float32)
        apart = wide - jnp.mean(wide, axis=-1, keepdims=True)
        scale = jax.lax.rsqrt(jnp.mean(jnp.square(apart), axis=-1, keepdims=True) + self.eps)
        weight, bias = (each[...].astype(jnp.float32) for each in (self.weight, self.bias))
        return (apart * scale * weight + bias).astype(x.dtype)


class MLP(nnx.Module):
    """down(activation(up(x))), with biases."""

    def __init__(
        self,
        sizes: tuple[int, int, int],
        inner: str,
        activation: Activate,
        dtype: jnp.dtype,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        """Make the layer.

        Args:
            sizes: of what it takes, has within, and gives.
            inner: the axis of what it takes.
            activation: between its products.
            dtype: of weights.
            rngs: drawn from.
        """
        given, ffn, made = sizes
        self.up = parameter(rngs, (given, ffn), (inner, FFN), dtype, given**-0.5)
        self.up_bias = constant((ffn,), (FFN,), dtype, 0.0)
        self.down = parameter(rngs, (ffn, made), (FFN, EMBED), dtype, ffn**-0.5)
        self.down_bias = constant((made,), (EMBED,), dtype, 0.0)
        self.activation = activation

    def __call__(self, x: Float[Array, "B T I"]) -> Float[Array, "B T D"]:
        """Apply the layer."""
        hidden = with_bias(product("bti,if->btf", x, self.up[...]), self.up_bias)
        down = product("btf,fd->btd", self.activation(hidden), self.down[...])
        return with_bias(down, self.down_bias)


class Attention(nnx.Module):
    """Attention within images; projections are one array [D, K, 3, H], as the decoder's are."""

    def __init__(self, config: VisionConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs) -> None:
        embed, heads, width = config.embed_dim, config.num_heads, config.head_dim
        self.qkv = parameter(
            rngs,
            (embed, heads, 3, width),
            (EMBED, KV_HEADS, QKV_GROUP, HEAD_DIM),
            dtype,
            embed**-0.5,
        )
        self.qkv_bias = constant((heads, 3, width), (KV_HEADS, QKV_GROUP, HEAD_DIM), dtype, 0.0)
        self.out = parameter(
            rngs, (heads, width, embed), (KV_HEADS, HEAD_DIM, EMBED), dtype, embed**-0.5
        )
        self.out_bias = constant((embed,), (EMBED,), dtype, 0.0)

    def __call__(
        self, x: Float[Array, "B T D"], image: Int[Array, "B T"], angles: Angles | None
    ) -> Float[Array, "B T D"]:
        """Attend; `image` says which image each patch is of, `angles` turn queries and keys."""
        mixed = with_bias(product("btd,dkch->btkch", x, self.qkv[...]), self.qkv_bias)
        qk = mixed[:, :, :, :2]
        qk = qk if angles is None else rotate(qk, angles)
        attended = attend_within_images(qk[:, :, :, 0], qk[:, :, :, 1], mixed[:, :, :, 2], image)
        return with_bias(product("btkh,khd->btd", attended, self.out[...]), self.out_bias)


class Block(nnx.Module):
    """Attention and feed-forward, each normed before and added to its input."""

    def __init__(self, config: VisionConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs) -> None:
        embed, ffn = config.embed_dim, config.ffn_dim
        norm = ((embed,), (EMBED,), config.norm_eps, dtype)
        self.attention_norm = LayerNorm(*norm)
        self.attention = Attention(config, dtype, rngs=rngs)
        self.mlp_norm = LayerNorm(*norm)
        self.mlp = MLP((embed, ffn, embed), EMBED, gelu_tanh, dtype, rngs=rngs)

    def __call__(
        self, x: Float[Array, "B T D"], image: Int[Array, "B T"], angles: Angles | None
    ) -> Float[Array, "B T D"]:
        """Apply the block."""
        with jax.named_scope("attention"):
            x = x + self.attention(self.attention_norm(x), image, angles)
        with jax.named_scope("mlp"):
            x = x + self.mlp(self.mlp_norm(x))
        # Devices along the data axis share the patches of an image among them.
        return constrain(x, (IMAGES, PATCHES, EMBED))


# Blocks are alike: they are traced and lowered once.
@partial(jax.jit, static_argnums=0)
def run_block(kind: Any, weights: Any, *inputs: Any) -> jax.Array:
    """A block that `nnx.split` has taken apart, applied."""
    return nnx.merge(kind, weights)(*inputs)
