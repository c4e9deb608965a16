"""A GGUF file's metadata is the config that the hub's checkpoint has."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.gguf_files import (
    TYPES,
    byte_vocabulary,
    from_hub,
    llama3_factors,
    metadata_of,
    tensors_of,
    write_gguf,
)
from support.published import LLAMA, random_tensors

from model.config import CheckpointError, ModelConfig
from model.families.registry import read_config
from model.sources.gguf import gguf_directory
from model.sources.gguf.config import hub_config
from model.weights.gguf_file import Gguf, GgufTensor, read_gguf

FIXTURES = Path(__file__).parents[3] / "fixtures" / "models"
SAME = (
    "gpt-oss",
    "llama-2",
    "llama-bias",
    "llama-linear",
    "mixtral",
    "olmo-2",
    "phi-3",
    "phi-4-mini",
    "phi-4-mini-long",
    "qwen-2.5",
    "qwen-3",
    "qwen-3-yarn",
)
CONFIG = LLAMA | {"rope_parameters": {"rope_theta": 10_000.0}, "vocab_size": 300}


def config_of(name: str) -> dict[str, Any]:
    return json.loads((FIXTURES / name / "config.json").read_text())


def read(directory: Path, name: str) -> ModelConfig:
    file = from_hub(FIXTURES / name, directory / "model.gguf")
    return read_config(gguf_directory(file, directory / "cache"))


def with_metadata(
    directory: Path, more: dict[str, Any], config: dict[str, Any] = CONFIG
) -> dict[str, Any]:
    """The hub's config of a small Llama, or of what `more` makes of it; None takes a key away."""
    facts = metadata_of(config) | byte_vocabulary(config["vocab_size"]) | more
    kept = {key: value for key, value in facts.items() if value is not None}
    tensors = tensors_of(config, random_tensors(config))
    return hub_config(read_gguf(write_gguf(directory / "model.gguf", kept, tensors)))


def about(architecture: str, more: dict[str, Any]) -> dict[str, Any]:
    """The hub's config of a model of which only metadata matters."""
    keys = {
        "context_length": 64,
        "embedding_length": 5376,
        "block_count": 2,
        "feed_forward_length": 8,
        "attention.head_count": 32,
        "attention.key_length": 128,
        "attention.value_length": 128,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "attention.sliding_window": 1024,
    } | more
    metadata = {"general.architecture": architecture}
    metadata |= {f"{architecture}.{key}": value for key, value in keys.items()}
    place = Path("model.gguf")
    embedding = GgufTensor("token_embd.weight", place, TYPES.F32, (256, 5376), 0, 0)
    return hub_config(Gguf((place,), metadata, {embedding.name: embedding}, ("",)))


@pytest.mark.parametrize("name", SAME)
def test_the_decoder_is_the_hubs(tmp_path, name):
    assert read(tmp_path, name) == read_config(FIXTURES / name)


@pytest.mark.parametrize("name", ["gemma-2", "gemma-3"])
def test_gemmas_scale_follows_from_the_size_of_heads(tmp_path, name):
    # The fixtures have one of their own, which the format has no key for.
    assert read(tmp_path, name) == replace(read_config(FIXTURES / name), query_scale=16**-0.5)


@pytest.mark.parametrize(
    ("architecture", "layers", "scalar"),
    [("gemma2", 42, 128), ("gemma2", 46, 168), ("gemma3", 48, 128), ("gemma3", 62, 168)],
)
def test_the_largest_gemmas_scale_by_another_size(architecture, layers, scalar):
    assert about(architecture, {"block_count": layers})["query_pre_attn_scalar"] == scalar


def test_gemma3s_windows_and_bases():
    config = about("gemma3", {"rope.freq_base_swa": 20_000.0})
    assert config["sliding_window_pattern"] == 6
    assert (config["rope_theta"], config["rope_local_base_freq"]) == (1_000_000.0, 20_000.0)
    assert about("gemma3", {"attention.sliding_window_pattern": 2})["sliding_window_pattern"] == 2
    windows = {"attention.sliding_window_pattern": [True, False]}
    assert about("gemma3", windows)["layer_types"] == ["sliding_attention", "full_attention"]


def test_llama3s_frequencies_are_those_of_its_tensor(tmp_path):
    found, hub = read(tmp_path, "llama-3.1"), read_config(FIXTURES / "llama-3.1")
    assert np.unique(llama3_factors(config_of("llama-3.1"))).size > 1
    for length in (64, 256, 1000):
        served = found.for_context(length)
        for layer, wanted in zip(served.layers, hub.layers, strict=True):
            assert layer.rope.scale == 1
            np.testing.assert_allclose(
                layer.rope.frequencies, wanted.rope.frequencies, rtol=2e-7, atol=0
            )
    assert found.context_length == hub.context_length


def test_a_window_makes_a_llama_a_mistral(tmp_path):
    config = with_metadata(tmp_path, {"llama.attention.sliding_window": 8})
    assert config["architectures"] == ["MistralForCausalLM"]
    assert config["sliding_window"] == 8
    config = with_metadata(tmp_path, {"llama.attention.sliding_window": 0})
    assert config["architectures"] == ["LlamaForCausalLM"]


def test_numbers_are_the_shortest_of_their_float32(tmp_path):
    config = with_metadata(tmp_path, {})
    assert config["rms_norm_eps"] == 1e-6
    assert metadata_of(CONFIG)["llama.attention.layer_norm_rms_epsilon"] != 1e-6


