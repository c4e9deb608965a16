"""Published configs: mapped exactly, or refused by name."""

import json

import pytest

from model.config import CheckpointError, ModelConfig
from model.families.registry import read_config

QWEN3 = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 1024,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "max_position_embeddings": 40960,
    "max_window_layers": 28,
    "model_type": "qwen3",
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.51.0",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "max_position_embeddings": 4096,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "rms_norm_eps": 1e-05,
    "vocab_size": 32000,
}


def read(tmp_path, config: object) -> ModelConfig:
    (tmp_path / "config.json").write_text(json.dumps(config))
    return read_config(tmp_path)


def test_qwen3_0_6b_as_published(tmp_path):
    config = read(tmp_path, QWEN3)
    assert config == ModelConfig(
        vocab_size=151936,
        embed_dim=1024,
        num_layers=28,
        num_heads=16,
        num_kv_heads=8,
        head_dim=128,
        ffn_dim=3072,
        context_length=40960,
        rope_theta=1_000_000.0,
        norm_eps=1e-6,
        qk_norm=True,
        tied_head=True,
    )
    assert config.num_parameters == 596_049_920  # what the model card says, 0.6 B
    assert config.group_size == 2


def test_llama_2_7b_as_published(tmp_path):
    config = read(tmp_path, LLAMA)
    assert (config.num_kv_heads, config.head_dim, config.qk_norm) == (32, 128, False)
    assert config.num_parameters == 6_738_415_616


def test_the_newer_form_of_the_rope_base(tmp_path):
    parameters = {"rope_type": "default", "rope_theta": 5e5}
    assert read(tmp_path, LLAMA | {"rope_parameters": parameters}).rope_theta == 5e5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["MambaForCausalLM"]}, "Mamba.*supported: LlamaForCausalLM"),
        ({"architectures": None}, "architecture None"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "rope_scaling.*yarn"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "rope_type: 'llama3'"),
        ({"rope_parameters": {"rope_theta": 1e4, "factor": 2.0}}, "not supported: factor"),
        ({"hidden_act": "gelu"}, "hidden_act: 'gelu'.*supported: 'silu'"),
        ({"attention_bias": True}, "attention_bias: True"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"quantization_config": {"bits": 4}}, "not supported: quantization_config"),
        ({"hidden_size": "4096"}, "hidden_size: '4096'; it must be of type int"),
        ({"vocab_size": True}, "vocab_size: True"),
        ({"num_key_value_heads": 5}, "32 query heads cannot be shared by 5"),
        ({"head_dim": 127}, "needs it even"),
        ({"num_hidden_layers": 0}, "num_layers is 0"),
    ],
)
def test_what_we_do_not_have_is_refused_by_name(tmp_path, change, message):
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path, LLAMA | change)


def test_a_missing_key_is_named(tmp_path):
    config = {key: value for key, value in LLAMA.items() if key != "intermediate_size"}
    with pytest.raises(CheckpointError, match="lacks intermediate_size"):
        read(tmp_path, config)


def test_qwen3_with_sliding_windows_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="use_sliding_window: True"):
        read(tmp_path, QWEN3 | {"use_sliding_window": True})
