"""How the tensors of a published checkpoint become our parameters.

Published checkpoints keep projections as [out, in] matrices, one per projection and expert;
ours are fused and laid out for the product. Each function here makes one parameter from the
tensors it is given. They are pure, traceable and hashable, so that one compiled program
serves the same parameter of all layers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Stored(NamedTuple):
    """Where a parameter comes from.

    Attributes:
        tensors: names in the checkpoint, in the order that `build` takes them.
        build: makes the parameter; equal for parameters that are made alike.
    """

    tensors: tuple[str, ...]
    build: Callable[..., jax.Array]


def keep(tensor: Float[Array, "..."]) -> Float[Array, "..."]:
    """The tensor as it is."""
    return tensor


def transpose(tensor: Float[Array, "out in"]) -> Float[Array, "in out"]:
    """A projection with its input axis first."""
    return tensor.T


def stack_gate_up(
    gate: Float[Array, "ffn D"], up: Float[Array, "ffn D"]
) -> Float[Array, "D 2 ffn"]:
    """Gate and up projections as one."""
    return jnp.stack([gate, up]).transpose(2, 0, 1)


@dataclass(frozen=True, slots=True)
class FuseHeads:
    """Query, key and value projections as one [D, K, G + 2, H], or their biases [K, G + 2, H].

    Attributes:
        num_kv_heads: K.
        group_size: G.
        head_dim: H.
    """

    num_kv_heads: int
    group_size: int
    head_dim: int

    def __call__(
        self, q: Float[Array, "..."], k: Float[Array, "..."], v: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """Fuse; see the class."""
        heads = (self.num_kv_heads, -1, self.head_dim)
        parts = [part.reshape(*heads, *part.shape[1:]) for part in (q, k, v)]
        fused = jnp.concatenate(parts, axis=1)
        return jnp.moveaxis(fused, 3, 0) if fused.ndim == 4 else fused


@dataclass(frozen=True, slots=True)
class SplitHeads:
    """The output projection [D, N·H] as [K, G, H, D].

    Attributes:
        num_kv_heads: K.
        group_size: G.
        head_dim: H.
    """

    num_kv_heads: int
    group_size: int
    head_dim: int

    def __call__(self, out: Float[Array, "D out"]) -> Float[Array, "K G H D"]:
        """Split; see the class."""
        return out.T.reshape(self.num_kv_heads, self.group_size, self.head_dim, out.shape[0])
