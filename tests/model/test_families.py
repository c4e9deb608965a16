"""Published configs: mapped exactly, or refused by name."""

import json

import pytest

from model.config import CheckpointError, LayerConfig, ModelConfig
from model.families.registry import read_config
from model.parameters import count_parameters
from model.rope import plain_rope

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
        num_heads=16,
        num_kv_heads=8,
        head_dim=128,
        ffn_dim=3072,
        context_length=40960,
        layers=(LayerConfig(plain_rope(1_000_000.0, 128)),) * 28,
        norm_eps=1e-6,
        qk_norm="head",
        tied_head=True,
    )
    assert count_parameters(config) == 596_049_920  # what the model card says, 0.6 B
    assert config.group_size == 2


def test_llama_2_7b_as_published(tmp_path):
    config = read(tmp_path, LLAMA)
    assert (config.num_kv_heads, config.head_dim, config.qk_norm) == (32, 128, "none")
    assert count_parameters(config) == 6_738_415_616


def test_the_newer_form_of_the_rope_base(tmp_path):
    parameters = {"rope_type": "default", "rope_theta": 5e5}
    assert read(tmp_path, LLAMA | {"rope_parameters": parameters}).layers[0].rope == plain_rope(
        5e5, 128
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["MambaForCausalLM"]}, "Mamba.*supported: .*LlamaForCausalLM"),
        ({"architectures": None}, "architecture None"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_type: 'dynamic'.*: default"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "rope_scaling lacks factor"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, "lacks low_freq_factor"),
        ({"rope_parameters": {"rope_theta": 1e4, "factor": 2.0}}, "not supported: factor"),
        ({"rope_scaling": "yarn"}, "rope_scaling: 'yarn'; it must be of type dict"),
        ({"hidden_act": "gelu"}, "hidden_act: 'gelu'.*supported: 'silu'"),
        ({"attention_bias": "no"}, "attention_bias: 'no'"),
        ({"head_dim": None, "num_attention_heads": 33}, "33 heads do not divide"),
        ({"quantization_config": {"bits": 4}}, r"quantized \(4 bits\), which is not served"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config lacks bits"),
        ({"hidden_size": "4096"}, "hidden_size: '4096'; it must be of type int"),
        ({"vocab_size": True}, "vocab_size: True"),
        ({"num_key_value_heads": 5}, "32 query heads cannot be shared by 5"),
        ({"head_dim": 127}, "needs it even"),
        ({"num_hidden_layers": 0}, "num_hidden_layers: 0"),
    ],
)
def test_what_we_do_not_have_is_refused_by_name(tmp_path, change, message):
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path, LLAMA | change)


def test_a_missing_key_is_named(tmp_path):
    config = {key: value for key, value in LLAMA.items() if key != "intermediate_size"}
    with pytest.raises(CheckpointError, match="lacks intermediate_size"):
        read(tmp_path, config)


def test_qwen3_with_a_window_on_its_upper_layers(tmp_path):
    change = {"use_sliding_window": True, "sliding_window": 4096, "max_window_layers": 20}
    config = read(tmp_path, QWEN3 | change)
    assert [layer.window for layer in config.layers] == [None] * 20 + [4096] * 8


GEMMA3 = {
    "architectures": ["Gemma3ForCausalLM"],
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 1152,
    "intermediate_size": 6912,
    "max_position_embeddings": 32768,
    "num_attention_heads": 4,
    "num_hidden_layers": 26,
    "num_key_value_heads": 1,
    "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-06,
    "rope_local_base_freq": 10000,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": 512,
    "sliding_window_pattern": 6,
    "vocab_size": 262144,
}
PHI4 = {
    "architectures": ["Phi3ForCausalLM"],
    "attention_bias": False,
    "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"},
    "embd_pdrop": 0.0,
    "hidden_act": "silu",
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "max_position_embeddings": 131072,
    "num_attention_heads": 24,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "original_max_position_embeddings": 4096,
    "partial_rotary_factor": 0.75,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "long_factor": [float(2 + i) for i in range(48)],
        "short_factor": [1.0] * 48,
        "type": "longrope",
    },
    "rope_theta": 10000.0,
    "sliding_window": 262144,
    "tie_word_embeddings": True,
    "vocab_size": 200064,
}
GPT_OSS = {
    "architectures": ["GptOssForCausalLM"],
    "attention_bias": True,
    "experts_per_token": 4,
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 2880,
    "initial_context_length": 4096,
    "intermediate_size": 2880,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "max_position_embeddings": 131072,
    "num_attention_heads": 64,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 24,
    "num_key_value_heads": 8,
    "num_local_experts": 32,
    "output_router_logits": False,
    "quantization_config": {
        "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"],
        "quant_method": "mxfp4",
    },
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "factor": 32.0,
        "original_max_position_embeddings": 4096,
        "rope_type": "yarn",
        "truncate": False,
    },
    "rope_theta": 150000,
    "router_aux_loss_coef": 0.9,
    "sliding_window": 128,
    "swiglu_limit": 7.0,
    "tie_word_embeddings": False,
    "vocab_size": 201088,
}


