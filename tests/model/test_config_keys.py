"""Which keys of a config may pass unread, and what those mean that are not there."""

import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.published import LLAMA

from model.config import CheckpointError, ModelConfig
from model.families.registry import read_config

MODELS = Path(__file__).parents[1] / "fixtures" / "models"
PUBLISHED = {
    path.parent.name: json.loads(path.read_text()) for path in MODELS.glob("*/config.json")
}
# What transformers 4.2x wrote of every model.
DUMPED = {
    "add_cross_attention": False,
    "bad_words_ids": None,
    "begin_suppress_tokens": None,
    "chunk_size_feed_forward": 0,
    "cross_attention_hidden_size": None,
    "decoder_start_token_id": None,
    "diversity_penalty": 0.0,
    "do_sample": True,
    "early_stopping": False,
    "encoder_no_repeat_ngram_size": 0,
    "exponential_decay_length_penalty": None,
    "finetuning_task": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "is_decoder": False,
    "is_encoder_decoder": False,
    "length_penalty": 1.0,
    "max_length": 20,
    "min_length": 0,
    "no_repeat_ngram_size": 0,
    "num_beam_groups": 1,
    "num_beams": 1,
    "num_return_sequences": 1,
    "output_scores": False,
    "prefix": None,
    "pruned_heads": {},
    "remove_invalid_values": False,
    "repetition_penalty": 1.1,
    "return_dict_in_generate": False,
    "sep_token_id": None,
    "suppress_tokens": None,
    "task_specific_params": None,
    "temperature": 0.6,
    "tf_legacy_loss": False,
    "tie_encoder_decoder": False,
    "top_k": 50,
    "top_p": 0.9,
    "torchscript": False,
    "typical_p": 1.0,
    "use_bfloat16": False,
}


def read(tmp_path: Path, config: object) -> ModelConfig:
    (tmp_path / "config.json").write_text(json.dumps(config))
    return read_config(tmp_path)


def test_features_that_are_not_there_pass_with_one_line(tmp_path, caplog):
    plain = read(tmp_path, LLAMA | {"rope_scaling": {"type": "linear", "factor": 2.0}})
    scaling = {"type": "linear", "factor": 2.0, "mrope_section": None}
    change = {
        "is_llama_config": True,
        "quantization_config": None,
        "rope_scaling": scaling,
        "text_config": None,
        "transformers.js_config": {"dtype": "q4"},
        "use_moe": False,
    }
    with caplog.at_level(logging.INFO, logger="model"):
        assert read(tmp_path, LLAMA | change) == plain
    [record] = caplog.records
    assert record.getMessage() == (
        f"{tmp_path / 'config.json'} has keys that change nothing: rope_scaling.mrope_section, "
        "is_llama_config, quantization_config, text_config, transformers.js_config, use_moe"
    )


def test_a_config_without_such_keys_says_nothing(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="model"):
        read(tmp_path, LLAMA | {"model_type": "llama", "use_cache": False, "torch_dtype": None})
    assert not caplog.records


def test_defaults_for_generation_change_nothing(tmp_path):
    assert read(tmp_path, LLAMA | DUMPED) == read(tmp_path, LLAMA)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rope_interleaved": True}, "rope_interleaved: True, which is not supported"),
        ({"is_causal": False}, "is_causal: False, which is not supported"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads: {'0': \\[1\\]}, which is not"),
        ({"add_cross_attention": True}, "not supported: add_cross_attention"),
        ({"use_moe": 0}, "not supported: use_moe"),
        ({"no_rope_layers": []}, "not supported: no_rope_layers"),
        ({"quantization": {"bits": 4}}, r"quantized \(MLX, 4 bits\)"),
        ({"text_config": {"hidden_size": 32}}, "not supported: text_config"),
        (
            {"rope_scaling": {"type": "linear", "factor": 2.0, "mrope_section": [16, 24]}},
            "rope_scaling has keys .* not supported: mrope_section",
        ),
    ],
)
def test_what_could_change_the_numbers_is_refused_by_name(tmp_path, change, message):
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path, LLAMA | change)


@pytest.mark.parametrize(
    ("model", "change", "field", "value"),
    [
        ("llama-3.1", {"tie_word_embeddings": False}, "tied_head", False),
        ("gemma-2", {"tie_word_embeddings": False}, "tied_head", False),
        ("gemma-2", {"attn_logit_softcapping": None}, "attention_softcap", None),
        ("gpt-oss", {"attention_bias": False}, "qkv_bias", False),
        ("llama-bias", {"mlp_bias": False}, "mlp_bias", False),
    ],
)
def test_keys_with_a_meaning_keep_it_when_null_or_false(tmp_path, model, change, field, value):
    assert getattr(read(tmp_path, PUBLISHED[model]), field) != value
    assert getattr(read(tmp_path, PUBLISHED[model] | change), field) == value


