"""Attention among packed documents on GPU, for training: cuDNN's kernel.

It leaves out what comes later, but knows of no documents: to keep those of a row apart it would
have to be given a bias for every pair of tokens, and would compute the bias's gradient. Further
dimensions of queries and keys do it instead: there both hold the number of their document, one-hot,
so that only the scores within a document grow by `SAME`, and the softmax leaves e^-SAME of the
others. The plain counterpart is `attention.DenseAttention`.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from model.attention import Scoring
from model.cache import Pool

DOCUMENTS = 64
SAME = 64.0


class PackedAttention:
    """Causal attention among the tokens of one document, without a cache.

    Args:
        segments: number of the document that a token is of. Numbers count modulo `DOCUMENTS`, so a
            row may hold so many.
        implementation: of `jax.nn.dot_product_attention`; "xla" has the same numbers anywhere.
    """

    def __init__(
        self, segments: Int[Array, "B T"], implementation: Literal["cudnn", "xla"] = "cudnn"
    ) -> None:
        self.segments = segments
        self._implementation: Literal["cudnn", "xla"] = implementation

    def __call__(
        self,
        q: Float[Array, "B T K G H"],
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
        cache: Pool | None,
        scoring: Scoring,
    ) -> tuple[Float[Array, "B T K G H"], Pool | None]:
        """Attend within documents; the cache passes through."""
        if scoring != Scoring(scoring.scale):
            raise ValueError("packed attention has neither windows nor caps nor sinks")
        batch, length, kv_heads, group, head_dim = q.shape
        document = jax.nn.one_hot(self.segments % DOCUMENTS, DOCUMENTS, dtype=q.dtype)[:, :, None]
        flat = q.reshape(batch, length, kv_heads * group, head_dim)
        attended = jax.nn.dot_product_attention(
            _widened(flat, document * (SAME / scoring.scale)),
            _widened(k, document),
            _widened(v, jnp.zeros_like(document)),
            scale=scoring.scale,
            is_causal=True,
            implementation=self._implementation,
        )
        return attended[..., :head_dim].reshape(q.shape), cache


def _widened(
    heads: Float[Array, "B T N H"], further: Float[Array, "B T 1 S"]
) -> Float[Array, "B T N HS"]:
    shape = (*heads.shape[:3], further.shape[-1])
    return jnp.concatenate([heads, jnp.broadcast_to(further, shape)], axis=-1)
