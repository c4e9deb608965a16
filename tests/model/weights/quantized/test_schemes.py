"""What a config says of quantization is understood to the last key, or refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.quantized import AWQ, FLOAT, FP8, GPTQ, INT, compressed, int4

from model.config import CheckpointError
from model.weights.formats import identifying_files
from model.weights.quantized.compressed import Compressed, Group
from model.weights.quantized.schemes import read_scheme

BLOCK = FLOAT | {"strategy": "block", "block_structure": [128, 128]}


def read(directory: Path, said: Any, key: str = "quantization_config") -> Any:
    (directory / "config.json").write_text(json.dumps({key: said, "hidden_size": 32}))
    return read_scheme(directory)


def changed(config: dict[str, Any], *path: str, value: Any) -> dict[str, Any]:
    """The config with one entry, which may be deep in it, changed."""
    first, *rest = path
    inside = changed(config[first], *rest, value=value) if rest else value
    return config | {first: inside}


def weights(**changes: Any) -> dict[str, Any]:
    return compressed("pack-quantized", int4(16) | changes)


CT = compressed("float-quantized", BLOCK)
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "ct: sparse": (
        CT | {"sparsity_config": {"format": "sparse-24-bitmask"}},
        "sparsity_config has format: 'sparse-24-bitmask', which is not supported",
    ),
    "ct: rotated": (
        CT | {"transform_config": {"config_groups": {"u": {}}}},
        "has transform_config: {'config_groups': {'u': {}}}, which is not supported",
    ),
    "ct: fewer experts": (CT | {"moe_sparsity_config": {"method": "prune"}}, "moe_sparsity_config"),
    "ct: calibrated": (CT | {"quantization_status": "calibration"}, "status: 'calibration'"),
    "ct: unknown key": (CT | {"codebook": 4}, "not supported: codebook"),
    "ct: unknown key of a group": (
        changed(CT, "config_groups", "group_0", "codebook", value=4),
        "config_groups group_0 has keys .* not supported: codebook",
    ),
    "ct: unknown key of weights": (weights(outliers=4), "group_0 weights has .*: outliers"),
    "ct: preset": (CT | {"config_groups": {"W4A16": ["Linear"]}}, "W4A16: .* of type dict"),
    "ct: no groups": ({"quant_method": "compressed-tensors"}, "lacks config_groups"),
    "ct: Marlin": (compressed("marlin-24", int4(16)), "format 'marlin-24', which is not"),
    "ct: MXFP4": (
        compressed("mxfp4-pack-quantized", {"num_bits": 4, "type": "float"}),
        "type 'float' in the format 'mxfp4-pack-quantized'",
    ),
    "ct: packed floats": (compressed("pack-quantized", BLOCK), "type 'float' in the format 'pack-"),
    "ct: integers as floats": (compressed("float-quantized", INT), "type 'int' in the format 'fl"),
    "ct: no format": (compressed("mixed-precision", INT), "in the format 'mixed-precision'"),
    "ct: three bits": (weights(num_bits=3), "num_bits: 3, which is not supported; .*: 4, 8, 2"),
    "ct: floats of four": (
        compressed("float-quantized", FLOAT | {"num_bits": 4}),
        "num_bits: 4, which is not supported; supported: 8$",
    ),
    "ct: floats with zeros": (
        compressed("float-quantized", FLOAT | {"symmetric": False}),
        "symmetric: False",
    ),
    "ct: dynamic weights": (
        changed(weights(), "config_groups", "group_0", "weights", "dynamic", value=True),
        "dynamic: True, which is not supported",
    ),
    "ct: strategy": (
        weights(strategy="tensor_group"),
        "strategy: 'tensor_group', which is not supported; supported: 'tensor', 'channel'",
    ),
    "ct: no groups of columns": (weights(group_size=0), "group_size: 0; with the strategy 'group'"),
    "ct: no block": (
        compressed("float-quantized", FLOAT | {"strategy": "block"}),
        r"block_structure: \[\]; it must be two numbers above zero",
    ),
    "ct: pattern": (CT | {"ignore": ["re:("]}, r"ignore: 're:\(', which is no pattern"),
    "ct: names": (CT | {"ignore": [1]}, r"ignore: \[1\]; it must be a list of names"),
    "fp8: other floats": (FP8 | {"fmt": "e5m2"}, "fmt: 'e5m2', which is not supported"),
    "fp8: four bits": (FP8 | {"expert_dtype": "fp4"}, "expert_dtype: 'fp4', which is not"),
    "fp8: block": (
        FP8 | {"weight_block_size": [128]},
        r"weight_block_size: \[128\]; it must be two numbers above zero",
    ),
    "fp8: empty block": (FP8 | {"weight_block_size": [0, 128]}, r"\[0, 128\]; it must be two num"),
    "fp8: unknown key": (FP8 | {"outliers": 1}, "not supported: outliers"),
    "gptq: bits": (GPTQ | {"bits": 3}, "bits: 3, which is not supported; supported: 4, 8, 2"),
    "gptq: no bits": ({"quant_method": "gptq"}, "lacks bits"),
    "gptq: layout": (GPTQ | {"checkpoint_format": "bitblas"}, "checkpoint_format: 'bitblas'"),
    "gptq: Marlin": (GPTQ | {"is_marlin_format": True}, "is_marlin_format: True"),
    "gptq: words": (GPTQ | {"pack_dtype": "int64"}, "pack_dtype: 'int64'"),
    "gptq: groups": (GPTQ | {"group_size": 0}, "group_size: 0; it must be above zero, or -1"),
    "gptq: modules": (
        GPTQ | {"dynamic": {"-:gate": {}, "+:down": {"bits": 8}}},
        r"settings of their own for modules \(\+:down\)",
    ),
    "gptq: unknown key": (GPTQ | {"layer_bits": {"0": 16}}, "not supported: layer_bits"),
    "awq: vectors": (AWQ | {"version": "gemv"}, "version: 'gemv', whose order of codes"),
    "awq: fast": (AWQ | {"version": "gemv_fast"}, "version: 'gemv_fast', whose order"),
    "awq: another": (AWQ | {"backend": "llm-awq"}, "backend: 'llm-awq', whose order"),
    "awq: bits": (AWQ | {"bits": 8}, "bits: 8, which is not supported; supported: 4"),
    "awq: no zeros": (AWQ | {"zero_point": False}, "zero_point: False, which is not supported"),
    "awq: ordered": (AWQ | {"desc_act": True}, "desc_act: True, which is not supported"),
    "awq: unknown key": (AWQ | {"smooth": 1}, "not supported: smooth"),
}


@pytest.mark.parametrize("way", REFUSED)
def test_what_is_not_read_is_refused_by_name(tmp_path, way):
    said, message = REFUSED[way]
    with pytest.raises(CheckpointError, match=message) as caught:
        read(tmp_path, said)
    assert str(caught.value).startswith(f"{tmp_path / 'config.json'} quantization_config")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("said", [None, {"quant_method": "hqq"}, {"bits": 4}, "awq", [], {}])
def test_what_is_none_of_ours_is_left_to_the_family(tmp_path, said):
    scheme, rest = read(tmp_path, said)
    assert scheme is None
    assert rest == {"quantization_config": said, "hidden_size": 32}


def test_what_is_ours_is_taken_out(tmp_path):
    for key in ("quantization_config", "compression_config"):
        scheme, rest = read(tmp_path, CT, key)
        assert isinstance(scheme, Compressed)
        assert rest == {"hidden_size": 32}


def test_every_key_of_a_group_is_read(tmp_path):
    """As an llm-compressor of 2025 wrote it, and as one of 2024 did."""
    scheme, _ = read(tmp_path, weights(actorder="static", scale_dtype=None, observer_kwargs={}))
    group = Group(("Linear",), "pack-quantized", 4, symmetric=True, block=(1, 16))
    assert (scheme.groups, scheme.ignored) == ((group,), ("lm_head",))
    old = compressed(
        "int-quantized",
        {"num_bits": 8, "strategy": "channel", "symmetric": False, "type": "int"},
        quantization_status="frozen",
        quant_method="sparseml",
        sparsity_config={"format": "dense", "global_sparsity": 0.1, "sparsity_structure": "0:0"},
    )
    scheme, _ = read(tmp_path, old, "compression_config")
    assert scheme.groups == (Group(("Linear",), "int-quantized", 8, symmetric=False, block=(1, 0)),)


def test_the_strategy_follows_from_the_groups_of_columns(tmp_path):
    blocks = []
    for group_size in (None, -1, 32):
        said = compressed("pack-quantized", {"num_bits": 4, "group_size": group_size})
        scheme, _ = read(tmp_path, said)
        blocks.append(scheme.groups[0].block)
    assert blocks == [(0, 0), (1, 0), (1, 32)]


def test_a_group_of_activations_quantizes_no_weights(tmp_path):
    attention = {
        "targets": ["LlamaAttention"],
        "input_activations": {"num_bits": 8, "type": "float"},
    }
    scheme, _ = read(tmp_path, changed(CT, "config_groups", "group_1", value=attention))
    assert len(scheme.groups) == 1
    assert scheme.notices == ("activations in int of 8 bits", "activations in float of 8 bits")


@pytest.mark.parametrize(
    ("name", "said", "method"),
    [
        ("quantize_config.json", {"bits": 4, "group_size": 128, "desc_act": True}, "gptq"),
        ("quantize_config.json", {"quant_method": "awq", "bits": 4, "version": "gemm"}, "awq"),
        ("quant_config.json", {"w_bit": 4, "q_group_size": 64, "version": "GEMM"}, "awq"),
    ],
)
def test_a_file_of_its_own(tmp_path, name, said, method):
    (tmp_path / name).write_text(json.dumps(said))
    scheme, rest = read(tmp_path, None)
    assert scheme is not None
    assert scheme.method == method
    assert rest == {"quantization_config": None, "hidden_size": 32}
    # What config.json says itself goes before.
    scheme, _ = read(tmp_path, FP8)
    assert scheme.method == "fp8"


def test_a_file_for_another_program_says_nothing(tmp_path):
    (tmp_path / "quantize_config.json").write_text('{"per_channel": true, "modes": ["q4"]}')
    assert read(tmp_path, None)[0] is None


def test_a_scheme_in_a_file_of_its_own_tells_a_directory_from_others(tmp_path):
    weights = tmp_path / "model.safetensors"
    scheme = tmp_path / "quantize_config.json"
    for file in (weights, scheme, tmp_path / "config.json"):
        file.write_text("{}")
    assert identifying_files(tmp_path) == [weights, scheme]
