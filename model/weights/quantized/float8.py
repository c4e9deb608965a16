"""Block-wise FP8 as Qwen3, DeepSeek and vLLM's `fp8` publish it: `quant_method: fp8`.

A matrix of 8-bit floats (E4M3) is multiplied by a scale for each block of it, which is called
`weight_scale_inv`, or by one for all of it. The reference is transformers' FineGrainedFP8Config
and the `weight_dequant` that DeepSeek-V3 is published with.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.config import CheckpointError
from model.families.keys import ConfigKeys
from model.weights.quantized.matrices import (
    SCALES,
    Module,
    Quantized,
    dequantized,
    scale_shapes,
)
from model.weights.tensors import TensorInfo

# Where the file does not say, as the reference has it.
_BLOCK = (128, 128)
_BLOCK_SCALE, _SCALE = "weight_scale_inv", "weight_scale"


@dataclass(frozen=True, slots=True)
class Float8:
    """See the module and `Scheme`.

    Attributes:
        block: rows and columns that share a `weight_scale_inv`; None if a matrix has one. A
            `weight_scale` is always for a whole matrix.
    """

    block: tuple[int, int] | None
    notices: tuple[str, ...]
    method: str = "fp8"
    unread: frozenset[str] = frozenset(
        {
            "activation_scale",
            "input_scale",
            "input_scale_inv",
            "k_scale",
            "kv_scale",
            "output_scale",
            "v_scale",
        }
    )

    def quantized(
        self, module: Module, read: Callable[[TensorInfo], np.ndarray]
    ) -> Quantized | None:
        """See `Scheme`."""
        del read
        if "weight" not in module.tensors or module.tensors["weight"].kind != "F8_E4M3":
            return None
        weight = module.part("weight", ("F8_E4M3",), rank=2)
        shape = (weight.shape[0], weight.shape[1])
        # The name for blocks is also used for one scale, where the config has no blocks.
        single = _SCALE in module.tensors
        suffix = _SCALE if single else _BLOCK_SCALE
        block = shape if single or self.block is None else self.block
        scale = module.part(suffix, (*SCALES, "F8_E8M0"), *scale_shapes(shape, block))

        def expand(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
            return dequantized(arrays["weight"], arrays[suffix], None, block)

        return Quantized(shape, {"weight": weight, suffix: scale}, expand)


def float8_scheme(config: Mapping[str, Any], source: str) -> Float8:
    """The scheme that a config describes.

    Raises:
        CheckpointError: a key is unknown, or has a value that is not read.
    """
    keys = ConfigKeys(config, source)
    keys.ignore("quant_method", "dequantize")
    keys.require("fmt", ["e4m3", "float8_e4m3fn"])
    keys.require("scale_fmt", ["float", "ue8m0", None])
    keys.require("expert_dtype", ["fp8", None])
    # Which matrices are quantized, their tensors say.
    keys.ignore("modules_to_not_convert", "modules_to_convert", "ignored_layers")
    activations = keys.take("activation_scheme", str, "dynamic")
    cache = keys.take("kv_cache_scheme", str, "")
    block = _block(keys)
    keys.finish()
    notices = [f"activations in FP8 ({activations})"] + ["a cache in FP8"] * bool(cache)
    return Float8(block, tuple(notices))


def _block(keys: ConfigKeys) -> tuple[int, int] | None:
    if not keys.has("weight_block_size"):
        keys.ignore("weight_block_size")
        return None if "weight_block_size" in keys else _BLOCK
    sides = keys.take("weight_block_size", list)
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        raise CheckpointError(
            f"{keys.source} has weight_block_size: {sides!r}; it must be two numbers above zero"
        )
    return sides[0], sides[1]
