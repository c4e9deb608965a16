"""How a checkpoint says that its weights are quantized, and what is said where they are not read.

Knows no way to read them: `model.weights.quantized` does.
"""

from collections.abc import Mapping
from typing import Any, cast

# Keys of a config.json: MLX's own, which it writes again under the second, where most programs
# write theirs; and what compressed-tensors wrote at first.
KEYS = ("quantization", "quantization_config", "compression_config")


def how_quantized(value: object, *, key: str = "") -> str:
    """The method and the bits that are named, such as `awq, 4 bits`; empty if none are.

    Args:
        value: what stands under one of `KEYS`, or in a file of its own.
        key: the key.
    """
    if not isinstance(value, dict):
        return ""
    said = cast("Mapping[str, Any]", value)
    # The second is ModelOpt's.
    names = [str(said[name]) for name in ("quant_method", "quant_algo") if said.get(name)]
    if not names and (said.get("load_in_4bit") or said.get("load_in_8bit")):
        names = ["bitsandbytes"]
    # The second is AutoAWQ's first name for it.
    bits = said.get("bits", said.get("w_bit"))
    if bits is not None:
        names += ["MLX"] * (key == "quantization") + [f"{bits} bits"]
    return ", ".join(names)


def refusal(path: object, how: str) -> str:
    """A sentence on quantized weights.

    Args:
        path: the file that says so.
        how: `how_quantized`'s answer.
    """
    told = f" ({how})" if how else ""
    return (
        f"{path} says that the weights are quantized{told}, which is not served; served are "
        "compressed-tensors (float-quantized, int-quantized, pack-quantized), fp8, gptq and awq: "
        "give one of these, or the model as it was before that, in bfloat16, float16 or float32"
    )