def test_one_number_for_all_layers_may_be_said_of_each(tmp_path):
    config = with_metadata(tmp_path, {"llama.attention.head_count_kv": [2, 2]})
    assert config["num_key_value_heads"] == 2
    with pytest.raises(
        CheckpointError, match=r"another llama\.attention\.head_count_kv .*\(1, 2\)"
    ):
        with_metadata(tmp_path, {"llama.attention.head_count_kv": [1, 2]})


def test_no_experts_are_said_as_zero(tmp_path):
    config = with_metadata(tmp_path, {"llama.expert_count": 0, "llama.expert_used_count": 0})
    assert config["architectures"] == ["LlamaForCausalLM"]


def test_part_of_each_head_is_rotated():
    for width in range(2, 129, 2):
        share = about("phi3", {"rope.dimension_count": width})["partial_rotary_factor"]
        assert int(128 * share) == width
    # 30 / 44 · 44 is a little less than 30.
    odd = {"attention.key_length": 44, "attention.value_length": 44, "rope.dimension_count": 30}
    assert int(44 * about("phi3", odd)["partial_rotary_factor"]) == 30


def test_what_scores_are_multiplied_by_is_told_where_it_is_another(tmp_path):
    config = config_of("phi-4-mini")
    tensors = tensors_of(config, {})
    tensors["token_embd.weight"] = np.zeros((320, 64), np.float32)
    facts = metadata_of(config)

    def scaling(factor: float) -> dict[str, Any]:
        more = facts | {"phi3.rope.scaling.attn_factor": factor}
        path = write_gguf(tmp_path / "model.gguf", more, tensors)
        return hub_config(read_gguf(path))["rope_scaling"]

    assert "attention_factor" not in scaling(facts["phi3.rope.scaling.attn_factor"])
    assert scaling(1.25)["attention_factor"] == 1.25


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"general.architecture": "smollm3"}, "architecture 'smollm3', which is not supported"),
        ({"general.architecture": "clip"}, r"beside one \(mmproj\)"),
        ({"general.type": "adapter"}, r"beside one \(adapter\)"),
        ({"general.type": "imatrix"}, r"beside one \(imatrix\)"),
        ({"general.type": [1, 2]}, r"beside one \(\[1, 2\]\)"),
        ({"llama.expert_count": [4, 0]}, r"another llama\.expert_count .*\(4, 0\)"),
        ({"llama.block_count": None}, "lacks llama.block_count"),
        ({"llama.block_count": "two"}, "llama.block_count: 'two'; it must be of type int"),
        ({"llama.attention.head_count": 0}, "llama.attention.head_count: 0; it must be above"),
        ({"llama.attention.value_length": 16}, "llama.attention.value_length: 16, which is not"),
        ({"llama.attention.causal": False}, "llama.attention.causal: False, which is not"),
        ({"llama.logit_scale": 2.0}, "could change the numbers.*: llama.logit_scale"),
        ({"llama.rope.scaling.type": "longrope"}, "llama.rope.scaling.type: 'longrope'"),
        (
            {"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": 8.0},
            "llama.rope.scaling.factor: 8.0, which is not",
        ),
        (
            {
                "llama.rope.scaling.type": "yarn",
                "llama.rope.scaling.factor": 8.0,
                "llama.rope.scaling.attn_factor": 0.5,
            },
            "llama.rope.scaling.attn_factor: 0.5, which is not",
        ),
    ],
    ids=range(15),
)
def test_what_is_not_read_is_refused_by_name(tmp_path, more, words):
    with pytest.raises(CheckpointError, match=words) as raised:
        with_metadata(tmp_path, more)
    assert str(tmp_path / "model.gguf") in str(raised.value)


def test_a_vocabulary_alone_is_no_model(tmp_path):
    path = write_gguf(tmp_path / "model.gguf", metadata_of(CONFIG), {})
    with pytest.raises(CheckpointError, match="a vocabulary and no tensors"):
        hub_config(read_gguf(path))


def test_a_model_without_an_embedding(tmp_path):
    other = {"output.weight": np.zeros((300, 32), np.float32)}
    path = write_gguf(tmp_path / "model.gguf", metadata_of(CONFIG), other)
    with pytest.raises(CheckpointError, match=r"lacks the tensor token_embd\.weight"):
        hub_config(read_gguf(path))


def test_frequencies_of_another_kind(tmp_path):
    tensors = tensors_of(CONFIG, random_tensors(CONFIG))
    tensors["rope_freqs.weight"] = np.ones(4, np.float16)
    path = write_gguf(tmp_path / "model.gguf", metadata_of(CONFIG), tensors)
    with pytest.raises(CheckpointError, match=r"rope_freqs.weight as F16 of shape \(4,\)"):
        hub_config(read_gguf(path))


def test_what_the_family_refuses_is_said_of_the_file(tmp_path):
    facts = metadata_of(CONFIG) | byte_vocabulary(300) | {"llama.rope.freq_base": 1e-44}
    path = write_gguf(tmp_path / "model.gguf", facts, tensors_of(CONFIG, random_tensors(CONFIG)))
    directory = gguf_directory(path, tmp_path / "cache")
    (directory / "config.json").write_text(
        (directory / "config.json").read_text().replace('"silu"', '"relu"')
    )
    with pytest.raises(CheckpointError) as raised:
        read_config(directory)
    assert str(raised.value).startswith(f"{path} has hidden_act: 'relu'")
