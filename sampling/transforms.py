"""The sampling rules, one pure function each.

Every rule takes float32 logits [B, V] and one setting per row, and returns logits in which
removed tokens are −inf. Order and skipping are `sampler.py`'s business.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

# Bit pattern of 1.0: positive floats are ordered like their bits taken as integers.
_ONE_BITS = 0x3F800000
# Tokens per chunk of the two-level draw.
_CHUNK = 256


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
        return tied & (_ids(logits) <= _last_of_first(tied, ties_kept)[:, None])

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
    # Two levels: first the chunk of the vocabulary that the target falls into, then the
    # token inside it. A scan over the whole vocabulary would cost several times more.
    vocab = weights.shape[1]
    padded = jnp.pad(weights, ((0, 0), (0, -vocab % _CHUNK)))
    chunks = padded.reshape(padded.shape[0], -1, _CHUNK)
    totals = jnp.sum(chunks, axis=-1)
    cumulative = jnp.cumsum(totals, axis=-1)
    target = uniforms * cumulative[:, -1]
    chunk = _crossing(totals, cumulative, target)[:, None]
    before = jnp.take_along_axis(cumulative - totals, chunk, axis=1)[:, 0]
    inside = jnp.take_along_axis(chunks, chunk[..., None], axis=1)[:, 0]
    token = _crossing(inside, jnp.cumsum(inside, axis=-1), target - before)
    return (chunk[:, 0] * _CHUNK + token).astype(jnp.int32)


def _crossing(
    weights: Float[Array, "B X"], cumulative: Float[Array, "B X"], target: Float[Array, " B"]
) -> Int[Array, " B"]:
    """The first entry of positive weight whose cumulative weight exceeds the target.

    When rounding puts the target at or past the end, the last entry of positive weight.
    """
    positive = weights > 0
    crossed = positive & (cumulative > target[:, None])
    first = jnp.argmax(crossed, axis=-1)
    last = weights.shape[-1] - 1 - jnp.argmax(positive[:, ::-1], axis=-1)
    return jnp.where(jnp.any(crossed, axis=-1), first, last)


def _ids(logits: Float[Array, "B V"]) -> Int[Array, "1 V"]:
    return jnp.arange(logits.shape[-1], dtype=jnp.int32)[None]


def _last_of_first(marked: Bool[Array, "B V"], count: Float[Array, " B"]) -> Int[Array, " B"]:
    """The id of the count-th marked token of each row, by bisection over the ids."""
    vocab = marked.shape[-1]
    ids = jnp.arange(vocab, dtype=jnp.int32)[None]

    def halve(_: jax.Array, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = (low + high) // 2
        enough = jnp.sum(marked & (ids <= middle[:, None]), axis=-1) >= count
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    shape = marked.shape[:1]
    bounds = (jnp.zeros(shape, jnp.int32), jnp.full(shape, vocab - 1, jnp.int32))
    return jax.lax.fori_loop(0, vocab.bit_length(), halve, bounds)[0]
