"""The forward steps that are compiled: prefill and decode, through the paged cache.

Each takes the cache donated and gives it back; both end in float32 logits on the device. A prompt's
hidden vectors come with them: from those `logits` makes scores of all its places.
The per-step inputs are a few small integer arrays, so that a step costs the host little
and can be sent to many hosts. Rows that are padding have a slot out of range.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.stages import Lowered
from jaxtyping import Array, Float, Int

from model.attention import PageView
from model.backends import attend_with
from model.cache import Cache
from model.config import ModelConfig
from model.decoder import Decoder
from model.parameters import Parameters, decoder_with


def forward_pages(
    decoder: Decoder,
    cache: Cache,
    tokens: Int[Array, "B T"],
    positions: Int[Array, "B T"],
    slots: Int[Array, " B"],
) -> tuple[Float[Array, "B T D"], Cache]:
    """Hidden vectors of the tokens, whose keys and values are written to the rows' pages."""
    tables = cache.tables.at[slots].get(mode="clip")
    attend = attend_with(cache.layers[0], PageView(tables, positions))
    hidden, layers = decoder(tokens, positions, attend, cache.layers)
    if layers is None:
        raise ValueError("a decoder over pages returns its pages")
    return hidden, cache._replace(layers=layers)


def prefill(
    config: ModelConfig,
    parameters: Parameters,
    cache: Cache,
    tokens: Int[Array, "B T"],
    rows: Int[Array, "3 B"],
    tables: Int[Array, "B M"],
) -> tuple[Float[Array, "B V"], Float[Array, "B T D"], Cache]:
    """Run a chunk of each row's prompt.

    Args:
        config: the decoder's shape (static).
        parameters: the weights.
        cache: donated.
        tokens: ids of the chunk, padded at the end.
        rows: per row its slot, the position of the chunk's first token, and how many of the
            T tokens are real (at least 1; 0 for a padding row).
        tables: page table of each row, put into its slot.

    Returns:
        Logits after each row's last real token, the hidden vectors of all tokens, and the cache.
    """
    slots, start, length = rows
    offsets = jnp.arange(tokens.shape[1])
    positions = jnp.where(offsets < length[:, None], start[:, None] + offsets, -1)
    cache = cache._replace(tables=cache.tables.at[slots].set(tables, mode="drop"))
    decoder = decoder_with(config, parameters)
    hidden, cache = forward_pages(decoder, cache, tokens, positions, slots)
    last = jnp.take_along_axis(hidden, jnp.maximum(length - 1, 0)[:, None, None], axis=1)
    return decoder.logits(last)[:, 0], hidden, cache


def logits(
    config: ModelConfig, parameters: Parameters, hidden: Float[Array, "B T D"]
) -> Float[Array, "B T V"]:
    """Logits after tokens, of their hidden vectors."""
    return decoder_with(config, parameters).logits(hidden)


def decode(
    config: ModelConfig,
    parameters: Parameters,
    cache: Cache,
    last_token: Int[Array, " R"],
    rows: Int[Array, "3 B"],
) -> tuple[Float[Array, "B V"], Cache]:
    """Run one token of each row: the one that its slot sampled last.

    Args:
        config: the decoder's shape (static).
        parameters: the weights.
        cache: donated.
        last_token: last sampled id of every slot, on the device.
        rows: per row its slot, the token's position (−1 for padding), and the page that
            holds that position, which is put into the slot's page table.

    Returns:
        Logits after the token, and the cache.
    """
    slots, positions, pages = rows
    page_size = cache.layers[0].page_size
    entry = jnp.maximum(positions, 0) // page_size
    cache = cache._replace(tables=cache.tables.at[slots, entry].set(pages, mode="drop"))
    tokens = last_token.at[slots].get(mode="clip")[:, None]
    decoder = decoder_with(config, parameters)
    hidden, cache = forward_pages(decoder, cache, tokens, positions[:, None], slots)
    return decoder.logits(hidden)[:, 0], cache


def fork(
    cache: Cache,
    rows: Int[Array, "3 c"],
    tables: Int[Array, "c M"],
) -> Cache:
    """Give slots the page tables of rows that start out as copies of another.

    Args:
        cache: donated.
        rows: per new row its slot, the page to copy from and the page to copy to: the
            partly filled last page, which each row will write on its own. A page to copy to
            that is out of range means nothing to copy.
        tables: page table of each new row.

    Returns:
        The cache.
    """
    slots, source, target = rows
    cache = cache._replace(tables=cache.tables.at[slots].set(tables, mode="drop"))

    return cache._replace(layers=tuple(layer.copied(source, target) for layer in cache.layers))


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
