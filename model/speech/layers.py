"""The layers of speech models that others have not: attention step by step, and to what is heard.

Parameters are declared as the decoder's are (`model/layers.py`).
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from model.attention import NO_SCORE
from model.axes import EMBED, HEAD_DIM, KV_HEADS, MELS, QKV_GROUP, TAPS
from model.layers import constant, parameter, product, with_bias
from model.vision.attention import attend_within_images
from model.vision.layers import MLP, LayerNorm, gelu

_EPS = 1e-5


def norm(embed: int, dtype: jnp.dtype) -> LayerNorm:
    """A layer norm as Whisper has it."""
    return LayerNorm((embed,), (EMBED,), _EPS, dtype)


class Convolution(nnx.Module):
    """A convolution over time with a kernel of three, and GELU."""

    def __init__(
        self, width: int, embed: int, stride: int, dtype: jnp.dtype, *, rngs: nnx.Rngs
    ) -> None:
        axes = (TAPS, MELS, EMBED)
        self.weight = parameter(rngs, (3, width, embed), axes, dtype, (3 * width) ** -0.5)
        self.bias = constant((embed,), (EMBED,), dtype, 0.0)
        self.stride = stride

    def __call__(self, x: Float[Array, "B T I"]) -> Float[Array, "B out D"]:
        """Apply it; one value of silence stands before and after."""
        out = jax.lax.conv_general_dilated(
            x, self.weight[...], (self.stride,), [(1, 1)], dimension_numbers=("NWC", "WIO", "NWC")
        )
        return gelu(with_bias(out, self.bias))


class SelfAttention(nnx.Module):
    """Projections as one array [D, K, 3, H]; keys have no bias, which is one of zeros here."""

    def __init__(self, embed: int, heads: int, dtype: jnp.dtype, *, rngs: nnx.Rngs) -> None:
        shape, axes = (heads, 3, embed // heads), (KV_HEADS, QKV_GROUP, HEAD_DIM)
        self.qkv = parameter(rngs, (embed, *shape), (EMBED, *axes), dtype, embed**-0.5)
        self.qkv_bias = constant(shape, axes, dtype, 0.0)
        self.out = _out(embed, heads, dtype, rngs)
        self.out_bias = constant((embed,), (EMBED,), dtype, 0.0)

    def both_ways(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Attend to all of the row."""
        q, k, v = jnp.moveaxis(self._mixed(x), 3, 0)
        alone = jnp.zeros(x.shape[:2], jnp.int32)
        return self._leave(attend_within_images(q, k, v, alone))

    def step(
        self,
        x: Float[Array, "B 1 D"],
        position: Int[Array, ""],
        cache: Float[Array, "B S K 2 H"],
    ) -> tuple[Float[Array, "B 1 D"], Float[Array, "B S K 2 H"]]:
        """Attend to what is in the cache up to `position`, where this token goes."""
        mixed = self._mixed(x)
        cache = jax.lax.dynamic_update_slice_in_dim(cache, mixed[:, :, :, 1:], position, axis=1)
        seen = jnp.arange(cache.shape[1]) <= position
        return self._leave(_attend(mixed[:, :, :, 0], cache, seen)), cache

    def _mixed(self, x: Float[Array, "B T D"]) -> Float[Array, "B T K 3 H"]:
        return with_bias(product("btd,dkch->btkch", x, self.qkv[...]), self.qkv_bias)

    def _leave(self, attended: Float[Array, "B T K H"]) -> Float[Array, "B T D"]:
        return with_bias(product("btkh,khd->btd", attended, self.out[...]), self.out_bias)


