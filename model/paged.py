"""Attention through page tables over a step's flat batch of tokens, in plain JAX."""

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from model.attention import NO_SCORE, Scoring
from model.axes import HEAD_DIM, KV_HEADS, TOKENS
from model.cache import LayerCache, Pool, read, write
from model.mesh import constrain

KEYS_PER_BLOCK = 128
Pages = TypeVar("Pages", bound=LayerCache)


class StepView(NamedTuple):
    """Where a step's tokens are, N of S rows.

    Tokens of a row are consecutive, with consecutive positions, and rows follow one another: first
    those of one token, the one that sees most before the others, then those of several; after
    them padding.

    Attributes:
        tables: page table of each row.
        starts: index of each row's first token; N for padding.
        counts: tokens of each row; 0 for padding.
        rows: which row each token belongs to; any for padding.
        positions: of each token in its sequence; −1 for padding.
    """

    tables: Int[Array, "S M"]
    starts: Int[Array, " S"]
    counts: Int[Array, " S"]
    rows: Int[Array, " N"]
    positions: Int[Array, " N"]


class PagedAttention:
    """Attention through the page tables, in plain JAX: the reference backend."""

    def __init__(self, view: StepView) -> None:
        self.view = view

    def __call__(
        self,
        q: Float[Array, "N 1 K G H"],
        k: Float[Array, "N 1 K H"],
        v: Float[Array, "N 1 K H"],
        cache: Pool | None,
        scoring: Scoring,
    ) -> tuple[Float[Array, "N 1 K G H"], Pool | None]:
        """Write, then attend; see `attention.Attend`."""
        if not isinstance(cache, LayerCache):
            raise TypeError("paged attention needs a layer's pages by head")
        cache = written(cache, k[:, 0], v[:, 0], self.view)
        return attend_flat(q[:, 0], cache, self.view, scoring)[:, None], cache


def token_slots(view: StepView, page_size: int, pages: int) -> Int[Array, " N"]:
    """The slot of each token in a pool (page · page_size + offset); out of range for padding."""
    page = view.tables[view.rows, jnp.maximum(view.positions, 0) // page_size]
    slots = page * page_size + view.positions % page_size
    return jnp.where(view.positions >= 0, slots, pages * page_size)


def written(
    cache: Pages, k: Float[Array, "N K H"], v: Float[Array, "N K H"], view: StepView
) -> Pages:
    """The pages with the tokens' keys and values in them; padding is dropped."""
    # All tokens' keys go into every copy of the pages, whoever computes the tokens.
    k, v = (constrain(each, (TOKENS, KV_HEADS, HEAD_DIM)) for each in (k, v))
    slots = constrain(token_slots(view, cache.page_size, cache.keys.shape[1]), (TOKENS,))
    return cache._replace(keys=write(cache.keys, k, slots), values=write(cache.values, v, slots))


def attend_flat(
    q: Float[Array, "N K G H"], cache: LayerCache, view: StepView, scoring: Scoring
) -> Float[Array, "N K G H"]:
    """TEMPORARY: per token."""
    tables = view.tables[view.rows]
    k, v = read(cache.keys, tables), read(cache.values, tables)
    scores = scoring.scores(
        jnp.einsum("nkgh,knsh->nkgs", q, k, preferred_element_type=jnp.float32)
    )
    keys = jnp.arange(k.shape[2])
    seen = keys <= view.positions[:, None]
    if scoring.window is not None:
        seen &= keys > view.positions[:, None] - scoring.window
    scores = jnp.where(seen[:, None, None], scores, NO_SCORE)
    if scoring.sinks is not None:
        sinks = jnp.broadcast_to(scoring.sinks.astype(jnp.float32)[None, :, :, None], (*scores.shape[:3], 1))
        weights = jax.nn.softmax(jnp.concatenate([scores, sinks], -1), axis=-1)[..., :-1]
    else:
        weights = jax.nn.softmax(scores, axis=-1)
    return jnp.einsum("nkgs,knsh->nkgh", weights.astype(v.dtype), v).astype(q.dtype)
