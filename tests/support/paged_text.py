"""A whole text through pages of its own, as a step computes it."""

import jax
import jax.numpy as jnp

from model.cache import empty_cache
from model.decoder import Decoder
from model.paged import PagedAttention, StepView

PAGE = 16


def logits_of(decoder: Decoder, ids: jax.Array, pages: str = "float32") -> jax.Array:
    """Scores after each token, [T, V].

    Args:
        decoder: of which layers and head are called.
        ids: the text, [T].
        pages: dtype of keys and values.
    """
    count = -(-len(ids) // PAGE)
    places, row = jnp.arange(len(ids)), jnp.zeros(1, jnp.int32)
    cache = empty_cache(
        decoder.config,
        pages=count,
        page_size=PAGE,
        rows=1,
        table_width=count,
        dtype=jnp.dtype(pages),
    )
    table = jnp.arange(count)[None]
    view = StepView(table, row, row + len(ids), jnp.zeros_like(places), places)
    attend = PagedAttention(view)
    hidden, _ = decoder(ids[:, None], places[:, None], attend, cache.layers)
    return decoder.logits(hidden)[:, 0]
