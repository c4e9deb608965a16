"""Attention of a flat batch of tokens through page tables, in plain JAX.

A step's tokens lie side by side, whoever's they are: the one token of each row that decodes,
then chunks of prompts and drafts. Rows of one token are attended together or one by one, rows of
several in blocks of queries, one block after the other. Either way keys come in turns with a
running maximum and sum (Milakov and Gimelshein 2018), and no more of them than somebody sees: how
many rows, blocks and turns there are is found on the device, so that one program serves every step.

What a row's result is does not depend on its neighbours: which keys a turn has follows from the
row alone, and a product of many rows is one small product for each of them.
"""

from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Bool, Float, Int, Num

from model.attention import NO_SCORE, Scoring
from model.axes import HEAD_DIM, KV_HEADS, TOKENS
from model.cache import INT8, CombinedPages, LayerCache, Pool, numbers, write
from model.mesh import constrain

KEYS_PER_TURN = 128
Pages = TypeVar("Pages", bound=LayerCache)


class Sizes(NamedTuple):
    """How the work is cut.

    Attributes:
        keys: of one turn, at least a page.
        queries: of a block of one row's.
        singly: whether rows of one token go one by one, or all together; and whether pages are
            copied by themselves, or as part of what reads them. For CPU: what one row sees stays
            in a processor's cache between copying and multiplying, and no row pays for a longer.
    """

    keys: int = KEYS_PER_TURN
    queries: int = 64
    singly: bool = False


FOR_ACCELERATORS = Sizes()
FOR_CPU = Sizes(singly=True)


class StepView(NamedTuple):
    """Where a step's tokens are, and what each of its rows can see.

    Tokens of a row follow one another, at consecutive positions. Rows of one token come first,
    those with the most keys to see before the others, then rows of several, then padding.

    Attributes:
        tables: page table of each row.
        starts: index of each row's first token; N for rows without tokens.
        counts: tokens of each row; 0 for padding.
        rows: row of each token; any for padding.
        positions: position of each token in its row; -1 for padding.
        ends: the last position that each token sees, its own or one behind it, of a token that is
            computed in this step too; None where all see up to their own.
    """

    tables: Int[Array, "S M"]
    starts: Int[Array, " S"]
    counts: Int[Array, " S"]
    rows: Int[Array, " N"]
    positions: Int[Array, " N"]
    ends: Int[Array, " N"] | None = None


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
        out = jax.lax.platform_dependent(
            q[:, 0],
            cache,
            self.view,
            cpu=partial(attend_flat, scoring=scoring, sizes=FOR_CPU),
            default=partial(attend_flat, scoring=scoring),
        )
        return out[:, None], cache


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


class _Sums(NamedTuple):
    """What is known after some turns of keys: the highest score, and the sums relative to it."""

    best: Float[Array, "*queries"]
    total: Float[Array, "*queries"]
    out: Float[Array, "*queries H"]

    def after(
        self,
        scores: Float[Array, "*queries s"],
        seen: Bool[Array, "*#queries s"],
        values: Float[Array, "*batch s H"],
    ) -> "_Sums":
        """With another turn's keys."""
        scores = jnp.where(seen, scores, -jnp.inf)
        best = jnp.maximum(self.best, scores.max(axis=-1))
        shrink = jnp.exp(self.best - best)
        weights = jnp.exp(scores - best[..., None])
        part = jnp.einsum("...qs,...sh->...qh", weights, values)
        total = self.total * shrink + _sum(weights)
        return _Sums(best, total, self.out * shrink[..., None] + part)

    def result(self) -> Float[Array, "*queries H"]:
        """The attended values; 0 for a query that has seen nothing."""
        return self.out / jnp.maximum(self.total, jnp.finfo(jnp.float32).tiny)[..., None]


def _start(sinks: Float[Array, "*#queries"] | None, shape: tuple[int, ...], width: int) -> _Sums:
    out = jnp.zeros((*shape, width), jnp.float32)
    if sinks is None:
        return _Sums(jnp.full(shape, NO_SCORE, jnp.float32), jnp.zeros(shape, jnp.float32), out)
    best = jnp.broadcast_to(sinks.astype(jnp.float32), shape)
    return _Sums(best, jnp.ones(shape, jnp.float32), out)


def attend_flat(
    q: Float[Array, "N K G H"],
    cache: Pool,
    view: StepView,
    scoring: Scoring,
    sizes: Sizes = FOR_ACCELERATORS,
) -> Float[Array, "N K G H"]:
    """Attend to the keys that each token's position and window let it see.

    Args:
        q: the queries.
        cache: a layer's pages, with the queries' own keys and values in them.
        view: where the queries are.
        scoring: the layer's.
        sizes: see there; the result depends on them in its last bits.
    """
    alone = _attend_singles(q[: len(view.tables)], cache, view, scoring, sizes)
    return with_blocks(alone, q, cache, view, scoring, sizes)


