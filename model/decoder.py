"""The decoder, in reading order: embed, blocks of attention and feed-forward, norm, head."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from model.adapters import BlockAdapters, columns_of
from model.attention import Attend, SelfAttention
from model.axes import EMBED, ROWS, TOKENS
from model.cache import Pool
from model.config import LayerConfig, ModelConfig
from model.layers import Embedding, GatedMLP, RMSNorm, unadapted
from model.mesh import constrain
from model.moe import Experts
from model.rope import Angles, rope_angles


class Block(nnx.Module):
    """Attention and feed-forward, each normed where the config says and added to its input."""

    def __init__(
        self, config: ModelConfig, layer: LayerConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs
    ) -> None:
        norm = ((config.embed_dim,), (EMBED,), config, dtype)
        before, after = config.norms != "after", config.norms != "before"
        self.attention_norm = RMSNorm(*norm) if before else None
        self.attention = SelfAttention(config, layer, dtype, rngs=rngs)
        self.attention_out_norm = RMSNorm(*norm) if after else None
        self.mlp_norm = RMSNorm(*norm) if before else None
        if layer.experts:
            self.mlp = Experts(config, dtype, rngs=rngs)
        else:
            self.mlp = GatedMLP(config, dtype, rngs=rngs)
        self.mlp_out_norm = RMSNorm(*norm) if after else None
        shape = config.adapters
        self.adapters = None if shape is None else BlockAdapters(config, layer, shape, dtype)

    def __call__(
        self,
        x: Float[Array, "B T D"],
        angles: Angles,
        attend: Attend,
        cache: Pool | None,
        own: Bool[Array, "B T columns"] | None = None,
    ) -> tuple[Float[Array, "B T D"], Pool | None]:
        """Apply the block; returns its output and the layer's cache."""
        adapt = unadapted if self.adapters is None or own is None else self.adapters.of(own)
        with jax.named_scope("attention"):
            normed = _normed(x, self.attention_norm)
            attended, cache = self.attention(normed, angles, attend, cache, adapt)
            x = x + _normed(attended, self.attention_out_norm)
        with jax.named_scope("mlp"):
            normed = _normed(x, self.mlp_norm)
            mlp = self.mlp
            added = mlp(normed) if isinstance(mlp, Experts) else mlp(normed, adapt)
            return x + _normed(added, self.mlp_out_norm), cache


def _normed(x: Float[Array, "B T D"], norm: RMSNorm | None) -> Float[Array, "B T D"]:
    return x if norm is None else norm(x)


class Sight(NamedTuple):
    """What stands for tokens of images.

    Attributes:
        is_image: of each token, whether it is one.
        vectors: what takes the place of its embedding, and then what is added after each of the
            first blocks; 0 for all other tokens.
    """

    is_image: Bool[Array, "B T"]
    vectors: Float[Array, "added B T D"]


class Decoder(nnx.Module):
    """Tokens to hidden vectors; `logits` turns those it is given into scores."""

    def __init__(self, config: ModelConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs) -> None:
        self.config = config
        self.embedding = Embedding(config, dtype, rngs=rngs)
        self.blocks = nnx.List([Block(config, layer, dtype, rngs=rngs) for layer in config.layers])
        self.norm = RMSNorm((config.embed_dim,), (EMBED,), config, dtype)
        self.head = None if config.tied_head else Embedding(config, dtype, rngs=rngs)

    def __call__(
        self,
        tokens: Int[Array, "B T"],
        positions: Int[Array, "*axes B T"],
        attend: Attend,
        layers: Sequence[Pool] | None = None,
        adapters: Int[Array, "B T"] | None = None,
        sight: Sight | None = None,
    ) -> tuple[Float[Array, "B T D"], tuple[Pool, ...] | None]:
        """Hidden vectors after the last norm, and the layers' caches with the new tokens.

        Args:
            tokens: ids.
            positions: what each token is rotated by: its position in its row, or one on each of
                three axes.
            attend: the attention backend.
            layers: one cache per layer, or None for a backend that needs none.
            adapters: the number of each token's adapter, −1 for none; None where no token has one.
            sight: of images; None where no token is of one.
        """
        shape = self.config.adapters
        own = None if adapters is None or shape is None else columns_of(shape, adapters)
        ropes = {layer.rope for layer in self.config.layers}
        angles = {rope: rope_angles(positions, rope) for rope in ropes}
        with jax.named_scope("embed"):
            x = constrain(self.embedding(tokens), (ROWS, TOKENS, EMBED))
            if sight is not None:
                x = jnp.where(sight.is_image[..., None], sight.vectors[0].astype(x.dtype), x)

        # Layers of a kind are traced and lowered once.
        @partial(jax.jit, static_argnums=0)
        def run(kind: Any, weights: Any, *inputs: Any) -> tuple[jax.Array, Pool | None]:
            x, angles, cache, own = inputs
            block: Block = nnx.merge(kind, weights)
            return block(x, angles, attend, cache, own)

        updated: list[Pool] = []
        for index, (block, layer) in enumerate(zip(self.blocks, self.config.layers, strict=True)):
            cache = None if layers is None else layers[index]
            with jax.named_scope(f"layer_{index}"):
                x, cache = run(*nnx.split(block), x, angles[layer.rope], cache, own)
            if sight is not None and index + 1 < len(sight.vectors):
                x = x + sight.vectors[index + 1].astype(x.dtype)
            if cache is not None:
                updated.append(cache)
        with jax.named_scope("norm"):
            return self.norm(x), tuple(updated) if layers is not None else None

    def logits(self, x: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Scores of every token of the vocabulary, float32."""
        with jax.named_scope("head"):
            return (self.head or self.embedding).logits(x)