@pytest.mark.parametrize(
    ("model", "change", "message"),
    [
        ("gemma-2", {"sliding_window_size": 9}, "sliding_window_size: 9, .* None, 8"),
        ("phi-4-mini", {"full_attn_mod": 2}, "full_attn_mod: 2, which is not supported"),
        ("phi-4-mini", {"interpolate_factor": 4}, "interpolate_factor: 4, which is not"),
        ("phi-4-mini", {"lm_head_bias": True}, "not supported: lm_head_bias"),
        ("qwen-3", {"use_qk_norm": False}, "use_qk_norm: False, which is not supported"),
        ("qwen-3-moe", {"use_qk_norm": False}, "use_qk_norm: False, which is not supported"),
        ("qwen-3-moe", {"qkv_bias": True}, "not supported: qkv_bias"),
        (
            "qwen-3-moe",
            {"shared_expert_intermediate_size": 8},
            "shared_expert_intermediate_size: 8, which is not supported",
        ),
        ("qwen-3-moe", {"mlp_only_layers": ["0"]}, "mlp_only_layers: \\['0'\\]; it must be"),
    ],
)
def test_a_family_refuses_other_values_of_its_neutral_keys(tmp_path, model, change, message):
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path, PUBLISHED[model] | change)


@pytest.mark.parametrize(
    ("model", "key", "field", "value"),
    [
        ("gemma-2", "attn_logit_softcapping", "attention_softcap", 50.0),
        ("gemma-2", "final_logit_softcapping", "logit_softcap", 30.0),
        ("gemma-3", "attn_logit_softcapping", "attention_softcap", None),
        ("llama-2", "rms_norm_eps", "norm_eps", 1e-6),
        ("mixtral", "rms_norm_eps", "norm_eps", 1e-5),
        ("olmo-2", "rms_norm_eps", "norm_eps", 1e-5),
        ("phi-3", "rms_norm_eps", "norm_eps", 1e-5),
        ("gpt-oss", "rms_norm_eps", "norm_eps", 1e-5),
    ],
)
def test_a_key_that_is_not_there_is_what_the_reference_implementation_takes(
    tmp_path, model, key, field, value
):
    config = {name: PUBLISHED[model][name] for name in PUBLISHED[model] if name != key}
    assert getattr(read(tmp_path, config), field) == value


def test_a_mistral_without_the_key_has_the_first_ones_window(tmp_path):
    config = PUBLISHED["mistral"] | {"sliding_window": None}
    assert {layer.window for layer in read(tmp_path, config).layers} == {None}
    del config["sliding_window"]
    assert {layer.window for layer in read(tmp_path, config).layers} == {4096}


def test_a_mixtral_without_the_key_has_its_base(tmp_path):
    config = {
        key: value
        for key, value in PUBLISHED["mixtral"].items()
        if key not in ("rope_theta", "rope_parameters")
    }
    rope = read(tmp_path, config).layers[0].rope
    assert rope.frequencies[1] == pytest.approx(1_000_000 ** (-2 / 8))


def test_a_gpt_oss_without_its_rotary_embedding_is_refused(tmp_path):
    config = {
        key: value
        for key, value in PUBLISHED["gpt-oss"].items()
        if key not in ("rope_scaling", "rope_parameters")
    }
    with pytest.raises(CheckpointError, match="lacks rope_scaling"):
        read(tmp_path, config)


ODD = (None, True, -1, 1.5, math.inf, 10**400, "x", [{}], {"x": [1]})


def changed(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The config with each of its values, nested ones too, replaced by each odd one."""
    for key, value in config.items():
        for odd in ODD:
            yield config | {key: odd}
        if isinstance(value, dict):
            yield from (config | {key: inner} for inner in changed(value))


@pytest.mark.parametrize("model", ["gemma-3", "gpt-oss-mxfp4", "phi-4-mini", "qwen-3-moe"])
def test_a_value_of_any_kind_is_read_or_refused_in_a_sentence(tmp_path, model):
    refusals: list[str] = []
    for config in changed(PUBLISHED[model]):
        try:
            read(tmp_path, config)
        except CheckpointError as error:
            refusals.append(str(error))
    assert len(refusals) > 100
    assert not any("\n" in refusal for refusal in refusals)