def _attend_singles(
    q: Float[Array, "S K G H"], cache: Pool, view: StepView, scoring: Scoring, sizes: Sizes
) -> Float[Array, "S K G H"]:
    """The rows of one token; 0 for the others."""
    rows, heads, group, width = q.shape
    together = 1 if sizes.singly else rows
    block_pages = max(1, sizes.keys // cache.page_size)
    block = block_pages * cache.page_size
    queries = jnp.moveaxis(q.astype(jnp.float32), 1, 0)
    positions = jnp.where(view.counts == 1, view.positions[:rows], -1)
    sinks = None if scoring.sinks is None else scoring.sinks[:, None]

    def attend_group(number: jax.Array, out: jax.Array) -> jax.Array:
        start = number * together
        ours = jax.lax.dynamic_slice_in_dim(queries, start, together, axis=1)
        position = jax.lax.dynamic_slice_in_dim(positions, start, together)
        table = jax.lax.dynamic_slice_in_dim(view.tables, start, together)
        first = _first_block(position, scoring.window, block)

        def attend_turn(turn: jax.Array, sums: _Sums) -> _Sums:
            index = (first + turn)[:, None]
            pages = index * block_pages + jnp.arange(block_pages)
            pages = jnp.take_along_axis(table, pages, axis=1, mode="clip")
            keys, values = _read(cache, pages, heads, width, apart=sizes.singly)
            scores = scoring.scores(jnp.einsum("krgh,krsh->krgs", ours, keys))
            seen = _seen(index * block + jnp.arange(block), position, position, scoring.window)
            return sums.after(scores, seen[:, None], values)

        sums = _start(sinks, (heads, together, group), width)
        sums = jax.lax.fori_loop(0, jnp.max(position // block + 1 - first), attend_turn, sums)
        return jax.lax.dynamic_update_slice_in_dim(out, sums.result(), start, axis=1)

    groups = -(-jnp.sum(positions >= 0, dtype=jnp.int32) // together)
    out = jax.lax.fori_loop(0, groups, attend_group, jnp.zeros_like(queries))
    return jnp.moveaxis(out, 0, 1)


def with_blocks(
    known: Float[Array, "n K G H"],
    q: Float[Array, "N K G H"],
    cache: Pool,
    view: StepView,
    scoring: Scoring,
    sizes: Sizes,
    rows: Bool[Array, " S"] | None = None,
) -> Float[Array, "N K G H"]:
    """What is known of the first tokens, and what the tokens of some rows attend to.

    Those go in blocks of queries; where there are none, nothing is computed.

    Args:
        known: of the first tokens, as many as are given.
        q: see `attend_flat`, and for the next four.
        cache: see there.
        view: see there.
        scoring: see there.
        sizes: see there.
        rows: which; None for those of several tokens.
    """
    tokens, heads, group, width = q.shape
    if tokens == 1:
        return known.astype(q.dtype)
    size = min(sizes.queries, tokens)
    block_pages = max(1, sizes.keys // cache.page_size)
    block = block_pages * cache.page_size
    rows = view.counts > 1 if rows is None else rows
    blocks = jnp.where(rows, -(-view.counts // size), 0)
    ends = jnp.cumsum(blocks)
    # A block may reach beyond its row's tokens, into the next row's or behind the last.
    queries = jnp.pad(q.astype(jnp.float32), ((0, size), (0, 0), (0, 0), (0, 0)))
    furthest = None if view.ends is None else jnp.pad(view.ends, (0, size))

    def attend_block(number: jax.Array, out: jax.Array) -> jax.Array:
        row = jnp.sum(ends <= number, dtype=jnp.int32)
        offset = (number - (ends[row] - blocks[row])) * size
        token = view.starts[row] + offset
        ours = jax.lax.dynamic_slice_in_dim(queries, token, size)
        ours = jnp.moveaxis(ours, 1, 0).reshape(heads, size * group, width)
        count = jnp.minimum(view.counts[row] - offset, size)
        position = view.positions[view.starts[row]] + offset
        own = position + jnp.arange(size)
        last, reach = position + count - 1, own
        if furthest is not None:
            reach = jax.lax.dynamic_slice_in_dim(furthest, token, size)
            last = jnp.max(jnp.where(jnp.arange(size) < count, reach, last))
        positions, reach = jnp.repeat(own, group), jnp.repeat(reach, group)

        def attend_turn(index: jax.Array, sums: _Sums) -> _Sums:
            pages = index * block_pages + jnp.arange(block_pages)
            pages = view.tables[row].at[pages].get(mode="clip")[None]
            keys, values = _read(cache, pages, heads, width, apart=sizes.singly)
            scores = scoring.scores(jnp.einsum("kqh,ksh->kqs", ours, keys[:, 0]))
            seen = _seen(index * block + jnp.arange(block), positions, reach, scoring.window)
            return sums.after(scores, seen, values[:, 0])

        sinks = None if scoring.sinks is None else jnp.tile(scoring.sinks, (1, size))
        sums = _start(sinks, (heads, size * group), width)
        first = _first_block(position, scoring.window, block)
        sums = jax.lax.fori_loop(first, last // block + 1, attend_turn, sums)
        result = jnp.moveaxis(sums.result().reshape(heads, size, group, width), 0, 1)
        before = jax.lax.dynamic_slice_in_dim(out, token, size)
        result = jnp.where(jnp.arange(size)[:, None, None, None] < count, result, before)
        return jax.lax.dynamic_update_slice_in_dim(out, result, token, axis=0)

    out = jnp.pad(
        known.astype(jnp.float32), ((0, tokens + size - len(known)), (0, 0), (0, 0), (0, 0))
    )
    return jax.lax.fori_loop(0, ends[-1], attend_block, out)[:tokens].astype(q.dtype)


def _first_block(
    positions: Int[Array, "*rows"], window: int | None, block: int
) -> Int[Array, "*rows"]:
    """The first block of keys that a query at each position sees."""
    if window is None:
        return jnp.zeros_like(positions)
    return jnp.maximum(positions - window + 1, 0) // block


def _seen(
    keys: Int[Array, "*#queries s"],
    positions: Int[Array, "*queries"],
    ends: Int[Array, "*queries"],
    window: int | None,
) -> Bool[Array, "*queries s"]:
    """Which keys, given by their positions, each query sees: from its window's to its last one."""
    seen = keys <= ends[..., None]
    return seen if window is None else seen & (keys > positions[..., None] - window)


def _sum(x: Float[Array, "*batch s"]) -> Float[Array, "*batch"]:
    """The sum over the last axis, in an order that does not depend on the other axes.

    XLA's CPU backend chooses an order of its own where there are few others.
    """
    while x.shape[-1] % 2 == 0:
        half = x.shape[-1] // 2
        x = x[..., :half] + x[..., half:]
    return sum((x[..., index] for index in range(1, x.shape[-1])), x[..., 0])


def _read(
    cache: Pool, pages: Int[Array, "r m"], heads: int, width: int, *, apart: bool
) -> tuple[Float[Array, "K r s H"], Float[Array, "K r s H"]]:
    """Keys and values in the given pages, in order and in float32.

    Args:
        cache: a layer's pages.
        pages: numbers of each row's.
        heads: kv heads, K.
        width: of a head, H.
        apart: see `Sizes.singly`.
    """
    if isinstance(cache, CombinedPages):
        held = cache.pages.at[pages].get(mode="promise_in_bounds")
        # As they lie: else the TPU's compiler turns the whole pool around first.
        held = with_layout_constraint(held, Layout(tuple(range(held.ndim)))).astype(jnp.float32)
        held = held[..., : 2 * heads, :width].reshape(len(pages), -1, heads, 2, width)
        keys, values = jnp.moveaxis(held, (3, 2), (0, 1))
        return keys, values
    copied = partial(_copied, cache, pages)
    if apart:
        # XLA's CPU backend merges the copying with what reads it, and then copies number by
        # number. It merges nothing across a branch, and takes this one for what it may not take.
        shapes = jax.eval_shape(copied)
        nothing = tuple(jnp.zeros(shape.shape, shape.dtype) for shape in shapes)
        keys, values = jax.lax.cond(pages[0, 0] >= 0, copied, lambda: nothing)
    else:
        keys, values = copied()
    shape = (heads, len(pages), pages.shape[1] * cache.page_size, width)
    return keys.reshape(shape), values.reshape(shape)


def _copied(
    cache: LayerCache, pages: Int[Array, "r m"]
) -> tuple[Float[Array, "pieces _"], Float[Array, "pieces _"]]:
    """The given pages of each head, one after the other, as long flat pieces."""
    heads, count, page_size, width = cache.keys.shape
    pieces = (jnp.arange(heads)[:, None] * count + pages.reshape(-1)).reshape(-1)

    def of(pool: Num[Array, "K P page W"]) -> Float[Array, "pieces _"]:
        flat = pool.reshape(heads * count, page_size * width)
        held = flat.at[pieces].get(mode="promise_in_bounds")
        if held.dtype == INT8:
            # A scale is found by its vector; all else is read as it lies.
            vectors = numbers(held.reshape(-1, page_size, width))
            return vectors.reshape(len(pieces), -1)
        return numbers(held).astype(jnp.float32)

    return of(cache.keys), of(cache.values)
