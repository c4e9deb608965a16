"""GGUF files hold the parameters that the hub's checkpoint holds."""

import json
from pathlib import Path

import gguf
import jax
import numpy as np
import pytest
from safetensors.numpy import load_file
from support.gguf_files import (
    TYPES,
    byte_vocabulary,
    from_hub,
    metadata_of,
    tensors_of,
    write_gguf,
)
from support.published import LLAMA, random_tensors, write_published

from model.config import CheckpointError
from model.families.registry import FAMILIES, read_family
from model.loading import load_model, open_model
from model.mesh import make_mesh
from model.sources.gguf import gguf_directory
from model.weights import gguf_parts
from model.weights.formats import identifying_files
from model.weights.gguf import GgufStore
from model.weights.gguf_file import read_gguf
from model.weights.gguf_parts import Part
from model.weights.mapped import MappedFiles
from model.weights.tensors import OpenTensors

FIXTURES = Path(__file__).parents[2] / "fixtures" / "models"


def config_of(name: str) -> dict:
    return json.loads((FIXTURES / name / "config.json").read_text())


# llama.cpp has no windows for Qwen2, no layers without experts in a Qwen3-MoE, and keeps what sees
# in a file of its own.
NOT_IN_GGUF = ("qwen-2-window", "qwen-3-moe", "qwen-3-moe-raw", "gemma-3-vision", "qwen-3-vl")
VARIANTS = sorted(
    path.name for path in FIXTURES.iterdir() if path.is_dir() and path.name not in NOT_IN_GGUF
)
CONFIG = LLAMA | {"vocab_size": 300, "rope_parameters": {"rope_theta": 10_000.0}}
QWEN3_MOE = config_of("qwen-3-moe") | {"mlp_only_layers": []}


def assert_same(parameters: dict[str, jax.Array], wanted: dict[str, jax.Array], gemma: bool):
    assert parameters.keys() == wanted.keys()
    for name, value in parameters.items():
        # Adding one to a norm's weight drops what is below the last bit of the sum.
        slack = 1.2e-7 if gemma and name.endswith("norm.weight") else 0
        np.testing.assert_allclose(value, wanted[name], rtol=0, atol=slack, err_msg=name)


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_are_those_of_the_hubs_checkpoint(tmp_path, name):
    wanted = load_model(FIXTURES / name, make_mesh(), "float32")
    file = from_hub(FIXTURES / name, tmp_path / "model.gguf")
    found = load_model(gguf_directory(file, tmp_path / "cache"), make_mesh(), "float32")
    assert_same(found.parameters, wanted.parameters, name.startswith("gemma"))


def test_parameters_of_experts_in_every_layer(tmp_path):
    generator = np.random.default_rng(0)
    tensors = {
        name: value
        for name, value in random_tensors(QWEN3_MOE, "float32").items()
        if ".mlp." not in name
    }
    heads, embed, width = 16, QWEN3_MOE["hidden_size"], QWEN3_MOE["moe_intermediate_size"]
    experts = QWEN3_MOE["num_local_experts"]
    shapes = {"gate_proj": (width, embed), "up_proj": (width, embed), "down_proj": (embed, width)}
    for layer in range(QWEN3_MOE["num_hidden_layers"]):
        before = f"model.layers.{layer}."
        added = {f"mlp.experts.{n}.{part}": shapes[part] for n in range(experts) for part in shapes}
        added |= {"mlp.gate": (experts, embed)}
        added |= {f"self_attn.{part}_norm": (heads,) for part in "qk"}
        tensors |= {
            f"{before}{name}.weight": generator.standard_normal(shape, np.float32)
            for name, shape in added.items()
        }
    hub = write_published(tmp_path / "hub", tensors, QWEN3_MOE)
    wanted = load_model(hub, make_mesh(), "float32")
    file = from_hub(hub, tmp_path / "model.gguf")
    found = load_model(gguf_directory(file, tmp_path / "cache"), make_mesh(), "float32")
    assert found.config == wanted.config
    assert_same(found.parameters, wanted.parameters, gemma=False)


def test_every_family_has_a_variant():
    checked = {config_of(name)["architectures"][0] for name in VARIANTS}
    # Files of models that see have the decoder alone, as a model of text.
    sees = {name for name, family in FAMILIES.items() if family.vision is not None}
    assert checked | {"Qwen3MoeForCausalLM"} | sees == set(FAMILIES)


