"""A decoder laid out over shards: kv heads held more than once, a vocabulary padded.

Every shard of the model axis holds whole kv heads and the query heads that share them, and as
many rows of the embedding as the others. Where a model's own numbers do not allow that, copies
and padding make them: the decoder computes the same function. Query head n = k · G + g keeps
its place, for its kv head's copies stand side by side:

    2 kv heads, 4 query heads each, 4 shards     k0: q0 q1 q2 q3         k1: q4 q5 q6 q7
    held as 4 kv heads with 2 query heads each   k0: q0 q1  k0: q2 q3    k1: q4 q5  k1: q6 q7
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh
from jaxtyping import Array, Float

from model.axes import FFN, HEAD_GROUP, KV_HEADS, QKV_GROUP, VOCAB
from model.config import ModelConfig
from model.mesh import parts_on
from model.parameters import ParameterSpec, turn


def laid_out(config: ModelConfig, mesh: Mesh | AbstractMesh, weight_form: str = "") -> ModelConfig:
    """The decoder as this mesh holds it, which must be one that `mesh.choose_mesh` allows."""
    heads, shards = config.num_kv_heads, parts_on(mesh, KV_HEADS)
    copies = math.lcm(heads, shards) // heads
    return replace(
        config,
        kv_copies=copies,
        vocab_padding=-config.vocab_size % parts_on(mesh, VOCAB),
        weight_form=weight_form,
        weight_parts=parts_on(mesh, FFN) if weight_form else 1,
    )


def layout_of(held: ModelConfig, published: ParameterSpec) -> "Layout":
    """What makes a parameter of a decoder as published one of the decoder that is held."""
    inputs = published.inputs if held.turned else 0
    return Layout(published.axes, held.kv_copies, held.vocab_padding, inputs)


@dataclass(frozen=True, slots=True)
class Layout:
    """Makes a parameter as it is laid out, from the parameter as it is; hashable, traceable.

    Attributes:
        axes: the parameter's logical axes.
        copies: see `ModelConfig.kv_copies`.
        padding: see `ModelConfig.vocab_padding`.
        turned: so many axes become the last; see `ModelConfig.turned`.
    """

    axes: tuple[str, ...]
    copies: int
    padding: int
    turned: int = 0

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return self._fills_up or self._repeats or self.turned > 0

    @property
    def _fills_up(self) -> bool:
        return VOCAB in self.axes and self.padding > 0

    @property
    def _repeats(self) -> bool:
        return KV_HEADS in self.axes and self.copies > 1

    def after(self, build: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
        """`build`, and then the layout."""
        return _Built(build, self) if self.changes else build

    def __call__(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """Lay out; see the class."""
        if self._fills_up:
            widths = [(0, self.padding if axis == VOCAB else 0) for axis in self.axes]
            value = jnp.pad(value, widths)
        if self._repeats:
            value = self._repeated(value)
        return turn(value, self.turned)

    def _repeated(self, value: jax.Array) -> jax.Array:
        axis = self.axes.index(KV_HEADS)
        if HEAD_GROUP in self.axes:
            return self._regrouped(value, axis)
        if QKV_GROUP not in self.axes:
            return jnp.repeat(value, self.copies, axis)
        queries, shared = jnp.split(value, [value.shape[axis + 1] - 2], axis + 1)
        shared = jnp.repeat(shared, self.copies, axis)
        return jnp.concatenate([self._regrouped(queries, axis), shared], axis + 1)

    def _regrouped(self, value: jax.Array, axis: int) -> jax.Array:
        heads, group = value.shape[axis : axis + 2]
        regrouped = (heads * self.copies, group // self.copies)
        return value.reshape(*value.shape[:axis], *regrouped, *value.shape[axis + 2 :])


@dataclass(frozen=True, slots=True)
class _Built:
    build: Callable[..., jax.Array]
    layout: Layout

    def __call__(self, *tensors: jax.Array) -> jax.Array:
        return self.layout(self.build(*tensors))
