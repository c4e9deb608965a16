"""GPTQ as AutoGPTQ, GPTQModel and their predecessors write it: `quant_method: gptq`.

Codes lie in words of 32 bits down the input axis, [in · bits / 32, out]; zero points in words
along the output axis, [groups, out · bits / 32]. The first version of the format keeps zero
points less one, taken off whole words: what is borrowed across codes comes back when one is
added to whole words again, which is how GPTQModel reads them.
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
    unpacked,
)
from model.weights.tensors import TensorInfo

BITS = (4, 8, 2)
_FIRST, _SECOND = "gptq", "gptq_v2"
# How a checkpoint came about, by GPTQ's programs or by AutoRound, which writes these forms too,
# and how to run it: nothing that its numbers depend on.
NOTES = (
    "act_group_aware",
    "amp",
    "autoround_version",
    "backend",
    "batch_size",
    "block_name_to_quantize",
    "cache_block_outputs",
    "damp_auto_increment",
    "damp_percent",
    "dataset",
    "disable_exllama",
    "enable_minmax_tuning",
    "enable_quanted_input",
    "exllama_config",
    "gradient_accumulate_steps",
    "iters",
    "lm_head",
    "low_gpu_mem_usage",
    "lr",
    "max_input_length",
    "meta",
    "minmax_lr",
    "model_file_base_name",
    "model_name_or_path",
    "model_seqlen",
    "module_name_preceding_first_block",
    "modules_in_block_to_quantize",
    "mse",
    "nsamples",
    "pad_token_id",
    "provider",
    "quant_method",
    "seqlen",
    "static_groups",
    "sym",
    "to_quant_block_names",
    "tokenizer",
    "train_bs",
    "true_sequential",
    "use_cuda_fp16",
    "use_exllama",
)


@dataclass(frozen=True, slots=True)
class Gptq:
    """See the module and `Scheme`.

    Attributes:
        bits: of a code.
        group_size: columns that share a scale; -1 for all.
        ordered: columns may have been quantized in an order of their own.
        offset: zero points are stored less one.
    """

    bits: int
    group_size: int
    ordered: bool
    offset: bool
    method: str = "gptq"
    notices: tuple[str, ...] = ()
    unread: frozenset[str] = frozenset()

    def quantized(
        self, module: Module, read: Callable[[TensorInfo], np.ndarray]
    ) -> Quantized | None:
        """See `Scheme`."""
        del read
        if "qweight" not in module.tensors:
            return None
        each = 32 // self.bits
        weight = module.part("qweight", ("I32",), rank=2)
        shape = (weight.shape[1], weight.shape[0] * each)
        block = (1, shape[1] if self.group_size == -1 else self.group_size)
        groups = -(-shape[1] // block[1])
        scales = module.part("scales", SCALES, (groups, shape[0]))
        zeros = module.part("qzeros", ("I32",), (groups, -(-shape[0] // each)))
        parts = {"qweight": weight, "scales": scales, "qzeros": zeros}
        if "g_idx" in module.tensors:
            parts["g_idx"] = module.part("g_idx", ("I32",), (shape[1],))

        def expand(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
            order = None
            if "g_idx" in arrays:
                order = self._order(module.name, arrays["g_idx"], groups, block[1])
            zeros = arrays["qzeros"].view(np.uint32)
            if self.offset:
                zeros = zeros + np.uint32(sum(1 << at for at in range(0, 32, self.bits)))
            return dequantized(
                unpacked(arrays["qweight"].T, self.bits),
                arrays["scales"].T,
                unpacked(zeros, self.bits)[:, : shape[0]].T,
                block,
                order,
            )

        return Quantized(shape, parts, expand)

    def _order(
        self, name: str, index: np.ndarray, groups: int, group_size: int
    ) -> np.ndarray | None:
        """The group of each column, or None where groups follow one another."""
        if np.array_equal(index, np.arange(len(index)) // group_size):
            return None
        # Left as it was made, by programs that do not read it without `desc_act`.
        if not self.ordered and not index.any():
            return None
        return checked_order(f"{name}.g_idx", index, groups)


def checked_order(name: str, index: np.ndarray, groups: int) -> np.ndarray:
    """The group of each column, as a tensor says it.

    Raises:
        CheckpointError: there is no such group.
    """
    if index.min() < 0 or index.max() >= groups:
        raise CheckpointError(
            f"{name} has groups from {index.min()} to {index.max()}, and there are {groups}, from "
            "0 on; the checkpoint is damaged: download it again"
        )
    return index


def gptq_scheme(config: Mapping[str, Any], source: str) -> Gptq:
    """The scheme that a config describes.

    Raises:
        CheckpointError: a key is unknown, or has a value that is not read.
    """
    keys = ConfigKeys(config, source)
    keys.ignore(*NOTES)
    keys.require("pack_dtype", ["int32", None])
    keys.require("is_marlin_format", [False, None])
    keys.require("adapter", [None])
    bits = keys.take("bits", int)
    keys.require("bits", BITS)
    # One name for the layout is older than the other.
    layout = keys.take("checkpoint_format", str, keys.take("format", str, _FIRST))
    if layout not in (_FIRST, _SECOND):
        raise CheckpointError(
            f"{keys.source} has checkpoint_format: {layout!r}, which is not supported; supported: "
            f"{_FIRST!r}, {_SECOND!r}"
        )
    group_size = read_group_size(keys, "group_size")
    ordered = keys.take("desc_act", bool, False)
    check_overrides(keys)
    keys.finish()
    return Gptq(bits, group_size, ordered, offset=layout == _FIRST)


def read_group_size(keys: ConfigKeys, key: str) -> int:
    """How many columns share a scale; -1 for all.

    Raises:
        CheckpointError: it is neither that nor a number above zero.
    """
    size = keys.take(key, int, 128)
    if size != -1 and size < 1:
        raise CheckpointError(
            f"{keys.source} has {key}: {size}; it must be above zero, or -1 for whole rows"
        )
    return size


def check_overrides(keys: ConfigKeys) -> None:
    """Refuse settings for some modules; those that leave modules as they are do pass.

    Raises:
        CheckpointError: there are others.
    """
    overrides = keys.take("dynamic", dict, {})
    if other := [pattern for pattern in overrides if not pattern.startswith("-:")]:
        raise CheckpointError(
            f"{keys.source} has settings of their own for modules ({other[0]}); one for all is "
            "supported, with patterns of modules that are left as they are (-:)"
        )
