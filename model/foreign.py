"""What a path is that is no checkpoint as we read them, told by names and by heads of small files.

`check_directory` is asked before a checkpoint is opened, by whoever opens one; what it lets pass
may still be broken, which is found where it is read. Knows the forms that models are published
in, and not how to read any of them.
"""

import fnmatch
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, cast

from model.config import CheckpointError
from model.quantized import how_quantized, refusal
from model.unreadable import git_pointer, not_read

# PEFT's names. Transformers takes the first as the sign of an adapter, and applies it.
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_FILES = (ADAPTER_CONFIG, "adapter_model.safetensors", "adapter_model.bin")
# ModelOpt's, from before config.json said it.
_MODELOPT = "hf_quant_config.json"
_PIPELINE = "model_index.json"
# What is looked at beside config.json; AutoGPTQ's and AutoAWQ's where weights are opened.
NOTES = (ADAPTER_CONFIG, _MODELOPT, "quantize_config.json", "quant_config.json", _PIPELINE)
_WEIGHTS = "model*.safetensors"
_SHOWN = 3


class _Form(NamedTuple):
    """A form that weights are published in.

    Attributes:
        pattern: of a file in it.
        name: what to call it.
        remedy: why it cannot be taken so, and what to do.
    """

    pattern: str
    name: str
    remedy: str


_ELSEWHERE = "which is not read; give a directory with the same model as safetensors"
_TRANSFORMERS = (
    "which is not read; give the model in the form of transformers, with config.json and "
    "model.safetensors"
)
_FORMS = (
    _Form("*.gguf", "GGUF", "which is read where it is named itself; give that file"),
    _Form(
        "pytorch_model*.bin",
        "PyTorch's pickles",
        "which is not read; write them as safetensors with transformers: "
        "AutoModelForCausalLM.from_pretrained of this directory, then save_pretrained to another",
    ),
    _Form("consolidated*.safetensors", "Mistral's own form", _TRANSFORMERS),
    _Form("consolidated*.pth", "Meta's own form", _TRANSFORMERS),
    _Form("tf_model*.h5", "TensorFlow's", _ELSEWHERE),
    _Form("flax_model*.msgpack", "Flax's", _ELSEWHERE),
    _Form("*.onnx", "ONNX", _ELSEWHERE),
    _Form("onnx/*.onnx", "ONNX", _ELSEWHERE),
    _Form("openvino_*.xml", "OpenVINO's", _ELSEWHERE),
    _Form("weights*.npz", "MLX's first form", _ELSEWHERE),
    _Form("*.engine", "TensorRT's", _ELSEWHERE),
    _Form("*.pth", "PyTorch's pickles", _ELSEWHERE),
    _Form("*model*.pt", "PyTorch's pickles", _ELSEWHERE),
)


def check_directory(directory: Path) -> None:
    """Refuse what cannot be a checkpoint of ours to read, whatever its files say.

    Raises:
        CheckpointError: there is no such directory, or it has no config.json, or it holds an
            adapter or a note that its weights are quantized by ModelOpt.
    """
    try:
        if not directory.is_dir():
            raise CheckpointError(_no_directory(directory))
        names = {path.name for path in directory.iterdir()}
    except OSError as error:
        raise CheckpointError(not_read(directory, error)) from error
    if adapter := [name for name in ADAPTER_FILES if name in names]:
        raise CheckpointError(_adapter(directory, adapter))
    said = _object(directory / _MODELOPT) if _MODELOPT in names else {}
    if how := how_quantized(said.get("quantization", said)):
        raise CheckpointError(refusal(directory / _MODELOPT, how))
    if "config.json" not in names:
        raise CheckpointError(_no_config(directory, names))


def other_form(directory: Path) -> str | None:
    """A sentence on weights in a form that no directory is read in, or None if there are none."""
    for form in _FORMS:
        if found := sorted(directory.glob(form.pattern)):
            return (
                f"{directory} has its weights in {form.name} ({found[0].relative_to(directory)}), "
                f"{form.remedy}"
            )
    return None


def form_among(names: Iterable[str]) -> str | None:
    """The form of weights, other than safetensors, that files of these names are in, if any."""
    return next((form.name for form in _FORMS if fnmatch.filter(names, form.pattern)), None)


def _no_directory(path: Path) -> str:
    if path.is_file():
        if pointer := git_pointer(path):
            return pointer
        return (
            f"{path} is a file, and no GGUF file; give the directory of a checkpoint, which has a "
            f"config.json"
        )
    return f"{path} is not a directory; give the directory of a checkpoint"


def _adapter(directory: Path, files: list[str]) -> str:
    said = _object(directory / ADAPTER_CONFIG)
    # The second is MLX's key.
    base = said.get("base_model_name_or_path") or said.get("model")
    changed = f"the model {base}" if base else "a model that is not named"
    remedy = (
        f"and is no model; give that model, and serve this beside it: --adapter NAME={directory}"
        if "peft_type" in said
        else "and adapters of this form are not served; merge it into that model (with the program "
        "that trained it) and give the directory of the result"
    )
    beside = (directory / "weights").is_dir() or any(directory.glob(_WEIGHTS))
    return (
        f"{directory} holds an adapter ({files[0]}){' beside weights' if beside else ''}, changes "
        f"to {changed}, {remedy}"
        + (f", or move {' and '.join(files)} away to serve the weights alone" if beside else "")
    )


def _no_config(directory: Path, names: set[str]) -> str:
    if _PIPELINE in names:
        return (
            f"{directory} is a pipeline of diffusers ({_PIPELINE}), which makes pictures; "
            "give a model that writes text"
        )
    whole = any(directory.glob(_WEIGHTS))
    if not whole and (form := other_form(directory)):
        return form
    place = directory.parent if directory.name in ("blobs", "refs") else directory
    patterns = ("*/config.json", "snapshots/*/config.json", "models--*/snapshots/*/config.json")
    below = sorted({path.parent for pattern in patterns for path in place.glob(pattern)})
    if below:
        more = f" … ({len(below)} of them)" if len(below) > _SHOWN else ""
        return (
            f"{directory} has no config.json, and checkpoints lie in "
            f"{', '.join(map(str, below[:_SHOWN]))}{more}; give one of these directories"
        )
    what = "has no config.json" if names else "is empty"
    return (
        f"{directory} {what}; give the directory of a checkpoint, with its config.json, weights "
        "and tokenizer"
    )


def _object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is none that can be read."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
