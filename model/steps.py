"""The forward step that is compiled: everybody's tokens in one pass over the weights.

A step is a flat batch of tokens: one of every running row, chunks of prompts, whoever they belong
to. Its keys and values go into the rows' pages, and the hidden vectors of the tokens after which
something is sampled come out; `logits` makes scores of them. The cache is donated and given back.
The inputs are a few small integer arrays, so that a step costs the host little and can be sent
to many hosts: `step_inputs` makes them.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.stages import Lowered
from jaxtyping import Array, Float, Int, Num

from model.axes import EMBED, LAYERS, ROWS, TOKENS
from model.backends import attend_with
from model.cache import Cache
from model.config import ModelConfig
from model.decoder import Sight
from model.mesh import constrain
from model.paged import StepView
from model.parameters import Parameters, decoder_with

# In the place of a token: the one that its row's slot sampled last, which the device knows.
LAST = -1


class RowTokens(NamedTuple):
    """Consecutive tokens of one row.

    Attributes:
        slot: the row's.
        start: position of the first token.
        tokens: ids, at least one.
        pages: the row's pages, as far as the tokens reach.
    """

    slot: int
    start: int
    tokens: Sequence[int]
    pages: Sequence[int]


class StepInputs(NamedTuple):
    """What a step computes: N tokens of S rows, the rest of both being padding.

    Rows of one token come first, of these the one that sees most, then the others; attention
    relies on that.

    Attributes:
        tokens: of each token its id or `LAST`, its row (of these rows), its position (−1 for
            padding), and the page that holds that position.
        rows: of each row its slot (out of range for padding), where its tokens begin, and how many
            they are.
        turns: what each token is rotated by on three axes; None for its position on all of them.
    """

    tokens: Int[Any, "4 N"]
    rows: Int[Any, "3 S"]
    turns: Int[Any, "3 N"] | None = None


class StepSight(NamedTuple):
    """What a step's tokens of images take.

    Attributes:
        vectors: of images; of each what takes the place of a token's embedding, and then what is
            added after each of the decoder's first blocks.
        places: which of them stands for each token; −1 for none.
        ends: see `StepView`.
    """

    vectors: Float[Any, "added V D"]
    places: Int[Any, " N"]
    ends: Int[Any, " N"] | None = None


def step_inputs(
    parts: Sequence[RowTokens], size: int, slots: int, page_size: int
) -> tuple[StepInputs, list[int]]:
    """The inputs of a step.

    Args:
        parts: tokens of different rows.
        size: tokens that the program takes, N.
        slots: that there are; a step has no more rows, S = min(N, slots).
        page_size: tokens of a page.

    Returns:
        The inputs; and where the tokens of each part begin.
    """
    tokens, rows = np.zeros((4, size), np.int32), np.zeros((3, min(size, slots)), np.int32)
    tokens[2], rows[0], rows[1] = -1, slots, size
    firsts = [0] * len(parts)
    order = sorted(range(len(parts)), key=lambda i: _sees_most(parts[i]))
    at = 0
    for row, index in enumerate(order):
        slot, start, ids, pages = parts[index]
        end = at + len(ids)
        positions = np.arange(start, start + len(ids))
        tokens[0, at:end], tokens[1, at:end], tokens[2, at:end] = ids, row, positions
        first = start // page_size
        tokens[3, at:end] = np.asarray(pages[first : (start + len(ids) - 1) // page_size + 1])[
            positions // page_size - first
        ]
        rows[:, row] = slot, at, len(ids)
        firsts[index], at = at, end
    return StepInputs(tokens, rows), firsts


def _sees_most(part: RowTokens) -> tuple[bool, int]:
    several = len(part.tokens) > 1
    return several, 0 if several else -part.start


def forward(
    config: ModelConfig,
    parameters: Parameters,
    cache: Cache,
    last_token: Int[Array, " R"],
    inputs: StepInputs,
    picks: Int[Array, " P"],
    adapters: Int[Array, " R"] | None = None,
    sight: StepSight | None = None,
) -> tuple[Float[Array, "P D"], Float[Array, "N D"], Cache]:
    """Run a step.

    Args:
        config: the decoder's shape (static).
        parameters: the weights.
        cache: donated. Page tables are brought up to date with the tokens' pages.
        last_token: last sampled id of every slot, on the device.
        inputs: see `StepInputs`.
        picks: which tokens' hidden vectors are wanted, in any order and as often as wanted.
        adapters: the number of each slot's adapter, −1 for none, for a decoder that holds some;
            None for the decoder alone.
        sight: of images; None for a step without tokens of any.

    Returns:
        The picked hidden vectors, those of all tokens, and the cache.
    """
    (ids, rows, positions, pages), (slots, starts, counts), turns = inputs
    page_size = cache.layers[0].page_size
    of_tokens = jnp.where(positions < 0, cache.tables.shape[0], slots[rows])
    entries = jnp.maximum(positions, 0) // page_size
    tables = cache.tables.at[of_tokens, entries].set(pages, mode="drop")
    tokens = jnp.where(ids == LAST, last_token.at[of_tokens].get(mode="clip"), ids)
    ends = None if sight is None else sight.ends
    view = StepView(tables.at[slots].get(mode="clip"), starts, counts, rows, positions, ends)
    attend = attend_with(cache.layers[0], view)
    decoder = decoder_with(config, parameters)
    if adapters is not None:
        adapters = adapters.at[of_tokens].get(mode="fill", fill_value=-1)[:, None]
    seen = None if sight is None else _sight(sight)
    turned = (positions if turns is None else turns)[..., None]
    hidden, layers = decoder(tokens[:, None], turned, attend, cache.layers, adapters, seen)
    if layers is None:
        raise ValueError("a decoder over pages returns its pages")
    # Gathered before the picks: those of rows cut into parts would be summed over all of them.
    hidden = constrain(hidden[:, 0], (TOKENS, EMBED))
    return hidden[picks], hidden, Cache(layers, tables)


def _sight(sight: StepSight) -> Sight:
    is_image = sight.places >= 0
    # Behind the last one, for a negative index counts from there.
    places = jnp.where(is_image, sight.places, sight.vectors.shape[1])
    vectors = sight.vectors.at[:, places].get(mode="fill", fill_value=0)
    return Sight(is_image[:, None], constrain(vectors[:, :, None], (LAYERS, ROWS, TOKENS, EMBED)))


def logits(
    config: ModelConfig, parameters: Parameters, hidden: Float[Array, "N D"]
) -> Float[Array, "N V"]:
    """Logits after tokens, of their hidden vectors."""
    return decoder_with(config, parameters).logits(hidden[:, None])[:, 0]


def seat(cache: Cache, slots: Int[Array, " c"], tables: Int[Array, "c M"]) -> Cache:
    """Give slots the page tables of rows that find some of their tokens computed.

    Args:
        cache: donated.
        slots: out of range for padding.
        tables: one of each row.
    """
    return cache._replace(tables=cache.tables.at[slots].set(tables, mode="drop"))


def copy_pages(cache: Cache, source: Int[Array, " c"], target: Int[Array, " c"]) -> Cache:
    """Copy pages of every layer: the partly filled last ones of rows that go on from another's.

    Args:
        cache: donated.
        source: pages to copy from.
        target: pages to copy to; out of range for nothing to copy.
    """
    return cache._replace(layers=tuple(layer.copied(source, target) for layer in cache.layers))


def take_pages(cache: Cache, source: Int[Array, " c"]) -> Num[Array, "c L ..."]:
    """What pages hold over all layers, page by page.

    Args:
        cache: stays as it is.
        source: pages; any of them where it does not matter.
    """
    return jnp.stack([layer.taken(source) for layer in cache.layers], axis=1)


def fill_pages(cache: Cache, held: Num[Array, "c L ..."], target: Int[Array, " c"]) -> Cache:
    """Have pages hold what `take_pages` gave.

    Args:
        cache: donated.
        held: what they are to hold.
        target: pages; out of range for nothing to fill.
    """
    layers = [layer.filled(held[:, index], target) for index, layer in enumerate(cache.layers)]
    return cache._replace(layers=tuple(layers))


def lower_step(
    function: Callable[..., Any],
    mesh: Mesh,
    donate: tuple[int, ...],
    out_shardings: Any,
    *abstract: Any,
) -> Lowered:
    """Trace `function` for these abstract arguments: what is left is the compiler's work.

    Args:
        function: a pure function of arrays.
        mesh: the devices that it runs on; traced under it, layers divide their work.
        donate: positions of the arguments whose buffers the result takes over.
        out_shardings: how the results lie on the mesh.
        *abstract: shapes, dtypes and shardings, as `jax.ShapeDtypeStruct` trees.
    """
    jitted = jax.jit(function, donate_argnums=donate, out_shardings=out_shardings)
    with jax.set_mesh(mesh):
        return jitted.lower(*abstract)


def compile_step(
    function: Callable[..., Any],
    mesh: Mesh,
    donate: tuple[int, ...],
    out_shardings: Any,
    *abstract: Any,
) -> Any:
    """Compile `function` ahead of time; see `lower_step` for the arguments.

    Returns:
        The compiled program; calling it with other shapes is an error, never a compilation.
    """
    return lower_step(function, mesh, donate, out_shardings, *abstract).compile()
