"""The sampling rules, one pure function each.

Every rule takes float32 logits [B, V] and one setting per row, and returns logits in which
removed tokens are −inf. Order and skipping are `sampler.py`'s business.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

# Bit pattern of 1.0: positive floats are ordered like their bits taken as integers.
_ONE_BITS = 0x3F800000


def apply_temperature(
    logits: Float[Array, "B V"], temperature: Float[Array, " B"]
) -> Float[Array, "B V"]:
    """(logits − max) / temperature; the maximum becomes 0, so nothing overflows upwards.

    Rows of temperature 0 are returned as with temperature 1: they are not drawn from.
    """
    peak = jnp.max(logits, axis=-1, keepdims=True)
    divisor = jnp.where(temperature > 0, temperature, 1.0)[:, None]
    return (logits - peak) / divisor


def keep_top_p(logits: Float[Array, "B V"], top_p: Float[Array, " B"]) -> Float[Array, "B V"]:
    """The smallest set of likeliest tokens whose mass reaches top_p (Holtzman et al. 2020).

    The token that crosses top_p stays, so one always does. Among equally likely tokens the
    lowest ids stay. The cut is found by bisecting the bits of the probability threshold,
    which is exact after 30 halvings and needs no sort.
    """
    probabilities = jax.nn.softmax(logits, axis=-1)

    def mass_from(threshold: jax.Array) -> jax.Array:
        kept = probabilities >= threshold[:, None]
        return jnp.sum(jnp.where(kept, probabilities, 0.0), axis=-1)

    def halve(_: jax.Array, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = low + (high - low + 1) // 2
        enough = mass_from(jax.lax.bitcast_convert_type(middle, jnp.float32)) >= top_p
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle - 1)

    shape = probabilities.shape[:1]
    bounds = (jnp.zeros(shape, jnp.int32), jnp.full(shape, _ONE_BITS, jnp.int32))
    low, _ = jax.lax.fori_loop(0, 30, halve, bounds)
    # top_p 0 is reached by an empty set: one token is kept all the same.
    threshold = jax.lax.bitcast_convert_type(low, jnp.float32)
    threshold = jnp.minimum(threshold, jnp.max(probabilities, axis=-1))[:, None]
    above = probabilities > threshold
    tied = probabilities == threshold
    missing = top_p - jnp.sum(jnp.where(above, probabilities, 0.0), axis=-1)
    ties_kept = jnp.maximum(jnp.ceil(missing / jnp.maximum(threshold[:, 0], 1e-38)), 1.0)

    def cut_ties(_: None) -> jax.Array:
        return tied & (jnp.cumsum(tied, axis=-1) <= ties_kept[:, None])

    too_many = jnp.sum(tied, axis=-1) > ties_kept
    tied = jax.lax.cond(jnp.any(too_many), cut_ties, lambda _: tied, None)
    keep = above | tied | (top_p >= 1.0)[:, None]
    return jnp.where(keep, logits, -jnp.inf)


def draw(
    logits: Float[Array, "B V"], keys: UInt32[Array, "B 2"], positions: Int[Array, " B"]
) -> Int[Array, " B"]:
    """One token per row from softmax(logits), by inverting the cumulative distribution.

    The row's uniform number comes from its key folded with the position of the token drawn:
    counter-based, so it depends on nothing else.
    """

    def uniform(words: jax.Array, position: jax.Array) -> jax.Array:
        key = jax.random.wrap_key_data(words, impl="threefry2x32")
        return jax.random.uniform(jax.random.fold_in(key, position))

    uniforms = jax.vmap(uniform)(keys, positions)
    weights = jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True))
    cumulative = jnp.cumsum(weights, axis=-1)
    target = uniforms * cumulative[:, -1]
    # The first token whose cumulative weight exceeds the target has a positive weight. If
    # rounding puts the target at the very end, the last token with a positive weight is it.
    first = jnp.sum(cumulative <= target[:, None], axis=-1)
    last = logits.shape[-1] - 1 - jnp.argmax(weights[:, ::-1] > 0, axis=-1)
    return jnp.minimum(first, last).astype(jnp.int32)
