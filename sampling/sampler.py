"""The order of the sampling rules, and the jitted step that applies them.

    raw logits
      → temperature
      → top_p
      → draw

Rules that no row of the batch uses are skipped on the device; which rows use what is data,
so every mixture runs the same program.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sampling.batch import Rows
from sampling.transforms import apply_temperature, draw, keep_top_p


def sample(
    rows: Rows,
    logits: Float[Array, "B V"],
    where: Int[Array, "2 B"],
) -> tuple[Rows, Int[Array, " B"]]:
    """Sample one token per row and remember it in the row's slot.

    Args:
        rows: the per-slot state; donated.
        logits: float32 scores of the rows in this batch.
        where: per row its slot, out of range for padding, and the position in its sequence
            that the sampled token will have.

    Returns:
        The new per-slot state and the tokens.
    """
    slots, positions = where
    temperature = rows.temperature.at[slots].get(mode="fill", fill_value=0.0)
    top_p = rows.top_p.at[slots].get(mode="fill", fill_value=1.0)
    keys = rows.key.at[slots].get(mode="fill", fill_value=0)

    def drawn(logits: jax.Array) -> jax.Array:
        with jax.named_scope("temperature"):
            logits = apply_temperature(logits, temperature)
        with jax.named_scope("top_p"):
            logits = jax.lax.cond(
                jnp.any((temperature > 0) & (top_p < 1)),
                lambda scores: keep_top_p(scores, top_p),
                lambda scores: scores,
                logits,
            )
        with jax.named_scope("draw"):
            return draw(logits, keys, positions)

    with jax.named_scope("greedy"):
        likeliest = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    random = jax.lax.cond(jnp.any(temperature > 0), drawn, lambda _: likeliest, logits)
    tokens = jnp.where(temperature > 0, random, likeliest)
    return rows._replace(last_token=rows.last_token.at[slots].set(tokens, mode="drop")), tokens
