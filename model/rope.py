"""Rotary position embedding (Su et al. 2021, RoFormer), in the split-halves layout.

Component i of the first half of H is rotated with component i of the second half, as
Hugging Face checkpoints store their projections.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from model.config import ModelConfig


def rope_frequencies(config: ModelConfig) -> Float[Array, " half"]:
    """Radians per position of each of the H / 2 pairs: theta^(-2i / H)."""
    exponents = jnp.arange(0, config.head_dim, 2, dtype=jnp.float32) / config.head_dim
    return config.rope_theta**-exponents


def rope_angles(
    positions: Int[Array, "B T"], config: ModelConfig
) -> tuple[Float[Array, "B T half"], Float[Array, "B T half"]]:
    """Cosine and sine of each position's angles, float32."""
    angles = positions[..., None].astype(jnp.float32) * rope_frequencies(config)
    return jnp.cos(angles), jnp.sin(angles)


def rotate(
    x: Float[Array, "B T *heads H"],
    angles: tuple[Float[Array, "B T half"], Float[Array, "B T half"]],
) -> Float[Array, "B T *heads H"]:
    """Rotate the pairs of H; computed in float32, returned in x's dtype."""
    extra = (1,) * (x.ndim - 3)
    cos, sin = (part.reshape(*part.shape[:2], *extra, part.shape[-1]) for part in angles)
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = (first * cos - second * sin, second * cos + first * sin)
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)