class CrossAttention(nnx.Module):
    """Attention of a text to what is heard, whose keys and values are made once."""

    def __init__(self, embed: int, heads: int, dtype: jnp.dtype, *, rngs: nnx.Rngs) -> None:
        width = embed // heads
        axes, both = (KV_HEADS, HEAD_DIM), (KV_HEADS, QKV_GROUP, HEAD_DIM)
        self.q = parameter(rngs, (embed, heads, width), (EMBED, *axes), dtype, embed**-0.5)
        self.q_bias = constant((heads, width), axes, dtype, 0.0)
        self.kv = parameter(rngs, (embed, heads, 2, width), (EMBED, *both), dtype, embed**-0.5)
        self.kv_bias = constant((heads, 2, width), both, dtype, 0.0)
        self.out = _out(embed, heads, dtype, rngs)
        self.out_bias = constant((embed,), (EMBED,), dtype, 0.0)

    def heard(self, moments: Float[Array, "B S D"]) -> Float[Array, "B S K 2 H"]:
        """Keys and values of what is heard."""
        return with_bias(product("bsd,dkch->bskch", moments, self.kv[...]), self.kv_bias)

    def __call__(
        self, x: Float[Array, "B T D"], heard: Float[Array, "B S K 2 H"]
    ) -> Float[Array, "B T D"]:
        """Attend."""
        q = with_bias(product("btd,dkh->btkh", x, self.q[...]), self.q_bias)
        attended = _attend(q, heard, jnp.ones(heard.shape[1], bool))
        return with_bias(product("btkh,khd->btd", attended, self.out[...]), self.out_bias)


class EncoderBlock(nnx.Module):
    """Attention and feed-forward, each normed before and added to its input."""

    def __init__(
        self, embed: int, heads: int, ffn: int, dtype: jnp.dtype, *, rngs: nnx.Rngs
    ) -> None:
        self.attention_norm = norm(embed, dtype)
        self.attention = SelfAttention(embed, heads, dtype, rngs=rngs)
        self.mlp_norm = norm(embed, dtype)
        self.mlp = MLP((embed, ffn, embed), EMBED, gelu, dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Apply the block."""
        with jax.named_scope("attention"):
            x = x + self.attention.both_ways(self.attention_norm(x))
        with jax.named_scope("mlp"):
            return x + self.mlp(self.mlp_norm(x))


class DecoderBlock(nnx.Module):
    """Attention to the text, to what is heard, and feed-forward; each as in the encoder."""

    def __init__(
        self, embed: int, heads: int, ffn: int, dtype: jnp.dtype, *, rngs: nnx.Rngs
    ) -> None:
        self.attention_norm = norm(embed, dtype)
        self.attention = SelfAttention(embed, heads, dtype, rngs=rngs)
        self.cross_norm = norm(embed, dtype)
        self.cross = CrossAttention(embed, heads, dtype, rngs=rngs)
        self.mlp_norm = norm(embed, dtype)
        self.mlp = MLP((embed, ffn, embed), EMBED, gelu, dtype, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "B 1 D"],
        position: Int[Array, ""],
        cache: Float[Array, "B L K 2 H"],
        heard: Float[Array, "B S K 2 H"],
    ) -> tuple[Float[Array, "B 1 D"], Float[Array, "B L K 2 H"]]:
        """Apply the block; gives back the cache with this token in it."""
        with jax.named_scope("attention"):
            attended, cache = self.attention.step(self.attention_norm(x), position, cache)
            x = x + attended
        with jax.named_scope("cross"):
            x = x + self.cross(self.cross_norm(x), heard)
        with jax.named_scope("mlp"):
            return x + self.mlp(self.mlp_norm(x)), cache


def _out(embed: int, heads: int, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.Param[jax.Array]:
    shape = (heads, embed // heads, embed)
    return parameter(rngs, shape, (KV_HEADS, HEAD_DIM, EMBED), dtype, embed**-0.5)


def _attend(
    q: Float[Array, "B T K H"], kv: Float[Array, "B S K 2 H"], seen: Array
) -> Float[Array, "B T K H"]:
    """softmax(q · k / √H) · v over those of the keys that are seen [S]."""
    k, v = kv[:, :, :, 0], kv[:, :, :, 1]
    scores = jnp.einsum("btkh,bskh->bkts", q, k, preferred_element_type=jnp.float32)
    scores = jnp.where(seen, scores * q.shape[-1] ** -0.5, NO_SCORE)
    return jnp.einsum("bkts,bskh->btkh", jax.nn.softmax(scores).astype(v.dtype), v)
