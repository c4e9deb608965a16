"""Qwen3-VL's tower, in reading order: patches, blocks, squares of patches merged into vectors.

Patches come square by square: those that become one vector lie side by side, row by row.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from model.axes import EMBED, IMAGES, MERGED, PATCHES, POSITIONS
from model.layers import parameter
from model.mesh import constrain
from model.rope import Angles, plain_rope, rope_angles
from model.vision.config import Qwen3VLVisionConfig
from model.vision.inputs import TowerInputs, TowerOutput
from model.vision.layers import MLP, Block, LayerNorm, PatchEmbedding, gelu, run_block

# Where each patch is along one side of its image, and how many places that side has.
Line = tuple[Int[Array, " T"], Int[Array, " T"]]


class Merger(nnx.Module):
    """The patches of each square side by side, normed before or after that, as one vector."""

    def __init__(
        self, config: Qwen3VLVisionConfig, dtype: jnp.dtype, *, normed_whole: bool, rngs: nnx.Rngs
    ) -> None:
        self.width, self.normed_whole = config.embed_dim * config.merge**2, normed_whole
        normed, axis = (self.width, MERGED) if normed_whole else (config.embed_dim, EMBED)
        self.norm = LayerNorm((normed,), (axis,), config.norm_eps, dtype)
        sizes = (self.width, self.width, config.out_dim)
        self.mlp = MLP(sizes, MERGED, gelu, dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "tokens O"]:
        """Merge."""
        x = x if self.normed_whole else self.norm(x)
        squares = x.reshape(len(x), -1, self.width)
        return self.mlp(self.norm(squares) if self.normed_whole else squares)[0]


class Qwen3VLTower(nnx.Module):
    """Images of any sizes → a vector for each square of patches, and more for deepstack."""

    def __init__(self, config: Qwen3VLVisionConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs) -> None:
        self.config = config
        embed = config.embed_dim
        self.patches = PatchEmbedding(config, dtype, rngs=rngs)
        table = (config.position_side**2, embed)
        self.positions = parameter(rngs, table, (POSITIONS, EMBED), dtype, embed**-0.5)
        self.blocks = nnx.List([Block(config, dtype, rngs=rngs) for _ in range(config.num_layers)])
        self.merger = Merger(config, dtype, normed_whole=False, rngs=rngs)
        self.deepstack = nnx.List(
            [Merger(config, dtype, normed_whole=True, rngs=rngs) for _ in config.deepstack]
        )

    def __call__(self, inputs: TowerInputs) -> TowerOutput:
        """The vectors of the images, one image's after another's, square by square."""
        image, row, column, rows, columns = jnp.asarray(inputs.places)
        with jax.named_scope("patches"):
            x = self.patches(inputs.patches[None])
            x = x + self._positions((row, rows), (column, columns))[None].astype(x.dtype)
            x = constrain(x, (IMAGES, PATCHES, EMBED))
        angles = self._angles(row[None], column[None])
        leaving: list[jax.Array] = []
        for index, block in enumerate(self.blocks):
            with jax.named_scope(f"layer_{index}"):
                x = run_block(*nnx.split(block), x, image[None], angles)
            if index in self.config.deepstack:
                with jax.named_scope(f"deepstack_{len(leaving)}"):
                    leaving.append(self.deepstack[len(leaving)](x))
        with jax.named_scope("merger"):
            vectors = self.merger(x)
        none = jnp.zeros((0, *vectors.shape), vectors.dtype)
        return TowerOutput(vectors, jnp.stack(leaving) if leaving else none)

    def _positions(self, row: Line, column: Line) -> Float[Array, "T D"]:
        """The table of learned positions, spread over each image's grid and read between."""
        side, table = self.config.position_side, self.positions[...].astype(jnp.float32)
        total = jnp.zeros((), jnp.float32)
        for above, row_share in _between(*row, side):
            for left, column_share in _between(*column, side):
                total = total + table[above * side + left] * (row_share * column_share)[:, None]
        return total

    def _angles(self, row: Int[Array, "1 T"], column: Int[Array, "1 T"]) -> Angles:
        """Half of the rotated pairs turn with a patch's row, the others with its column."""
        rope = plain_rope(self.config.rope_theta, self.config.head_dim // 2)
        both = rope_angles(row, rope), rope_angles(column, rope)
        cos, sin = (jnp.concatenate(pair, axis=-1) for pair in zip(*both, strict=True))
        return cos, sin


def _between(
    index: Int[Array, " T"], count: Int[Array, " T"], side: int
) -> list[tuple[Int[Array, " T"], Float[Array, " T"]]]:
    """The two neighbours in a line of `side` of each of `count` places spread evenly over it.

    The first place is the line's first and the last its last. Each neighbour with its share.
    """
    where = index.astype(jnp.float32) * (side - 1) / jnp.maximum(count - 1, 1)
    low = jnp.clip(jnp.floor(where).astype(jnp.int32), 0, side - 1)
    share = where - low
    return [(low, 1 - share), (jnp.minimum(low + 1, side - 1), share)]
