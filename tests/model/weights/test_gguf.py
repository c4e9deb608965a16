"""GGUF files hold the parameters that the hub's checkpoint holds."""

import json
from pathlib import Path

import gguf
import jax
import numpy as np
import pytest
from support.gguf_files import TYPES, from_hub, metadata_of, tensors_of, write_gguf
from support.published import LLAMA, random_tensors, write_published

from model.families.registry import FAMILIES, read_family
from model.loading import load_model
from model.mesh import make_mesh
from model.sources.gguf import gguf_directory
from model.weights.gguf import GgufStore
from model.weights.gguf_file import read_gguf
from model.weights.mapped import MappedFiles
from model.weights.gguf_parts import Part

FIXTURES = Path(__file__).parents[2] / "fixtures" / "models"
def config_of(name: str) -> dict:
    return json.loads((FIXTURES / name / "config.json").read_text())


# llama.cpp has no windows for Qwen2, and no layers without experts in a Qwen3-MoE.
NOT_IN_GGUF = ("qwen-2-window", "qwen-3-moe", "qwen-3-moe-raw")
VARIANTS = sorted(
    path.name for path in FIXTURES.iterdir() if path.is_dir() and path.name not in NOT_IN_GGUF
)
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
    assert checked | {"Qwen3MoeForCausalLM"} == set(FAMILIES)


KINDS = [kind for kind in TYPES if kind not in (TYPES.I8, TYPES.I16, TYPES.I32, TYPES.I64)]
NOT_READ = (TYPES.F64, TYPES.Q8_1, TYPES.Q8_K, TYPES.Q1_0)


def random_blocks(kind: gguf.GGMLQuantizationType, rows: int) -> np.ndarray:
    """Valid bytes: any are, but for the scales, of which some would be no numbers."""
    _, size = gguf.GGML_QUANT_SIZES[kind]
    generator = np.random.default_rng(kind.value)
    # No half-precision scale out of these bytes is infinite or not a number.
    return generator.integers(0, 0x78, (rows, 2 * size), np.uint8)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in NOT_READ], ids=str)
def test_every_kind_of_number_is_read_as_the_formats_package_reads_it(tmp_path, kind):
    data = random_blocks(kind, 40)
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_tensor("rows", data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    tensor = read_gguf(tmp_path / "model.gguf").tensors["rows"]
    part = Part.whole(tensor)
    values = part.values(MappedFiles([tensor.file]))
    assert values.shape == (40, 2 * gguf.GGML_QUANT_SIZES[kind][0])
    assert values.dtype == part.dtype
    np.testing.assert_array_equal(values.astype(np.float32), gguf.dequantize(data, kind))
