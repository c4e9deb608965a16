"""What is no speech model, or not one that we can run, is refused in a sentence."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.speech import FIXTURES, speech_model

from model.config import CheckpointError
from model.families.whisper import whisper_config, whisper_weights
from model.speech.loading import load_speech, read_speech
from model.speech.parameters import speech_specs
from model.tokenizer import TokenizerError


@pytest.fixture
def directory(tmp_path) -> Path:
    return Path(shutil.copytree(FIXTURES / "tiny", tmp_path / "whisper"))


def change(path: Path, **values: Any) -> None:
    """Other values of a JSON file; None takes a key away."""
    whole = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in whole.items() if value is not None}))


def refusal(directory: Path) -> str:
    with pytest.raises((CheckpointError, TokenizerError)) as caught:
        load_speech(directory, "float32")
    return str(caught.value)


def test_the_shape():
    config = read_speech(FIXTURES / "tiny-128")
    assert (config.mels, config.moments, config.frames, config.window) == (128, 150, 300, 48_000)
    assert (config.positions, config.most_tokens) == (48, 24)
    assert (config.encoder_heads, config.decoder_heads) == (4, 2)


def test_parameters_are_those_of_the_files():
    stored = load_file(FIXTURES / "tiny" / "model.safetensors")
    specs = speech_specs(read_speech(FIXTURES / "tiny"))
    count = sum(math.prod(spec.shape) for spec in specs.values())
    # Our zeros for biases of keys: two of the encoder, three and three of the decoder.
    assert count == sum(value.size for value in stored.values()) + 8 * 32
    model = speech_model("tiny")
    assert {name: value.shape for name, value in model.parameters.items()} == {
        name: spec.shape for name, spec in specs.items()
    }
    bias = model.parameters["decoder.blocks.0.cross.kv_bias"]
    assert not np.any(bias[:, 0])
    assert np.any(bias[:, 1])


# Width, layers of encoder and decoder, values of a frame, tokens, and how many parameters
# transformers counts of a model of that shape.
@pytest.mark.parametrize(
    ("embed", "encoder", "decoder", "mels", "vocab", "parameters"),
    [
        (384, 4, 4, 80, 51_865, 37_760_640),
        (384, 4, 4, 80, 51_864, 37_760_256),
        (768, 12, 12, 80, 51_865, 241_734_912),
        (1280, 32, 32, 128, 51_866, 1_543_490_560),
        (1280, 32, 4, 128, 51_866, 808_878_080),
    ],
    ids=["tiny", "tiny.en", "small", "large-v3", "large-v3-turbo"],
)
def test_published_sizes(embed, encoder, decoder, mels, vocab, parameters):
    config = published_config(embed, encoder, decoder, mels, vocab)
    shape = whisper_config(config, "config.json")
    assert (shape.window, shape.most_tokens) == (30 * 16_000, 224)
    zeros = (encoder + 2 * decoder) * embed
    specs = speech_specs(shape)
    assert sum(math.prod(spec.shape) for spec in specs.values()) == parameters + zeros
    assert set(whisper_weights(shape)) == set(specs)


def published_config(embed: int, encoder: int, decoder: int, mels: int, vocab: int) -> Any:
    """With the keys of openai/whisper-large-v3."""
    both = {
        f"{side}_{key}": value
        for side, layers in (("encoder", encoder), ("decoder", decoder))
        for key, value in (
            ("layers", layers),
            ("attention_heads", embed // 64),
            ("ffn_dim", 4 * embed),
            ("layerdrop", 0.0),
        )
    }
    return both | {
        "_name_or_path": "openai/whisper-large-v3",
        "activation_dropout": 0.0,
        "activation_function": "gelu",
        "apply_spec_augment": False,
        "architectures": ["WhisperForConditionalGeneration"],
        "attention_dropout": 0.0,
        "begin_suppress_tokens": [220, 50257],
        "bos_token_id": 50257,
        "classifier_proj_size": 256,
        "d_model": embed,
        "decoder_start_token_id": 50258,
        "dropout": 0.0,
        "eos_token_id": 50257,
        "forced_decoder_ids": [[1, 50259], [2, 50359], [3, 50363]],
        "init_std": 0.02,
        "is_encoder_decoder": True,
        "mask_feature_length": 10,
        "mask_feature_min_masks": 0,
        "mask_feature_prob": 0.0,
        "mask_time_length": 10,
        "mask_time_min_masks": 2,
        "mask_time_prob": 0.05,
        "max_length": 448,
        "max_source_positions": 1500,
        "max_target_positions": 448,
        "median_filter_width": 7,
        "model_type": "whisper",
        "num_hidden_layers": encoder,
        "num_mel_bins": mels,
        "pad_token_id": 50256,
        "scale_embedding": False,
        "suppress_tokens": [1, 2, 7],
        "torch_dtype": "float16",
        "transformers_version": "4.36.0.dev0",
        "use_cache": True,
        "use_weighted_layer_sum": False,
        "vocab_size": vocab,
    }


def test_in_bfloat16(directory):
    model = load_speech(directory, "bfloat16")
    assert {value.dtype for value in model.parameters.values()} == {jnp.dtype("bfloat16")}
    (heard,) = model([(np.zeros(100, np.float32), "de")])
    assert heard.language == "de"


def test_a_head_of_its_own_is_the_embedding(directory):
    tensors = load_file(directory / "model.safetensors")
    tensors["proj_out.weight"] = tensors["model.decoder.embed_tokens.weight"]
    save_file(tensors, directory / "model.safetensors")
    assert load_speech(directory).config == speech_model("tiny").config


@pytest.mark.parametrize(
    ("file", "values", "told"),
    [
        ("config.json", {"architectures": ["LlamaForCausalLM"]}, "speech is recognized by a Whis"),
        ("config.json", {"activation_function": "relu"}, "activation_function: 'relu', which is"),
        ("config.json", {"scale_embedding": True}, "scale_embedding: True, which is not supported"),
        ("config.json", {"encoder_attention_heads": 5}, "5 heads do not divide"),
        ("config.json", {"max_target_positions": 4}, "max_target_positions below 8"),
        ("config.json", {"d_model": None}, "lacks d_model"),
        ("config.json", {"new_thing": 3}, "keys that could change the numbers"),
        ("config.json", {"encoder_layers": 3}, "lacks the tensor model.encoder.layers.2."),
        ("config.json", {"encoder_layers": 1}, "has the tensor model.encoder.layers.1."),
        ("config.json", {"num_mel_bins": 90}, "feature_size: 80, which is not supported"),
        ("config.json", {"vocab_size": 200}, "names the token 281; tokens are below 200"),
        ("config.json", {"vocab_size": 299}, "cannot be decoder.tokens (299, 32)"),
        ("config.json", {"decoder_ffn_dim": 60}, "does not fit config.json"),
        ("preprocessor_config.json", {"sampling_rate": 8000}, "sampling_rate: 8000, which is not"),
        ("preprocessor_config.json", {"n_samples": 480_000}, "supported: 48000"),
        ("generation_config.json", {"no_timestamps_token_id": None}, "lacks no_timestamps_token"),
        ("generation_config.json", {"lang_to_id": {"en": 5}}, "has 'en' in lang_to_id"),
        ("generation_config.json", {"task_to_id": {"translate": 5}}, "the task transcribe"),
        ("generation_config.json", {"suppress_tokens": ["a"]}, "names the token 'a'"),
        ("generation_config.json", {"eos_token_id": [1, 2]}, "must be of type int"),
    ],
)
def test_what_a_file_says(directory, file, values, told):
    change(directory / file, **values)
    assert told in refusal(directory)


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("config.json", "has no config.json"),
        ("generation_config.json", "generation_config.json"),
        ("model.safetensors", "neither model.safetensors nor"),
        ("tokenizer.json", "has no tokenizer"),
    ],
)
def test_what_is_missing(directory, file, told):
    (directory / file).unlink()
    assert told in refusal(directory)


def test_it_is_prepared_in_one_way_where_nothing_is_said(directory):
    (directory / "preprocessor_config.json").unlink()
    assert load_speech(directory).config == speech_model("tiny").config


def test_no_directory(tmp_path):
    assert "is not a directory" in refusal(tmp_path / "none")
