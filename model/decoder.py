"""The decoder, in reading order: embed, blocks of attention and feed-forward, norm, head."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from model.attention import Attend, SelfAttention
from model.axes import EMBED
from model.cache import LayerCache
from model.config import ModelConfig
from model.layers import Embedding, GatedMLP, RMSNorm
from model.rope import rope_angles


class Block(nnx.Module):
    """Attention and feed-forward, each after a norm and added to its input."""

    def __init__(self, config: ModelConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs) -> None:
        norm = (config.embed_dim, EMBED, config.norm_eps, dtype)
        self.attention_norm = RMSNorm(*norm, rngs=rngs)
        self.attention = SelfAttention(config, dtype, rngs=rngs)
        self.mlp_norm = RMSNorm(*norm, rngs=rngs)
        self.mlp = GatedMLP(config, dtype, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "B T D"],
        angles: tuple[Float[Array, "B T half"], Float[Array, "B T half"]],
        attend: Attend,
        cache: LayerCache | None,
    ) -> tuple[Float[Array, "B T D"], LayerCache | None]:
        """Apply the block; returns its output and the layer's cache."""
        with jax.named_scope("attention"):
            attended, cache = self.attention(self.attention_norm(x), angles, attend, cache)
        x = x + attended
        with jax.named_scope("mlp"):
            return x + self.mlp(self.mlp_norm(x)), cache


class Decoder(nnx.Module):
    """Tokens to hidden vectors; `logits` turns those it is given into scores."""

    def __init__(self, config: ModelConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs) -> None:
        self.config = config
        self.embedding = Embedding(config, dtype, rngs=rngs)
        self.blocks = nnx.List([Block(config, dtype, rngs=rngs) for _ in range(config.num_layers)])
        self.norm = RMSNorm(config.embed_dim, EMBED, config.norm_eps, dtype, rngs=rngs)
        self.head = None if config.tied_head else Embedding(config, dtype, rngs=rngs)

    def __call__(
        self,
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"],
        attend: Attend,
        layers: Sequence[LayerCache] | None = None,
    ) -> tuple[Float[Array, "B T D"], tuple[LayerCache, ...] | None]:
        """Hidden vectors after the last norm, and the layers' caches with the new tokens.

        Args:
            tokens: ids.
            positions: each token's position in its row.
            attend: the attention backend.
            layers: one cache per layer, or None for a backend that needs none.
        """
        angles = rope_angles(positions, self.config)
        with jax.named_scope("embed"):
            x = self.embedding(tokens)
        updated: list[LayerCache] = []
        for index, block in enumerate(self.blocks):
            with jax.named_scope(f"layer_{index}"):
                x, cache = block(x, angles, attend, None if layers is None else layers[index])
            if cache is not None:
                updated.append(cache)
        with jax.named_scope("norm"):
            return self.norm(x), tuple(updated) if layers is not None else None

    def logits(self, x: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Scores of every token of the vocabulary, float32."""
        with jax.named_scope("head"):
            return (self.head or self.embedding).logits(x)