def test_gemma_3_1b_in_the_older_form(tmp_path):
    config = read(tmp_path, GEMMA3)
    assert count_parameters(config) == 999_885_952  # what the model card says, 1 B
    assert [layer.window for layer in config.layers[:7]] == [512] * 5 + [None, 512]
    assert config.layers[0].rope == plain_rope(10_000.0, 256)
    assert config.layers[5].rope == plain_rope(1_000_000.0, 256)
    newer = GEMMA3 | {
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 1_000_000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
        }
    }
    assert read(tmp_path, newer) == config


def test_phi_4_mini_in_the_older_form(tmp_path):
    config = read(tmp_path, PHI4)
    assert count_parameters(config) == 3_836_021_760  # 3.8 B
    assert len(config.layers[0].rope.frequencies) == 48
    # sqrt(1 + ln(131072 / 4096) / ln(4096)), the published attention factor.
    assert config.layers[0].rope.scale == pytest.approx(1.190238)
    assert config.for_context(4096) == config
    beyond = config.for_context(4097)
    assert beyond.layers[0].rope == config.long_rope
    assert beyond.layers[0].rope.frequencies[0] == pytest.approx(0.5)


def test_gpt_oss_20b_as_published(tmp_path):
    config = read(tmp_path, GPT_OSS)
    assert count_parameters(config) == 20_914_757_184  # the model card says 20.9 B
    assert config.experts is not None
    assert (config.experts.count, config.experts.chosen) == (32, 4)
    assert config.layers[0].rope.scale == pytest.approx(1.346574)  # 0.1 ln 32 + 1
    assert [layer.window for layer in config.layers[:3]] == [128, None, 128]


LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
QWEN3_MOE = QWEN3 | {
    "architectures": ["Qwen3MoeForCausalLM"],
    "moe_intermediate_size": 768,
    "num_experts": 128,
    "num_experts_per_tok": 8,
}


@pytest.mark.parametrize(
    ("base", "change", "message"),
    [
        (GEMMA3, {"layer_types": ["chunked_attention"] * 26}, "chunked_attention.*26 times"),
        (GEMMA3, {"layer_types": ["full_attention"]}, "must be 26 times"),
        (GEMMA3, {"sliding_window": None}, "sliding layers and no sliding_window"),
        (GEMMA3, {"sliding_window": 0}, "sliding_window: 0; it must be at least 1"),
        (GEMMA3, {"hidden_activation": "relu"}, "hidden_activation: 'relu'"),
        (GEMMA3, {"use_bidirectional_attention": True}, "use_bidirectional_attention: True"),
        (PHI4, {"rope_scaling": PHI4["rope_scaling"] | {"long_factor": [1.0]}}, "1 entries.*48"),
        (PHI4, {"rope_scaling": PHI4["rope_scaling"] | {"mscale": 1.0}}, "not supported: mscale"),
        (PHI4, {"partial_rotary_factor": 0.5 + 1 / 128}, "65 of 128 components"),
        (PHI4, {"partial_rotary_factor": 1.5}, "192 of 128 components; it must be an even number"),
        (PHI4, {"partial_rotary_factor": 0.0}, "partial_rotary_factor: 0.0; it must be above zero"),
        (PHI4, {"original_max_position_embeddings": 0}, "must be above zero"),
        (PHI4, {"original_max_position_embeddings": 1}, "'longrope' that has no finite"),
        (GPT_OSS, {"rope_theta": 1.0}, "'yarn' that has no finite"),
        (
            GPT_OSS,
            {"rope_scaling": GPT_OSS["rope_scaling"] | {"factor": 0.0}},
            "factor: 0.0; it must",
        ),
        (LLAMA, {"rope_scaling": {"type": "linear", "factor": -1.0}}, "factor: -1.0; it must"),
        (LLAMA, {"rope_theta": -1.0}, "rope_theta: -1.0; it must be above zero"),
        (LLAMA, {"rope_scaling": LLAMA3_ROPE | {"high_freq_factor": 1.0}}, "'llama3' that has no"),
        (GEMMA3, {"sliding_window_pattern": 0}, "sliding_window_pattern: 0; it must be above zero"),
        (GEMMA3, {"query_pre_attn_scalar": 0}, "query_pre_attn_scalar: 0"),
        (QWEN3_MOE, {"decoder_sparse_step": 0}, "decoder_sparse_step: 0; it must be above zero"),
        (GPT_OSS, {"quantization_config": {"quant_method": "hqq"}}, r"quantized \(hqq\)"),
        (GPT_OSS, {"swiglu_limit": 5.0}, "swiglu_limit: 5.0"),
        (GPT_OSS, {"num_experts_per_tok": 33}, "33 experts per token of 32"),
    ],
)
def test_what_a_family_does_not_have_is_refused_by_name(tmp_path, base, change, message):
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path, base | change)
