"""Finding a threshold without sorting.

Floats are ordered like integers made from their bits, so that halving an integer interval
ends at an exact float after at most 32 passes over the data, and mostly long before. Rows
are searched side by side; each stops on its own and does not move any more, so what a row
finds depends on no other row.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

# Width of the tiles that rows are summed in: neighbouring lanes are summed apart first, which
# is faster than summing along the row and rounds less.
LANES = 256


def tiles(values: Float[Array, "B V"], fill: float) -> Float[Array, "B T L"]:
    """Rows cut into tiles of `LANES`, padded at the end."""
    padded = jnp.pad(values, ((0, 0), (0, -values.shape[1] % LANES)), constant_values=fill)
    return padded.reshape(values.shape[0], -1, LANES)


def tile_sum(values: Float[Array, "B T L"]) -> Float[Array, " B"]:
    """Sum of each row."""
    return jnp.sum(jnp.sum(values, axis=1), axis=-1)


def ordinal(value: Float[Array, " B"]) -> Int[Array, " B"]:
    """The float's place among all floats."""
    return _flip(jax.lax.bitcast_convert_type(value, jnp.int32))


def float_at(place: Int[Array, " B"]) -> Float[Array, " B"]:
    """The float at a place: `ordinal` backwards."""
    return jax.lax.bitcast_convert_type(_flip(place), jnp.float32)


def _flip(bits: jax.Array) -> jax.Array:
    """Negative floats grow downwards with their bits; this turns them round, and back."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def highest_threshold(
    measure: Callable[[Float[Array, " B"]], Float[Array, " B"]],
    settled: Callable[[Float[Array, " B"], Float[Array, " B"]], Bool[Array, " B"]],
    target: Float[Array, " B"],
    low: Float[Array, " B"],
    high: Float[Array, " B"],
    *,
    reached: Float[Array, " B"],
    guess: Float[Array, " B"],
    even_steps: int,
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """The highest threshold from `low` to `high` whose measure reaches the target.

    Args:
        measure: falls as the threshold rises.
        settled: whether a threshold and its measure will do, though a higher one may reach
            the target too: such a row's search ends early.
        target: to be reached.
        low: a threshold that reaches it, or will do anyway.
        high: above it nothing does.
        reached: measure of `low`.
        guess: first threshold to try.
        even_steps: how often to halve the interval of values before halving that of bits.
            Values are better when they lie on both sides of zero, around which bits crowd.

    Returns:
        The threshold and its measure.
    """

    def active(low: jax.Array, high: jax.Array, reached: jax.Array) -> jax.Array:
        return (low < high) & ~settled(float_at(low), reached)

    def go_on(state: tuple[jax.Array, ...]) -> jax.Array:
        return jnp.any(active(*state[1:]))

    def halve(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        step, low, high, reached = state
        by_value = ordinal(float_at(low) / 2 + float_at(high) / 2)
        by_bits = (low | high) - ((low ^ high) >> 1)  # the mean, rounded up, without overflow
        middle = jnp.where(step < even_steps, by_value, by_bits)
        middle = jnp.where(step == 0, ordinal(guess), middle)
        middle = jnp.clip(middle, jnp.minimum(low + 1, high), high)
        value = measure(float_at(middle))
        rises = active(low, high, reached) & (value >= target)
        falls = active(low, high, reached) & (value < target)
        return (
            step + 1,
            jnp.where(rises, middle, low),
            jnp.where(falls, middle - 1, high),
            jnp.where(rises, value, reached),
        )

    state = (jnp.int32(0), ordinal(low), ordinal(high), reached)
    _, found, _, reached = jax.lax.while_loop(go_on, halve, state)
    return float_at(found), reached


def last_of_first(marked: Bool[Array, "B V"], count: Float[Array, " B"]) -> Int[Array, " B"]:
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
