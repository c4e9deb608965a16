"""The paged key-value pool: a pytree of device arrays, written and read by page table.

A page holds `page` consecutive tokens of one row; a row's page table lists its pages in
order, so token t of a row lies in page `table[t // page]` at offset `t % page`:

    row 0, tokens 0..37, page 16      table [5, 2, 9, ·]
    pool:  … | 2: t16..t31 | … | 5: t0..t15 | … | 9: t32..t37 | …

Which page belongs to whom is the engine's knowledge; here pages are just numbers. How a page
is laid out belongs to the attention backend that reads it (`backends.py`).
"""

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Int8, Num

from model.axes import HEAD_DIM, KEYS_VALUES, KV_HEADS, LAYERS, PAGE, PAGES
from model.config import ModelConfig
from model.float8 import FP8, float8_bits, of_float8_bits
from model.mesh import replicated, sharding

PageLayout = Literal["by_head", "by_head_on_gpu", "combined"]
# The kernel that reads combined pages wants whole vector registers.
LANES = 128


class LayerCache(NamedTuple):
    """One layer's pool, heads before pages: gathered keys are ready for a batched product.

    bfloat16 is held as the bits of uint16, and fp8 of uint8: to write some bfloat16 values into a
    pool, XLA's CPU backend would turn all of it into float32 and back. Of int8 each vector has a
    scale, whose bytes are its last four.
    """

    keys: Num[Array, "K P page W"]
    values: Num[Array, "K P page W"]

    @property
    def page_size(self) -> int:
        """Tokens of a page."""
        return self.keys.shape[2]

    def copied(self, source: Int[Array, " c"], target: Int[Array, " c"]) -> "LayerCache":
        """With pages copied to others; targets out of range are dropped."""

        def copy(pool: jax.Array) -> jax.Array:
            return pool.at[:, target].set(pool.at[:, source].get(mode="clip"), mode="drop")

        return self._make((copy(self.keys), copy(self.values)))

    def taken(self, source: Int[Array, " c"]) -> Num[Array, "c 2 K page W"]:
        """What pages hold, page by page."""
        both = [pool.at[:, source].get(mode="clip") for pool in self]
        return jnp.moveaxis(jnp.stack(both), 2, 0)

    def filled(self, held: Num[Array, "c 2 K page W"], target: Int[Array, " c"]) -> "LayerCache":
        """With pages that hold what `taken` gave; targets out of range are dropped."""
        both = jnp.moveaxis(held, 0, 2)
        return self._make(
            pool.at[:, target].set(new, mode="drop") for pool, new in zip(self, both, strict=True)
        )


class GpuPages(LayerCache):
    """Pages by head that the kernel for GPUs reads."""

    __slots__ = ()


class CombinedPages(NamedTuple):
    """One layer's pool, page by page, each token's keys and values in turn: k0 v0 k1 v1 …

    Each is filled up with zeros to a multiple of 128, and there may be heads of zeros behind a
    device's own: see `combined_heads`.
    """

    pages: Float[Array, "P page two_K W"]

    @property
    def page_size(self) -> int:
        """Tokens of a page."""
        return self.pages.shape[1]

    def copied(self, source: Int[Array, " c"], target: Int[Array, " c"]) -> "CombinedPages":
        """With pages copied to others; targets out of range are dropped."""
        return self.filled(self.taken(source), target)

    def taken(self, source: Int[Array, " c"]) -> Num[Array, "c page two_K W"]:
        """What pages hold, page by page."""
        return self.pages.at[source].get(mode="clip")

    def filled(
        self, held: Num[Array, "c page two_K W"], target: Int[Array, " c"]
    ) -> "CombinedPages":
        """With pages that hold what `taken` gave; targets out of range are dropped."""
        return self._replace(pages=self.pages.at[target].set(held, mode="drop"))


Pool = LayerCache | CombinedPages
INT8 = jnp.dtype("int8")
_SCALE_BYTES = 4
_MOST_INT8 = 127.0
_HELD_AS = {jnp.dtype("bfloat16"): jnp.uint16, FP8: jnp.uint8}
_BY_HEAD = {"by_head": LayerCache, "by_head_on_gpu": GpuPages}


class Cache(NamedTuple):
    """All layers' pools and every row slot's page table.

    Attributes:
        layers: one pool per decoder layer.
        tables: page numbers of each row slot, [R, M]; entries past a row's end are arbitrary
            but valid page numbers.
    """

    layers: tuple[Pool, ...]
    tables: Int[Array, "R M"]


def page_layout(cache: Cache) -> PageLayout:
    """How the pages of a cache are laid out."""
    pool = cache.layers[0]
    if isinstance(pool, CombinedPages):
        return "combined"
    return "by_head_on_gpu" if isinstance(pool, GpuPages) else "by_head"


def taken_sharding(mesh: Mesh, layout: PageLayout) -> Any:
    """How the result of `steps.take_pages` lies on a mesh."""
    own = (PAGE, KV_HEADS) if layout == "combined" else (KEYS_VALUES, KV_HEADS, PAGE)
    return _place(mesh, PAGES, LAYERS, *own, HEAD_DIM)


