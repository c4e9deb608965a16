"""Whisper in the form of CTranslate2 → the form of the hub, for published weights that come so.

A file is: version, name of the model, revision, number of variables; of each its name, shape, dtype
and bytes; then names that stand for others (CTranslate2, `python/ctranslate2/specs/model_spec.py`).
"""

import json
import shutil
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors.numpy import save_file

_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_ATTENTIONS = {"self_attention": "self_attn", "attention": "encoder_attn"}


def read_variables(path: Path) -> dict[str, np.ndarray]:
    """Every variable of a `model.bin`."""
    found: dict[str, np.ndarray] = {}
    with path.open("rb") as file:
        version, name = _number(file, "<I"), _text(file)
        assert (version, name) == (6, "WhisperSpec")
        _number(file, "<I")
        for _ in range(_number(file, "<I")):
            variable = _text(file)
            shape = [_number(file, "<I") for _ in range(_number(file, "<B"))]
            dtype = _DTYPES[_number(file, "<B")]
            data = file.read(_number(file, "<I"))
            found[variable] = np.frombuffer(data, dtype).reshape(shape)
    return found


def _number(file: BinaryIO, form: str) -> int:
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def _text(file: BinaryIO) -> str:
    return file.read(_number(file, "<H")).rstrip(b"\0").decode()


def hub_tensors(variables: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same under the hub's names. Weights must be floats."""
    found: dict[str, np.ndarray] = {}
    for name, value in variables.items():
        if value.dtype in (np.float16, np.float32) and value.ndim:
            found |= _tensors(name, value)
    return found


def _tensors(name: str, value: np.ndarray) -> dict[str, np.ndarray]:
    side, *parts = name.split("/")
    if parts[0] == "embeddings":
        return {f"model.{side}.embed_tokens.weight": value}
    if parts[0] == "position_encodings":
        return {f"model.{side}.embed_positions.weight": value}
    last = {"gamma": "weight", "beta": "bias"}.get(parts[-1], parts[-1])
    if not parts[0].startswith("layer_") or parts[0] == "layer_norm":
        return {f"model.{side}.{parts[0]}.{last}": value}
    layer = f"model.{side}.layers.{parts[0].removeprefix('layer_')}"
    if parts[1] == "ffn":
        inner = {"layer_norm": "final_layer_norm", "linear_0": "fc1", "linear_1": "fc2"}[parts[2]]
        return {f"{layer}.{inner}.{last}": value}
    attention = _ATTENTIONS[parts[1]]
    if parts[2] == "layer_norm":
        return {f"{layer}.{attention}_layer_norm.{last}": value}
    # Projections of the same are fused, and the last one leads out.
    names = {
        ("self_attn", "linear_0"): "qkv",
        ("self_attn", "linear_1"): ("out",),
        ("encoder_attn", "linear_0"): "q",
        ("encoder_attn", "linear_1"): "kv",
        ("encoder_attn", "linear_2"): ("out",),
    }[attention, parts[2]]
    pieces = np.split(value, len(names))
    found = {
        f"{layer}.{attention}.{piece}_proj.{last}": np.ascontiguousarray(each)
        for piece, each in zip(names, pieces, strict=True)
    }
    if last == "bias" and f"{layer}.{attention}.k_proj.bias" in found:
        assert not found.pop(f"{layer}.{attention}.k_proj.bias").any()
    return found


def write_hub_directory(source: Path, target: Path) -> None:
    """A directory of an English Whisper model, as the hub has it."""
    variables = read_variables(source / "model.bin")
    tensors = hub_tensors(variables)
    target.mkdir()
    save_file(tensors, target / "model.safetensors")
    shutil.copy(source / "tokenizer.json", target)
    (target / "config.json").write_text(json.dumps(_config(variables, tensors)))
    given = json.loads((source / "config.json").read_text())
    added = json.loads((source / "tokenizer.json").read_text())["added_tokens"]
    ids = {each["content"].strip("<|>"): each["id"] for each in added}
    generation = {
        "decoder_start_token_id": ids["startoftranscript"],
        "eos_token_id": ids["endoftext"],
        "no_timestamps_token_id": ids["notimestamps"],
        "is_multilingual": False,
        "suppress_tokens": given["suppress_ids"],
        "begin_suppress_tokens": given["suppress_ids_begin"],
    }
    (target / "generation_config.json").write_text(json.dumps(generation))


def _config(variables: dict[str, np.ndarray], tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    vocab, embed = tensors["model.decoder.embed_tokens.weight"].shape
    config: dict[str, Any] = {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "vocab_size": vocab,
        "d_model": embed,
        "num_mel_bins": tensors["model.encoder.conv1.weight"].shape[1],
        "max_source_positions": len(tensors["model.encoder.embed_positions.weight"]),
        "max_target_positions": len(tensors["model.decoder.embed_positions.weight"]),
    }
    for side in ("encoder", "decoder"):
        config[f"{side}_layers"] = sum(
            name.startswith(f"model.{side}.layers.") and name.endswith(".fc1.bias")
            for name in tensors
        )
        config[f"{side}_attention_heads"] = int(variables[f"{side}/num_heads"])
        config[f"{side}_ffn_dim"] = len(tensors[f"model.{side}.layers.0.fc1.bias"])
    return config