KINDS = [kind for kind in TYPES if kind not in (TYPES.I8, TYPES.I16, TYPES.I32, TYPES.I64)]
NOT_READ = (TYPES.F64, TYPES.Q8_1, TYPES.Q8_K, TYPES.Q1_0)


def random_blocks(kind: gguf.GGMLQuantizationType, rows: int) -> np.ndarray:
    """Valid bytes: any are, but for the scales, of which some would be no numbers."""
    _, size = gguf.GGML_QUANT_SIZES[kind]
    generator = np.random.default_rng(kind.value)
    # No half-precision scale out of these bytes is infinite or not a number.
    return generator.integers(0, 0x78, (rows, 2 * size), np.uint8)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in NOT_READ], ids=str)
def test_every_kind_of_number_is_read_as_the_formats_package_reads_it(tmp_path, monkeypatch, kind):
    data = random_blocks(kind, 40)
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_tensor("rows", data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    # Bands of a row each.
    monkeypatch.setattr(gguf_parts, "_BAND_VALUES", data.shape[1])
    tensor = read_gguf(tmp_path / "model.gguf").tensors["rows"]
    part = Part.whole(tensor)
    values = part.values(MappedFiles([tensor.file]))
    assert values.shape == (40, 2 * gguf.GGML_QUANT_SIZES[kind][0])
    assert values.dtype == part.dtype
    np.testing.assert_array_equal(values.astype(np.float32), gguf.dequantize(data, kind))


@pytest.mark.parametrize("kind", NOT_READ, ids=str)
def test_kinds_that_the_formats_package_cannot_expand_are_refused(tmp_path, kind):
    _, size = gguf.GGML_QUANT_SIZES[kind]
    rows = np.zeros((48, 32 * size), np.uint8)
    path = llama_with(tmp_path, {"blk.1.ffn_up.weight": (rows, kind)})
    with pytest.raises(CheckpointError, match=rf"mlp\.up_proj\.weight as {kind.name}.* Q8_0"):
        load_model(gguf_directory(path, tmp_path / "cache"), make_mesh(), "float32")


def tensors_of_llama() -> dict[str, np.ndarray]:
    return tensors_of(CONFIG, random_tensors(CONFIG, "float32"))


def llama_with(directory: Path, changes: dict, metadata: dict | None = None) -> Path:
    """A small Llama with tensors changed: to others, to bytes of a kind, or to none."""
    tensors = tensors_of_llama() | changes
    kept = {name: value for name, value in tensors.items() if value is not None}
    facts = metadata_of(CONFIG) | byte_vocabulary(CONFIG["vocab_size"]) | (metadata or {})
    return write_gguf(directory / "model.gguf", facts, kept)


def test_a_family_in_few_bits_has_the_values_of_the_bits(tmp_path):
    """Rows are quantized one by one, so that it is the same before and after they are permuted."""
    kind = TYPES.Q8_0
    config = config_of("mixtral")
    tensors = load_file(FIXTURES / "mixtral" / "model.safetensors")

    def rounded(value: np.ndarray) -> np.ndarray:
        wide = value.astype(np.float32)
        if wide.ndim < 2 or wide.shape[-1] % 32:
            return wide
        return gguf.dequantize(gguf.quantize(wide, kind), kind)

    hub = {
        name: value.astype(np.float32) if ".gate." in name else rounded(value)
        for name, value in tensors.items()
    }
    wanted = load_model(write_published(tmp_path / "hub", hub, config), make_mesh(), "float32")
    file = from_hub(FIXTURES / "mixtral", tmp_path / "model.gguf", kind=kind)
    kinds = {tensor.kind for tensor in read_gguf(file).tensors.values()}
    assert kinds == {TYPES.F32, TYPES.BF16, kind}
    found = load_model(gguf_directory(file, tmp_path / "cache"), make_mesh(), "float32")
    assert found.config == wanted.config
    assert_same(found.parameters, wanted.parameters, gemma=False)


def test_floats_lie_over_the_file_and_what_is_read_is_told_in_its_bytes(tmp_path):
    path = llama_with(tmp_path, {})
    directory = gguf_directory(path, tmp_path / "cache")
    family, config = read_family(directory)
    store = GgufStore(read_gguf(path), family, config)
    listed = store.listed()
    assert sum(tensor.size for tensor in listed.values()) == sum(
        tensor.size for tensor in read_gguf(path).tensors.values()
    )
    tensors = store.opened(list(listed))
    assert isinstance(tensors, OpenTensors)
    up = tensors["model.layers.0.mlp.up_proj.weight"]
    assert not up.flags.owndata
    assert not up.flags.writeable
    before = up.copy()
    tensors.release(up)
    np.testing.assert_array_equal(up, before)
    query = tensors["model.layers.0.self_attn.q_proj.weight"]
    before = query.copy()
    tensors.release(query)
    np.testing.assert_array_equal(query, before)


def test_four_bit_experts_are_told_in_their_bytes(tmp_path):
    file = from_hub(FIXTURES / "gpt-oss-mxfp4", tmp_path / "model.gguf")
    family, config = read_family(gguf_directory(file, tmp_path / "cache"))
    source = read_gguf(file)
    listed = GgufStore(source, family, config).listed()
    assert sum(tensor.size for tensor in listed.values()) == sum(
        tensor.size for tensor in source.tensors.values()
    )
    names = [name for name in listed if name.endswith(("_blocks", "_scales"))]
    assert len(names) == 2 * 2 * config.num_layers
    opened = GgufStore(source, family, config).opened(names)
    hub = load_file(FIXTURES / "gpt-oss-mxfp4" / "model.safetensors")
    for name in names:
        np.testing.assert_array_equal(opened[name], hub[name])
        assert listed[name].shape == hub[name].shape
        assert listed[name].dtype == np.uint8


def test_parts_of_a_model_may_hold_any_of_its_tensors(tmp_path):
    wanted = load_model(FIXTURES / "gpt-oss", make_mesh(), "float32")
    from_hub(FIXTURES / "gpt-oss", tmp_path / "model.gguf", split_max_tensors=5)
    first, *others = sorted(tmp_path.glob("*.gguf"))
    assert len(others) > 3
    directory = gguf_directory(others[0], tmp_path / "cache")
    assert directory == gguf_directory(first, tmp_path / "cache")
    assert identifying_files(directory) == [first, *others]
    found = load_model(directory, make_mesh(), "float32")
    assert_same(found.parameters, wanted.parameters, gemma=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"blk.1.attn_v.weight": None}, r"lacks the tensor model\.layers\.1\.self_attn\.v_proj"),
        ({"blk.1.attn_v.scale": np.zeros(1, np.float32)}, r"blk\.1\.attn_v\.scale, for which"),
        ({"blk.1.attn_q_norm.weight": np.zeros(8, np.float32)}, "attn_q_norm.weight, for which"),
        (
            {"blk.0.attn_q.weight": np.zeros((40, 32), np.float32)},
            r"does not fit its own metadata: .*q_proj\.weight \(40, 32\)",
        ),
        (
            {"blk.0.attn_norm.weight": np.zeros((2, 32), np.float32)},
            r"does not fit its own metadata: .*input_layernorm\.weight \(2, 32\)",
        ),
    ],
    ids=["missing", "of no use", "of another family", "of another height", "of another rank"],
)
def test_tensors_that_do_not_belong_are_refused(tmp_path, changes, words):
    path = llama_with(tmp_path, changes)
    with pytest.raises(CheckpointError, match=words) as raised:
        open_model(gguf_directory(path, tmp_path / "cache"), make_mesh(), "float32")
    assert str(path) in str(raised.value)
    assert "cache" not in str(raised.value)
    assert "config.json" not in str(raised.value)


@pytest.mark.parametrize("part", ["ffn_gate_exps", "ffn_down_exps"])
def test_experts_of_another_number_are_refused(tmp_path, part):
    config = config_of("mixtral")
    tensors = tensors_of(config, load_file(FIXTURES / "mixtral" / "model.safetensors"))
    stack = tensors[f"blk.2.{part}.weight"]
    tensors[f"blk.2.{part}.weight"] = np.concatenate([stack, stack])
    metadata = metadata_of(config) | byte_vocabulary(config["vocab_size"])
    path = write_gguf(tmp_path / "model.gguf", metadata, tensors)
    with pytest.raises(CheckpointError, match=r"does not fit its own metadata: .*\(8, "):
        open_model(gguf_directory(path, tmp_path / "cache"), make_mesh(), "float32")
