"""Which scheme a checkpoint directory says its weights are quantized by."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from model.config import read_json
from model.quantized import how_quantized
from model.weights.quantized.awq import awq_scheme
from model.weights.quantized.compressed import compressed_scheme
from model.weights.quantized.float8 import float8_scheme
from model.weights.quantized.gptq import gptq_scheme
from model.weights.quantized.matrices import Scheme

# Where config.json says it, with the method that is meant if none is named. The second is what
# compressed-tensors wrote at first.
_KEYS = {"quantization_config": "", "compression_config": "compressed-tensors"}
# AutoGPTQ's and AutoAWQ's own files, from before config.json said it.
FILES = {"quantize_config.json": "gptq", "quant_config.json": "awq"}
_METHODS: Mapping[str, Callable[[Mapping[str, Any], str], Scheme]] = {
    "awq": awq_scheme,
    "compressed-tensors": compressed_scheme,
    "fp8": float8_scheme,
    "gptq": gptq_scheme,
    "sparseml": compressed_scheme,
}


def read_scheme(directory: Path) -> tuple[Scheme | None, dict[str, Any]]:
    """The scheme of a checkpoint's weights.

    Returns:
        The scheme, and what else config.json says. Where no scheme is named, or one that is not
        here, it is None and config.json is whole: a family may know what to do.

    Raises:
        CheckpointError: it is one of ours with settings that are not read, or config.json or the
            file that says it cannot be read.
    """
    path = directory / "config.json"
    config = read_json(path)
    for key, method in _KEYS.items():
        if config.get(key) is not None:
            scheme = _scheme(config[key], f"{path} {key}", method)
            rest = {name: value for name, value in config.items() if name not in _KEYS}
            return scheme, config if scheme is None else rest
    for name, method in FILES.items():
        if (directory / name).is_file():
            said = read_json(directory / name)
            # Others have files of these names that say something else.
            if how_quantized(said):
                return _scheme(said, str(directory / name), method), config
    return None, config


def _scheme(said: object, source: str, method: str) -> Scheme | None:
    if not isinstance(said, dict):
        return None
    config = cast("dict[str, Any]", said)
    read = _METHODS.get(str(config.get("quant_method", method)))
    return None if read is None else read(config, source)
