"""Low-rank adapters (LoRA, Hu et al. 2021) beside the decoder's weights, many in one step.

An adapter adds B·A·x to projections. All adapters' A of a projection are one array, and so are
all their B: a step whose tokens belong to different adapters multiplies every token with every A,
makes exact zeros of what is not of its own adapter, and multiplies with every B. No matrix is
gathered, and an answer's bits do not depend on which adapters its neighbours have. Factors are in
B already, and ranks are filled up with zeros.
"""

from collections.abc import Sequence
from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from model.axes import COLUMNS, EMBED, FFN, HEAD_DIM, HEAD_GROUP, KV_HEADS
from model.config import AdapterShape, LayerConfig, ModelConfig
from model.layers import Adapt, Product, constant, product

PROJECTIONS = ("q", "k", "v", "o", "gate", "up", "down")
# Ranks that arrays are made for.
RANKS = (8, 16, 32, 64, 128, 256)

_Sized = Sequence[tuple[int, str]]


class Adapter(nnx.Module):
    """What all adapters add to one projection: their A side by side, and their B below each other.

    Args:
        shape: of all adapters.
        inputs: sizes and logical names of the axes that the projection sums over.
        outputs: the same of those that it makes.
        dtype: of the arrays.
    """

    def __init__(
        self, shape: AdapterShape, inputs: _Sized, outputs: _Sized, dtype: jnp.dtype
    ) -> None:
        columns = (shape.columns, COLUMNS)
        self.a = _zeros([*inputs, columns], dtype)
        self.b = _zeros([columns, *outputs], dtype)

    def __call__(
        self, x: Float[Array, "B T *inputs"], own: Bool[Array, "B T columns"]
    ) -> Float[Array, "B T *outputs"]:
        """What each token's own adapter adds.

        Args:
            x: what the projection is given.
            own: see `columns_of`.
        """
        a, b = self.a[...], self.b[...]
        columns = own.shape[-1]
        flat = x.reshape(*x.shape[:2], -1)
        # As matrices: with axes apart XLA's CPU backend would rearrange them on every step.
        narrow = product("bti,ic->btc", flat, a.reshape(-1, columns))
        # Chosen and not multiplied: what overflows in another adapter stays there.
        narrow = jnp.where(own, narrow, 0)
        wide = product("btc,co->bto", narrow, b.reshape(columns, -1))
        return wide.reshape(*x.shape[:2], *b.shape[1:])


def _zeros(sized: _Sized, dtype: jnp.dtype) -> nnx.Param[Array]:
    sizes, axes = zip(*sized, strict=True)
    return constant(sizes, axes, dtype, 0.0)


class BlockAdapters(nnx.Module):
    """What all adapters add to the projections of one decoder block.

    A mixture of experts has none.
    """

    def __init__(
        self, config: ModelConfig, layer: LayerConfig, shape: AdapterShape, dtype: jnp.dtype
    ) -> None:
        embed, ffn = ((config.embed_dim, EMBED),), ((config.ffn_dim, FFN),)
        heads, width = (config.held_kv_heads, KV_HEADS), (config.head_dim, HEAD_DIM)
        queries, keys = (heads, (config.group_size, HEAD_GROUP), width), (heads, width)

        projections = {*shape.projections} - ({"gate", "up", "down"} if layer.experts else set())

        def adapter(name: str, inputs: _Sized, outputs: _Sized) -> Adapter | None:
            held = name in projections
            return Adapter(shape, inputs, outputs, dtype) if held else None

        self.q = adapter("q", embed, queries)
        self.k, self.v = adapter("k", embed, keys), adapter("v", embed, keys)
        self.o = adapter("o", queries, embed)
        self.gate, self.up = adapter("gate", embed, ffn), adapter("up", embed, ffn)
        self.down = adapter("down", ffn, embed)

    def of(self, own: Bool[Array, "B T columns"]) -> Adapt:
        """What adds to the block's products for tokens with these columns; see `columns_of`."""
        return partial(self._added, own)

    def _added(
        self,
        own: Bool[Array, "B T columns"],
        name: Product,
        x: Float[Array, "B T *inputs"],
        out: Float[Array, "B T *outputs"],
    ) -> Float[Array, "B T *outputs"]:
        def with_part(part: Adapter | None, out: Array) -> Array:
            return out if part is None else out + part(x, own)

        match name:
            case "qkv":
                q = with_part(self.q, out[..., :-2, :])
                k, v = with_part(self.k, out[..., -2, :]), with_part(self.v, out[..., -1, :])
                return jnp.concatenate([q, jnp.stack([k, v], axis=-2)], axis=-2)
            case "gate_up":
                gate, up = with_part(self.gate, out[..., 0, :]), with_part(self.up, out[..., 1, :])
                return jnp.stack([gate, up], axis=-2)
            case "out":
                return with_part(self.o, out)
            case "down":
                return with_part(self.down, out)


def columns_of(shape: AdapterShape, adapters: Int[Array, "B T"]) -> Bool[Array, "B T columns"]:
    """Which columns of A, all adapters' side by side, are those of each token's adapter.

    A number that is none's, as −1, has no columns.
    """
    own = adapters[..., None] == jnp.arange(shape.count)
    return jnp.repeat(own, shape.rank, axis=-1)


def adapter_rank(rank: int) -> int:
    """The least of `RANKS` that holds `rank`, which must be at most the last one."""
    return next(held for held in RANKS if rank <= held)