def combined_width(head_dim: int) -> int:
    """Values that a head's key, or its value, takes in combined pages."""
    return -(-head_dim // LANES) * LANES


def held_width(head_dim: int, dtype: jnp.dtype) -> int:
    """Values that a head's key, or its value, takes in pages by head."""
    return head_dim + (_SCALE_BYTES if dtype == INT8 else 0)


def combined_heads(heads: int, dtype: jnp.dtype) -> int:
    """Kv heads for which a device's combined pages have room, if it has so many of its own.

    The kernel reads a token's keys and values in words of 32 bits, and in whole tiles of them:
    1, 2, 4 or a multiple of 8.
    """
    words = -(-2 * heads * dtype.itemsize // 4)
    words = -(-words // 8) * 8 if words > 4 else 1 << (words - 1).bit_length()
    return 4 * words // (2 * dtype.itemsize)


def bytes_per_token(config: ModelConfig, layout: PageLayout, dtype: jnp.dtype, heads: int) -> int:
    """Bytes that one token's keys and values take over all layers; see `empty_cache`."""
    width = (
        combined_width(config.head_dim)
        if layout == "combined"
        else held_width(config.head_dim, dtype)
    )
    return 2 * config.num_layers * heads * width * dtype.itemsize


def empty_cache(
    config: ModelConfig,
    *,
    pages: int,
    page_size: int,
    rows: int,
    table_width: int,
    dtype: jnp.dtype,
    layout: PageLayout = "by_head",
    heads: int = 0,
) -> Cache:
    """A cache of zeros: `pages` pages of `page_size` tokens, `rows` tables of `table_width`.

    Pages have room for `heads` kv heads over all devices; 0 for as many as there are.
    """
    heads, width = heads or config.held_kv_heads, config.head_dim

    def pool() -> Pool:
        if layout == "combined":
            shape = (pages, page_size, 2 * heads, combined_width(width))
            return CombinedPages(jnp.zeros(shape, dtype))
        shape = (heads, pages, page_size, held_width(width, dtype))
        held = _HELD_AS.get(dtype, dtype) if layout == "by_head" else dtype
        return _BY_HEAD[layout](jnp.zeros(shape, held), jnp.zeros(shape, held))

    layers = tuple(pool() for _ in range(config.num_layers))
    return Cache(layers, jnp.zeros((rows, table_width), jnp.int32))


def cache_sharding(config: ModelConfig, mesh: Mesh, layout: PageLayout = "by_head") -> Cache:
    """How such a cache lies on a mesh: a `Cache` that holds shardings."""
    pool: CombinedPages | LayerCache
    if layout == "combined":
        pool = CombinedPages(_place(mesh, PAGES, PAGE, KV_HEADS, HEAD_DIM))
    else:
        by_head = _place(mesh, KV_HEADS, PAGES, PAGE, HEAD_DIM)
        pool = _BY_HEAD[layout](by_head, by_head)
    tables: Any = replicated(mesh)
    return Cache((pool,) * config.num_layers, tables)


def abstract_cache(
    config: ModelConfig, mesh: Mesh, *, layout: PageLayout, **sizes: Any
) -> tuple[Cache, Cache]:
    """Such a cache on a mesh as shapes, of which nothing is allocated, and its shardings."""
    shapes: Cache = jax.eval_shape(partial(empty_cache, config, layout=layout, **sizes))
    places = cache_sharding(config, mesh, layout)
    placed: Cache = jax.tree.map(
        lambda shape, place: jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=place),
        shapes,
        places,
    )
    return placed, places


# Any, because a pytree of shardings has the type of the pytree of arrays that it describes.
def _place(mesh: Mesh, *axes: str) -> Any:
    return sharding(mesh, axes)


def write(
    pool: Num[Array, "K P page W"], new: Float[Array, "N K H"], slots: Int[Array, " N"]
) -> Num[Array, "K P page W"]:
    """Put each token's vector at its slot (page · page_size + offset).

    Slots out of range, which padding has, are dropped.
    """
    heads, pages, page_size, width = pool.shape
    flat = pool.reshape(heads, pages * page_size, width)
    if len(slots) == 1:
        # To write one token XLA's CPU backend would copy the pool; a second one is dropped.
        new = jnp.concatenate([new, new])
        slots = jnp.concatenate([slots, jnp.full_like(slots, pages * page_size)])
    tokens = jnp.moveaxis(new, 1, 0)
    if pool.dtype == jnp.uint16:
        held = jax.lax.bitcast_convert_type(tokens.astype(jnp.bfloat16), jnp.uint16)
    elif pool.dtype == jnp.uint8:
        held = float8_bits(tokens)
    elif pool.dtype == INT8:
        held = _with_scale(tokens)
    else:
        held = tokens.astype(pool.dtype)
    return flat.at[:, slots].set(held, mode="drop").reshape(pool.shape)


def read(pool: Num[Array, "K P page W"], pages: Int[Array, "B m"]) -> Float[Array, "K B S H"]:
    """The vectors of the given pages, in order."""
    heads, _, page_size, width = pool.shape
    rows, count = pages.shape
    return numbers(pool[:, pages].reshape(heads, rows, count * page_size, width))


def numbers(held: Num[Array, "*vectors W"]) -> Float[Array, "*vectors H"]:
    """What pages by head hold, as numbers."""
    if held.dtype == jnp.uint16:
        return jax.lax.bitcast_convert_type(held, jnp.bfloat16)
    if held.dtype == INT8:
        scales = jax.lax.bitcast_convert_type(held[..., -_SCALE_BYTES:], jnp.float32)
        return held[..., :-_SCALE_BYTES].astype(jnp.float32) * scales[..., None]
    return of_float8_bits(held) if held.dtype == jnp.uint8 else held


def _with_scale(vectors: Float[Array, "*vectors H"]) -> Int8[Array, "*vectors W"]:
    """The nearest of 255 multiples of a scale for each vector, and behind them the scale's bytes.

    The largest magnitude is the last multiple.
    """
    wide = vectors.astype(jnp.float32)
    scales = jnp.max(jnp.abs(wide), axis=-1, keepdims=True) / _MOST_INT8
    steps = jnp.round(wide / jnp.where(scales == 0, 1.0, scales)).astype(INT8)
    scale_bytes = jax.lax.bitcast_convert_type(scales[..., 0], INT8)
    return jnp.concatenate([steps, scale_bytes], axis=-1)
