"""AWQ as AutoAWQ writes it for matrix products: `quant_method: awq`, `version: gemm`.

Codes of four bits lie in words of 32 along the output axis, [in, out / 8], and so do zero points,
[groups, out / 8]; of eight columns the even ones come first in a word, then the odd ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.config import CheckpointError
from model.families.keys import ConfigKeys
from model.weights.quantized.gptq import NOTES, check_overrides, read_group_size
from model.weights.quantized.matrices import (
    SCALES,
    Module,
    Quantized,
    dequantized,
)
from model.weights.tensors import TensorInfo

_BITS = 4
_EACH = 32 // _BITS
# Where in a word each of its eight columns is.
_PLACES = (0, 4, 1, 5, 2, 6, 3, 7)
# How layers are joined for one GPU's kernels.
_FUSING = ("do_fuse", "fuse_max_seq_len", "modules_to_fuse")


@dataclass(frozen=True, slots=True)
class Awq:
    """See the module and `Scheme`.

    Attributes:
        group_size: inputs that share a scale; -1 for all.
    """

    group_size: int
    method: str = "awq"
    notices: tuple[str, ...] = ()
    unread: frozenset[str] = frozenset()

    def quantized(
        self, module: Module, read: Callable[[TensorInfo], np.ndarray]
    ) -> Quantized | None:
        """See `Scheme`."""
        del read
        if "qweight" not in module.tensors:
            return None
        weight = module.part("qweight", ("I32",), rank=2)
        shape = (weight.shape[1] * _EACH, weight.shape[0])
        block = (1, shape[1] if self.group_size == -1 else self.group_size)
        groups = -(-shape[1] // block[1])
        scales = module.part("scales", SCALES, (groups, shape[0]))
        zeros = module.part("qzeros", ("I32",), (groups, weight.shape[1]))

        def expand(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
            return dequantized(
                _columns(arrays["qweight"]),
                arrays["scales"].T,
                _columns(arrays["qzeros"]),
                block,
            )

        return Quantized(shape, {"qweight": weight, "scales": scales, "qzeros": zeros}, expand)


def _columns(words: np.ndarray) -> np.ndarray:
    """Codes [out, rows] out of words [rows, out / 8]."""
    turned = np.ascontiguousarray(words.T).view(np.uint32)
    codes = np.empty((len(turned), _EACH, len(words)), np.uint8)
    for column, place in enumerate(_PLACES):
        codes[:, column] = (turned >> np.uint32(place * _BITS)) & np.uint32(2**_BITS - 1)
    return codes.reshape(-1, len(words))


def awq_scheme(config: Mapping[str, Any], source: str) -> Awq:
    """The scheme that a config describes.

    Raises:
        CheckpointError: a key is unknown, or has a value that is not read.
    """
    keys = ConfigKeys(config, source)
    keys.ignore(*NOTES, *_FUSING, "modules_to_not_convert")
    # AutoAWQ's own file has other names for two.
    old = {"w_bit": "bits", "q_group_size": "group_size"}
    bits, group_size = (first if first in keys else second for first, second in old.items())
    keys.require(bits, [_BITS])
    keys.require("zero_point", [True])
    if keys.take("backend", str, "") == "llm-awq":
        raise CheckpointError(_not_read(keys, "backend", "llm-awq"))
    keys.require("pack_dtype", ["int32", None])
    keys.require("desc_act", [False, None])
    for name in ("version", "format", "checkpoint_format"):
        layout = keys.take(name, str, "gemm")
        if layout.lower() != "gemm":
            raise CheckpointError(_not_read(keys, name, layout))
    size = read_group_size(keys, group_size)
    check_overrides(keys)
    keys.finish()
    return Awq(size)


def _not_read(keys: ConfigKeys, key: str, layout: str) -> str:
    return (
        f"{keys.source} has {key}: {layout!r}, whose order of codes is not read; AutoAWQ's 'gemm' "
        "is: give the checkpoint in that form, or the model as it was before it was quantized"
    )
