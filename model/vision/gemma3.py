"""Gemma 3's tower, in reading order: SigLIP (Zhai et al. 2023), pooled, normed, projected."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, UInt8

from model.axes import EMBED, IMAGES, PATCHES, PIXELS, POSITIONS
from model.layers import constant, parameter, product, rms_norm
from model.mesh import constrain
from model.vision.config import Gemma3VisionConfig
from model.vision.inputs import TowerInputs, TowerOutput
from model.vision.layers import Block, LayerNorm, PatchEmbedding, run_block


class Gemma3Tower(nnx.Module):
    """Images of one size → as many vectors each."""

    def __init__(self, config: Gemma3VisionConfig, dtype: jnp.dtype, *, rngs: nnx.Rngs) -> None:
        self.config = config
        embed, out = config.embed_dim, config.out_dim
        self.patches = PatchEmbedding(config, dtype, rngs=rngs)
        table = (config.image_patches, embed)
        self.positions = parameter(rngs, table, (POSITIONS, EMBED), dtype, embed**-0.5)
        self.blocks = nnx.List([Block(config, dtype, rngs=rngs) for _ in range(config.num_layers)])
        self.norm = LayerNorm((embed,), (EMBED,), config.norm_eps, dtype)
        # Held less one, as the decoder's norms are.
        self.pooled_norm = constant((embed,), (EMBED,), dtype, 0.0)
        self.projection = parameter(rngs, (embed, out), (PIXELS, EMBED), dtype, embed**-0.5)

    def __call__(self, inputs: TowerInputs) -> TowerOutput:
        """The vectors of the images, one image's after another's, row by row."""
        config = self.config
        patches: UInt8[Array, "B T X"] = inputs.patches.reshape(
            -1, config.image_patches, config.patch_values
        )
        with jax.named_scope("patches"):
            x = self.patches(patches) + self.positions[...]
            x = constrain(x, (IMAGES, PATCHES, EMBED))
        # A row of the batch is an image.
        alone: Int[Array, "B T"] = jnp.zeros(x.shape[:2], jnp.int32)
        for index, block in enumerate(self.blocks):
            with jax.named_scope(f"layer_{index}"):
                x = run_block(*nnx.split(block), x, alone, None)
        with jax.named_scope("projector"):
            pooled = self._pooled(self.norm(x))
            normed = rms_norm(pooled, self.pooled_norm[...], config.norm_eps, offset=1.0)
            vectors = product("btd,do->bto", normed, self.projection[...])
        flat = vectors.reshape(-1, config.out_dim)
        return TowerOutput(flat, jnp.zeros((0, *flat.shape), flat.dtype))

    def _pooled(self, x: Float[Array, "B T D"]) -> Float[Array, "B tokens D"]:
        """The means of squares of neighbouring patches."""
        side, square = self.config.token_side, self.config.patch_side // self.config.token_side
        squares = x.reshape(len(x), side, square, side, square, -1).astype(jnp.float32)
        return jnp.mean(squares, axis=(2, 4)).reshape(len(x), side * side, -1).astype(x.dtype)
