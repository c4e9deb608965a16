"""The truncating rules by a full sort: plain references, same signatures."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def keep_top_k_by_sort(
    logits: Float[Array, "B V"],
    top_k: Int[Array, " B"],
    order: Float[Array, "B V"] | None = None,
) -> Float[Array, "B V"]:
    """See `top_k.keep_top_k`."""
    rank = _ranks(logits if order is None else order)
    return jnp.where((top_k <= 0)[:, None] | (rank < top_k[:, None]), logits, -jnp.inf)


def keep_top_p_by_sort(
    logits: Float[Array, "B V"],
    top_p: Float[Array, " B"],
    order: Float[Array, "B V"] | None = None,
) -> Float[Array, "B V"]:
    """See `transforms.keep_top_p`."""
    ids = jnp.argsort(-(logits if order is None else order), axis=-1, stable=True)
    ordered = jnp.take_along_axis(jax.nn.softmax(logits, axis=-1), ids, axis=1)
    before = jnp.cumsum(ordered, axis=-1) - ordered
    kept = (before < top_p[:, None]) | (jnp.arange(logits.shape[1])[None] == 0)
    keep = jnp.take_along_axis(kept, jnp.argsort(ids, axis=-1), axis=1)
    return jnp.where(keep | (top_p >= 1)[:, None], logits, -jnp.inf)


def _ranks(order: Float[Array, "B V"]) -> Int[Array, "B V"]:
    """Each token's place, likeliest 0, equals by id."""
    return jnp.argsort(jnp.argsort(-order, axis=-1, stable=True), axis=-1)
