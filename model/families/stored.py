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
        otherwise: where to look when the checkpoint has none of `tensors`.
    """

    tensors: tuple[str, ...]
    build: Callable[..., jax.Array]
    otherwise: "Stored | None" = None

    def under(self, prefix: str) -> "Stored":
        """The same with a prefix before every name."""
        names = tuple(prefix + name for name in self.tensors)
        other = None if self.otherwise is None else self.otherwise.under(prefix)
        return Stored(names, self.build, other)


def keep(tensor: Float[Array, "..."]) -> Float[Array, "..."]:
    """The tensor as it is."""
    return tensor


def transpose(tensor: Float[Array, "out in"]) -> Float[Array, "in out"]:
    """A projection with its input axis first."""
    return tensor.T


def stack_gate_up(gate: Float[Array, "..."], up: Float[Array, "..."]) -> Float[Array, "..."]:
    """Gate and up projections as one [D, 2, F], or their biases as [2, F]."""
    both = jnp.stack([gate, up])
    return jnp.moveaxis(both, 2, 0) if both.ndim == 3 else both


def split_gate_up(both: Float[Array, "two_ffn D"]) -> Float[Array, "D 2 ffn"]:
    """A projection to gate, then up."""
    return stack_gate_up(*jnp.split(both, 2))


def stack_experts_gate_up(*tensors: Float[Array, "ffn D"]) -> Float[Array, "E D two_ffn"]:
    """Each expert's gate projection and, after it, its up projection; given in turn."""
    width, embed = tensors[0].shape
    both = jnp.stack(tensors).reshape(-1, 2, width, embed)
    return both.transpose(0, 3, 1, 2).reshape(-1, embed, 2 * width)


def stack_experts(*tensors: Float[Array, "o i"]) -> Float[Array, "E i o"]:
    """Each expert's projection with its input axis first."""
    return jnp.stack(tensors).transpose(0, 2, 1)


def join_heads_norm(
    num_kv_heads: int, group_size: int, head_dim: int
) -> tuple[Callable[..., jax.Array], Callable[..., jax.Array]]:
    """How to make the weights of norms over all query heads, and over all key heads."""
    return Shape((num_kv_heads, group_size, head_dim)), Shape((num_kv_heads, head_dim))


@dataclass(frozen=True, slots=True)
class Shape:
    """The tensor in another shape."""

    shape: tuple[int, ...]

    def __call__(self, tensor: Float[Array, "..."]) -> Float[Array, "..."]:
        """Reshape."""
        return tensor.reshape(self.shape)


@dataclass(frozen=True, slots=True)
class FuseHeads:
    """Query, key and value projections as one [D, K, G + 2, H], or their biases [K, G + 2, H].

    They come as three tensors, or as one that holds the three one after another.

    Attributes:
        num_kv_heads: K.
        group_size: G.
        head_dim: H.
    """

    num_kv_heads: int
    group_size: int
    head_dim: int

    def __call__(self, *tensors: Float[Array, "..."]) -> Float[Array, "..."]:
        """Fuse; see the class."""
        if len(tensors) == 1:
            keys = self.num_kv_heads * self.head_dim
            queries = keys * self.group_size
            tensors = tuple(jnp.split(tensors[0], [queries, queries + keys]))
        heads = (self.num_kv_heads, -1, self.head_dim)
        parts = [part.reshape(*heads, *part.shape[1:]) for part in tensors]
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
