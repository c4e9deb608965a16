"""The layers of vision towers by name, and how their tensors become our parameters."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from model.families.stored import FuseHeads, Stored, keep, transpose
from model.vision.config import VisionConfig


def flatten_patches(kernel: Float[Array, "D channels *patch"]) -> Float[Array, "X D"]:
    """A convolution whose steps are as wide as its kernel, as a product with whole patches."""
    return jnp.reshape(kernel, (kernel.shape[0], -1)).T


@dataclass(frozen=True, slots=True)
class SplitHeads:
    """The output projection [D, K·H] as [K, H, D].

    Attributes:
        num_heads: K.
        head_dim: H.
    """

    num_heads: int
    head_dim: int

    def __call__(self, out: Float[Array, "D out"]) -> Float[Array, "K H D"]:
        """Split; see the class."""
        return out.T.reshape(self.num_heads, self.head_dim, out.shape[0])


def layer_norm(ours: str, name: str) -> dict[str, Stored]:
    """A layer norm's weight and bias."""
    return {f"{ours}.{part}": Stored((f"{name}.{part}",), keep) for part in ("weight", "bias")}


def mlp(ours: str, up: str, down: str) -> dict[str, Stored]:
    """Two projections with their biases."""
    return {
        f"{ours}.up": Stored((f"{up}.weight",), transpose),
        f"{ours}.up_bias": Stored((f"{up}.bias",), keep),
        f"{ours}.down": Stored((f"{down}.weight",), transpose),
        f"{ours}.down_bias": Stored((f"{down}.bias",), keep),
    }


def attention(config: VisionConfig, qkv: tuple[str, ...], out: str) -> dict[str, Stored]:
    """Query, key and value projections, apart or as one, and the output projection."""
    fuse = FuseHeads(config.num_heads, 1, config.head_dim)
    split = SplitHeads(config.num_heads, config.head_dim)
    return {
        "attention.qkv": Stored(tuple(f"{name}.weight" for name in qkv), fuse),
        "attention.qkv_bias": Stored(tuple(f"{name}.bias" for name in qkv), fuse),
        "attention.out": Stored((f"{out}.weight",), split),
        "attention.out_bias": Stored((f"{out}.bias",), keep),
    }


def blocks(count: int, name: str, block: Mapping[str, Stored]) -> dict[str, Stored]:
    """As many blocks as there are, whose tensors are under `name` and a number."""
    return {
        f"blocks.{index}.{ours}": stored.under(f"{name}.{index}.")
        for index in range(count)
        for ours, stored in block.items()
    }
