"""The paged key-value pool: a pytree of device arrays, written and read by page table.

A page holds `page` consecutive tokens of one row; a row's page table lists its pages in
order, so token t of a row lies in page `table[t // page]` at offset `t % page`:

    row 0, tokens 0..37, page 16      table [5, 2, 9, ·]
    pool:  … | 2: t16..t31 | … | 5: t0..t15 | … | 9: t32..t37 | …

Which page belongs to whom is the engine's knowledge; here pages are just numbers. The pool
keeps heads before pages, [K, P, page, H], so that gathered keys are ready for a batched
product and the head axis can be sharded.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from model.config import ModelConfig


class LayerCache(NamedTuple):
    """One layer's pool."""

    keys: Float[Array, "K P page H"]
    values: Float[Array, "K P page H"]


class Cache(NamedTuple):
    """All layers' pools and every row slot's page table.

    Attributes:
        layers: one pool per decoder layer.
        tables: page numbers of each row slot, [R, M]; entries past a row's end are arbitrary
            but valid page numbers.
    """

    layers: tuple[LayerCache, ...]
    tables: Int[Array, "R M"]


def empty_cache(
    config: ModelConfig,
    *,
    pages: int,
    page_size: int,
    rows: int,
    table_width: int,
    dtype: jnp.dtype,
) -> Cache:
    """A cache of zeros: `pages` pages of `page_size` tokens, `rows` tables of `table_width`."""
    shape = (config.held_kv_heads, pages, page_size, config.head_dim)
    layers = tuple(
        LayerCache(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))
        for _ in range(config.num_layers)
    )
    return Cache(layers, jnp.zeros((rows, table_width), jnp.int32))


def write(
    pool: Float[Array, "K P page H"], new: Float[Array, "B T K H"], slots: Int[Array, "B T"]
) -> Float[Array, "K P page H"]:
    """Put each token's vector at its slot (page · page_size + offset).

    Slots out of range, which padding has, are dropped.
    """
    heads, pages, page_size, width = pool.shape
    flat = pool.reshape(heads, pages * page_size, width)
    tokens = jnp.moveaxis(new.reshape(-1, heads, width), 1, 0)
    flat = flat.at[:, slots.reshape(-1)].set(tokens.astype(pool.dtype), mode="drop")
    return flat.reshape(pool.shape)


def read(pool: Float[Array, "K P page H"], pages: Int[Array, "B m"]) -> Float[Array, "K B S H"]:
    """The vectors of the given pages, in order."""
    heads, _, page_size, width = pool.shape
    rows, count = pages.shape
    return pool[:, pages].reshape(heads, rows, count * page_size, width)
