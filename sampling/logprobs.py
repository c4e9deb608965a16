"""Log-probabilities of the model's own distribution: from raw logits, before every rule.

Computed at one fixed width, so that asking for them compiles nothing; how many of the
alternatives a person sees is cut on the host.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

MOST_ALTERNATIVES = 20


def top_logprobs(
    logits: Float[Array, "B V"], tokens: Int[Array, " B"]
) -> tuple[Float[Array, " B"], Int[Array, "B W"], Float[Array, "B W"]]:
    """Log-probabilities of one token per row, and the likeliest tokens with theirs.

    Args:
        logits: raw float32 logits.
        tokens: the sampled ones.

    Returns:
        Of the tokens; ids of the likeliest 20, or of all if there are fewer, likeliest
        first and equals by id; theirs.
    """
    with jax.named_scope("logprobs"):
        # Relative to the likeliest: large logits must not swallow the norm's decimals.
        peak = jnp.max(logits, axis=-1, keepdims=True)
        norm = jnp.log(jnp.sum(jnp.exp(logits - peak), axis=-1, keepdims=True))
        sampled = jnp.take_along_axis(logits, tokens[:, None], axis=1)
        # The device's order of floats puts −0 below 0; here they are equal.
        ordered = jnp.where(logits == 0, 0.0, logits)
        values, ids = jax.lax.top_k(ordered, min(MOST_ALTERNATIVES, logits.shape[1]))
        return (sampled - peak - norm)[:, 0], ids, values - peak - norm


def ranked_logprobs(
    logits: Float[Array, "B V"], tokens: Int[Array, " B"]
) -> tuple[Float[Array, " B"], Int[Array, " B"], Int[Array, "B W"], Float[Array, "B W"]]:
    """What `top_logprobs` tells, and after the log-probabilities of the tokens their ranks.

    A rank is how many tokens are at least as likely, the token itself among them.
    """
    values, ids, likeliest = top_logprobs(logits, tokens)
    own = jnp.take_along_axis(logits, tokens[:, None], axis=1)
    return values, jnp.sum(logits >= own, axis=-1), ids, likeliest


def log_probabilities(logits: Float[Array, "B V"]) -> Float[Array, "B V"]:
    """Of every token."""
    return jax.nn.log_softmax(logits, axis=-1)
