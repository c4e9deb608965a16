"""Rotary position embedding (Su et al. 2021, RoFormer), in the split-halves layout.

Component i of the first half of the rotated width turns with component i of the second, as
published checkpoints store their projections. The ways to stretch a model's context differ
only in the frequencies, which are found once, when the configuration is read. They are
computed in float32, as the reference implementations do: at thousands of positions the
rounding of a frequency shows in the angle.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from model.config import RopeConfig

Angles = tuple[Float[Array, "B T half"], Float[Array, "B T half"]]
_WITH_AXES = 3


def _inverse_powers(theta: float, width: int) -> np.ndarray:
    exponents = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
    return np.float32(1.0) / np.power(np.float32(theta), exponents)


def _config(frequencies: np.ndarray, scale: float = 1.0) -> RopeConfig:
    return RopeConfig(tuple(frequencies.astype(np.float32).tolist()), scale)


def plain_rope(theta: float, width: int) -> RopeConfig:
    """theta^(-2i / width) radians per position for pair i."""
    return _config(_inverse_powers(theta, width))


def linear_rope(theta: float, width: int, factor: float) -> RopeConfig:
    """Positions divided by `factor` (Chen et al. 2023, position interpolation)."""
    return _config(_inverse_powers(theta, width) / np.float32(factor))


def llama3_rope(
    theta: float,
    width: int,
    *,
    factor: float,
    low_freq_factor: float,
    high_freq_factor: float,
    original_context: int,
) -> RopeConfig:
    """Long waves divided by `factor`, short ones kept, a smooth passage between (Llama 3.1).

    A wave is long when fewer than `low_freq_factor` of it fit the original context, short
    when more than `high_freq_factor` do.
    """
    plain = _inverse_powers(theta, width)
    waves = original_context * plain / np.float32(2 * math.pi)
    kept = (waves - low_freq_factor) / (high_freq_factor - low_freq_factor)
    kept = np.clip(kept, 0.0, 1.0).astype(np.float32)
    return _config((1 - kept) * plain / np.float32(factor) + kept * plain)


def yarn_rope(
    theta: float,
    width: int,
    *,
    factor: float,
    original_context: int,
    beta_fast: float = 32.0,
    beta_slow: float = 1.0,
    attention_factor: float | None = None,
    truncate: bool = True,
) -> RopeConfig:
    """YaRN (Peng et al. 2023): a ramp over the pairs from kept to divided by `factor`.

    Pairs that turn more than `beta_fast` times in the original context are kept, those that
    turn less than `beta_slow` times are divided; `truncate` rounds the ramp's ends outwards.
    """

    def pair_that_turns(times: float) -> float:
        return width * math.log(original_context / (times * 2 * math.pi)) / (2 * math.log(theta))

    low, high = pair_that_turns(beta_fast), pair_that_turns(beta_slow)
    if truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    if low == high:
        high += 0.001
    plain = _inverse_powers(theta, width)
    divided = np.clip((np.arange(width // 2, dtype=np.float32) - low) / (high - low), 0, 1)
    if attention_factor is None:
        attention_factor = 0.1 * math.log(factor) + 1.0 if factor > 1 else 1.0
    return _config(plain / np.float32(factor) * divided + plain * (1 - divided), attention_factor)


def long_rope(
    theta: float,
    factors: Sequence[float],
    *,
    stretch: float,
    original_context: int,
    attention_factor: float | None = None,
) -> RopeConfig:
    """LongRoPE (Ding et al. 2024): one divisor per pair, found by search.

    `stretch` is the new context over the original one, which sets the attention factor where
    none is given.
    """
    plain = _inverse_powers(theta, 2 * len(factors))
    if attention_factor is None:
        attention_factor = (
            math.sqrt(1 + math.log(stretch) / math.log(original_context)) if stretch > 1 else 1.0
        )
    return _config(plain / np.asarray(factors, np.float32), attention_factor)


def rope_angles(positions: Int[Array, "*axes B T"], rope: RopeConfig) -> Angles:
    """Cosine and sine of each position's angles, scaled, float32.

    Positions may have three axes, for embeddings that say which of them turns each pair.
    """
    frequencies = jnp.asarray(rope.frequencies, jnp.float32)
    if positions.ndim == _WITH_AXES:
        each = jnp.moveaxis(positions[np.array(rope.axes)], 0, -1)
    else:
        each = positions[..., None]
    angles = each.astype(jnp.float32) * frequencies
    return jnp.cos(angles) * rope.scale, jnp.sin(angles) * rope.scale


def rotate(x: Float[Array, "B T *heads H"], angles: Angles) -> Float[Array, "B T *heads H"]:
    """Rotate the pairs of H; computed in float32, returned in x's dtype."""
    extra = (1,) * (x.ndim - 3)
    cos, sin = (part.reshape(*part.shape[:2], *extra, part.shape[-1]) for part in angles)
    half = cos.shape[-1]
    wide = x.astype(jnp.float32)
    first, second, rest = wide[..., :half], wide[..., half : 2 * half], wide[..., 2 * half :]
    turned = (first * cos - second * sin, second * cos + first * sin, rest)
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)
