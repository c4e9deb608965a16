"""Keeping the k likeliest tokens, by selection or by a search for the k-th logit.

The search costs the same for every k and sorts nothing. XLA's CPU backend selects a few tokens
faster than that; on other platforms selection is a sort where the vocabulary is wide.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from sampling.bisection import highest_threshold, last_of_first, tile_sum, tiles

# Up to this k a CPU selects, four to seven times as fast as it searches at V = 152k and 262k
# (`tools/bench_sampler.py`).
_SELECTED = 64
# Halvings by value before those by bits.
_EVEN_STEPS = 12


def keep_top_k(
    logits: Float[Array, "B V"],
    top_k: Int[Array, " B"],
    order: Float[Array, "B V"] | None = None,
) -> Float[Array, "B V"]:
    """The k likeliest tokens, the lowest ids among equals; k 0 keeps all.

    The way is the one that suits the platform compiled for.

    Args:
        logits: what is returned where kept.
        top_k: how many to keep.
        order: what ranks the tokens, the logits if not given. Temperature keeps the order,
            but its rounding can make unequal logits equal.
    """

    def by_platform(ranked: _Ranked) -> tuple[jax.Array, jax.Array]:
        few = jnp.all(~ranked.limited | (top_k <= _SELECTED))
        return jax.lax.platform_dependent(
            ranked, cpu=lambda rows: jax.lax.cond(few, _select, _search, rows), default=_search
        )

    return _keep(logits, top_k, order, by_platform)


def keep_top_k_by_search(
    logits: Float[Array, "B V"],
    top_k: Int[Array, " B"],
    order: Float[Array, "B V"] | None = None,
) -> Float[Array, "B V"]:
    """`keep_top_k` by the search alone, whatever the platform."""
    return _keep(logits, top_k, order, _search)


class _Ranked(NamedTuple):
    """Rows of which some tokens are to be kept.

    Attributes:
        order: ranks the tokens; −inf for those removed.
        tiled: `order` in tiles.
        available: tokens that are not removed.
        limited: whether fewer than those are to be kept.
        target: how many are to be kept.
        least: the least of the available; ∞ if there is none.
    """

    order: Float[Array, "B V"]
    tiled: Float[Array, "B T L"]
    available: Float[Array, " B"]
    limited: Bool[Array, " B"]
    target: Float[Array, " B"]
    least: Float[Array, " B"]

    def reaching(self, floor: Float[Array, " B"]) -> Float[Array, " B"]:
        """How many tokens are at least the floor."""
        return tile_sum(jnp.where(self.tiled >= floor[:, None, None], 1.0, 0.0))


def _rank(order: Float[Array, "B V"], top_k: Int[Array, " B"]) -> _Ranked:
    finite = jnp.isfinite(order)
    available = jnp.sum(finite, axis=-1)
    limited = (top_k > 0) & (top_k < available)
    return _Ranked(
        order,
        tiles(order, -jnp.inf),
        available.astype(jnp.float32),
        limited,
        jnp.where(limited, top_k, available).astype(jnp.float32),
        jnp.min(jnp.where(finite, order, jnp.inf), axis=-1),
    )


def _keep(
    logits: Float[Array, "B V"],
    top_k: Int[Array, " B"],
    order: Float[Array, "B V"] | None,
    find: Callable[[_Ranked], tuple[jax.Array, jax.Array]],
) -> Float[Array, "B V"]:
    """What `find` gives is a threshold and how many tokens reach it, the target or more."""
    ranked = _rank(logits if order is None else order, top_k)
    threshold, reached = find(ranked)
    floor = threshold[:, None]

    def cut_ties(_: None) -> jax.Array:
        """The same as `order >= floor` for rows that have not kept too many."""
        above, tied = ranked.order > floor, ranked.order == floor
        missing = ranked.target - jnp.sum(above, axis=-1)
        ids = jnp.arange(logits.shape[1], dtype=jnp.int32)[None]
        return above | (tied & (ids <= last_of_first(tied, missing)[:, None]))

    too_many = jnp.any(reached > ranked.target)
    keep = jax.lax.cond(too_many, cut_ties, lambda _: ranked.order >= floor, None)
    return jnp.where(keep | ~ranked.limited[:, None], logits, -jnp.inf)


def _search(ranked: _Ranked) -> tuple[jax.Array, jax.Array]:
    low, high = ranked.least, jnp.max(ranked.order, axis=-1)
    return highest_threshold(
        ranked.reaching,
        lambda _, reached: reached == ranked.target,
        ranked.target,
        low,
        high,
        reached=ranked.available,
        guess=low / 2 + high / 2,
        even_steps=_EVEN_STEPS,
    )


def _select(ranked: _Ranked) -> tuple[jax.Array, jax.Array]:
    """For rows of which up to `_SELECTED` tokens are to be kept, or all."""
    best = jax.lax.top_k(ranked.order, min(_SELECTED, ranked.order.shape[1]))[0]
    place = jnp.where(ranked.limited, ranked.target, 1).astype(jnp.int32) - 1
    kth = jnp.take_along_axis(best, place[:, None], axis=1)[:, 0]
    threshold = jnp.where(ranked.limited, kth, ranked.least)
    return threshold, ranked.reaching(threshold)
