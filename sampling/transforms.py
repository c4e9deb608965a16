"""The sampling rules, one pure function each; top_k has a file of its own.

Every rule takes float32 logits [B, V] and one setting per row, and returns logits in which
removed tokens are −inf; none brings a removed token back. Order and skipping are
`sampler.py`'s business.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from sampling.bisection import highest_threshold, tile_sum, tiles
from sampling.top_k import keep_top_k

# Tokens per chunk of the two-level draw.
_CHUNK = 256


def add_bias(
    logits: Float[Array, "B V"],
    ids: Int[Array, "B N"],
    values: Float[Array, "B N"],
    count: Int[Array, " B"],
) -> Float[Array, "B V"]:
    """The first `count` biases added to their tokens; −inf removes.

    A row's ids are distinct.
    """
    used = jnp.arange(ids.shape[1])[None] < count[:, None]
    rows = jnp.arange(ids.shape[0])[:, None]
    # Entries not in use go out of range, each to a place of its own.
    unused = jnp.iinfo(jnp.int32).max - jnp.arange(ids.shape[1])[None]
    return logits.at[rows, jnp.where(used, ids, unused)].add(
        values, mode="drop", unique_indices=True
    )


def penalize_repetition(
    logits: Float[Array, "B V"],
    counts: Int[Array, "B V"],
    prompts: UInt32[Array, "B W"],
    repetition: Float[Array, " B"],
) -> Float[Array, "B V"]:
    """Positive logits of tokens seen before divided, the others multiplied (Keskar et al. 2019).

    Args:
        logits: what is returned where not seen.
        counts: how often each token was sampled.
        prompts: which tokens the prompt holds, bits as in `keep_allowed`.
        repetition: the divisor; 0 for rows that have none.
    """
    seen = (counts > 0) | _unpacked(prompts, logits.shape[1])
    factor = jnp.where(repetition == 0, 1.0, repetition)[:, None]
    larger = jnp.minimum(logits / factor, jnp.finfo(jnp.float32).max)
    return jnp.where(seen, jnp.where(logits > 0, larger, logits * factor), logits)


def subtract_penalties(
    logits: Float[Array, "B V"],
    counts: Int[Array, "B V"],
    frequency: Float[Array, " B"],
    presence: Float[Array, " B"],
) -> Float[Array, "B V"]:
    """logit − count · frequency − (count > 0) · presence, counts of the sampled tokens."""
    once = jnp.where(counts > 0, presence[:, None], 0.0)
    return logits - (counts * frequency[:, None] + once)


def ban(
    logits: Float[Array, "B V"], ids: Int[Array, "B E"], banned: Bool[Array, "B E"]
) -> Float[Array, "B V"]:
    """The ids that are marked removed from their rows; ids out of range are nothing."""
    rows = jnp.where(banned, jnp.arange(banned.shape[0])[:, None], banned.shape[0])
    return logits.at[rows, ids].set(-jnp.inf, mode="drop")


def keep_allowed(
    logits: Float[Array, "B V"], allowed: UInt32[Array, "B W"], masked: Bool[Array, " B"]
) -> Float[Array, "B V"]:
    """Only the allowed tokens of rows that are marked; the other rows as they are.

    Args:
        logits: what is returned where kept.
        allowed: one bit per token, W = ⌈V / 32⌉: token t is bit t mod 32 of word ⌊t / 32⌋.
        masked: rows to which their bits apply.
    """
    kept = _unpacked(allowed, logits.shape[1])
    return jnp.where(kept | ~masked[:, None], logits, -jnp.inf)


def _unpacked(words: UInt32[Array, "B W"], vocab: int) -> Bool[Array, "B V"]:
    bits = words[:, :, None] >> jnp.arange(32, dtype=jnp.uint32) & 1
    return bits.reshape(words.shape[0], -1)[:, :vocab] > 0


def likeliest(logits: Float[Array, "B V"]) -> Int[Array, " B"]:
    """Argmax, the lowest id among equals; 0 if every token is removed."""

    def by_two_reductions(logits: jax.Array) -> jax.Array:
        peak = jnp.max(logits, axis=-1, keepdims=True)
        return jnp.min(jnp.where(logits == peak, _ids(logits), logits.shape[1] - 1), axis=-1)

    # XLA's argmax takes five times as long as these on a CPU, and on a TPU less than half of it.
    first = jax.lax.platform_dependent(
        logits, cpu=by_two_reductions, default=lambda logits: jnp.argmax(logits, axis=-1)
    )
    return first.astype(jnp.int32)


def apply_temperature(
    logits: Float[Array, "B V"], temperature: Float[Array, " B"]
) -> Float[Array, "B V"]:
    """(logits − max) / temperature; the maximum becomes 0, so nothing overflows upwards.

    Rows of temperature 0 are returned as with temperature 1: they are not drawn from.
    """
    peak = jnp.max(logits, axis=-1, keepdims=True)
    peak = jnp.where(jnp.isfinite(peak), peak, 0.0)
    divisor = jnp.where(temperature > 0, temperature, 1.0)[:, None]
    return (logits - peak) / divisor


def keep_top_p(
    logits: Float[Array, "B V"],
    top_p: Float[Array, " B"],
    order: Float[Array, "B V"] | None = None,
) -> Float[Array, "B V"]:
    """The smallest set of likeliest tokens whose mass reaches top_p (Holtzman et al. 2020).

    The token that crosses top_p stays, so one always does. Among equally likely tokens those
    that `order` ranks first stay, then the lowest ids. No sort: the probability at the cut is
    found by bisection.

    Args:
        logits: what is returned where kept.
        top_p: mass to be reached; 1 keeps all.
        order: what ranks the tokens, as in `top_k.keep_top_k`.
    """
    order = logits if order is None else order
    peak = jnp.max(logits, axis=-1, keepdims=True)
    # Relative to the likeliest, whose weight is 1.
    weights = jnp.exp(logits - jnp.where(jnp.isfinite(peak), peak, 0.0))
    tiled = tiles(weights, 0.0)

    def mass_from(floor: jax.Array) -> jax.Array:
        return tile_sum(jnp.where(tiled >= floor[:, None, None], tiled, 0.0))

    total = tile_sum(tiled)
    target = jnp.where(top_p < 1, jnp.maximum(top_p * total, 1.0), jnp.inf)

    def settled(floor: jax.Array, reached: jax.Array) -> jax.Array:
        """Whether the mass without the least likely of the tokens would fall short."""
        return reached - floor < target

    threshold, reached = highest_threshold(
        mass_from,
        settled,
        target,
        jnp.zeros_like(total),
        jnp.ones_like(total),
        reached=total,
        # All tokens below this have together half of the mass that may go.
        guess=(1 - top_p) * total / (2 * weights.shape[1]),
        even_steps=0,
    )
    reaches = weights >= threshold[:, None]

    def cut_ties(_: None) -> jax.Array:
        """Only some of the equally likely tokens at the threshold are needed."""
        above = weights > threshold[:, None]
        missing = target - tile_sum(jnp.where(tiled > threshold[:, None, None], tiled, 0.0))
        ties = jnp.ceil(missing / jnp.maximum(threshold, jnp.finfo(jnp.float32).tiny))
        count = jnp.sum(above, axis=-1) + jnp.clip(ties, 1, weights.shape[1]).astype(jnp.int32)
        count = jnp.where(settled(threshold, reached), 0, count)
        kept = keep_top_k(jnp.where(reaches, order, -jnp.inf), count)
        return reaches & jnp.isfinite(kept)

    all_settled = jnp.all(settled(threshold, reached))
    keep = jax.lax.cond(all_settled, lambda _: reaches, cut_ties, None)
    return jnp.where(keep, logits, -jnp.inf)


def keep_min_p(logits: Float[Array, "B V"], min_p: Float[Array, " B"]) -> Float[Array, "B V"]:
    """Tokens at least min_p times as likely as the likeliest; 0 keeps all."""
    floor = jnp.max(logits, axis=-1) + jnp.log(min_p)
    return jnp.where(logits >= floor[:, None], logits, -jnp.inf)


def draw(
    logits: Float[Array, "B V"], keys: UInt32[Array, "B 2"], positions: Int[Array, " B"]
) -> Int[Array, " B"]:
    """One token per row from softmax(logits), by inverting the cumulative distribution.

    The row's uniform number comes from its key folded with the position of the token drawn:
    counter-based, so it depends on nothing else. If every token is removed the result is 0.
    """

    def uniform(words: jax.Array, position: jax.Array) -> jax.Array:
        key = jax.random.wrap_key_data(words, impl="threefry2x32")
        return jax.random.uniform(jax.random.fold_in(key, position))

    uniforms = jax.vmap(uniform)(keys, positions)
    peak = jnp.max(logits, axis=-1, keepdims=True)
    weights = jnp.exp(logits - jnp.where(jnp.isfinite(peak), peak, 0.0))
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

    When rounding puts the target at or past the end, the last entry of positive weight; when
    there is none, the first entry.
    """
    positive = weights > 0
    crossed = positive & (cumulative > target[:, None])
    first = jnp.argmax(crossed, axis=-1)
    last = weights.shape[-1] - 1 - jnp.argmax(positive[:, ::-1], axis=-1)
    last = jnp.where(jnp.any(positive, axis=-1), last, 0)
    return jnp.where(jnp.any(crossed, axis=-1), first, last)


def _ids(logits: Float[Array, "B V"]) -> Int[Array, "1 V"]:
    return jnp.arange(logits.shape[-1], dtype=jnp.int32)[None]
