"""What is no speech model, or not one that we can run, is refused in a sentence."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.speech import FIXTURES, speech_model

from model.config import CheckpointError
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
    count = sum(int(np.prod(spec.shape)) for spec in specs.values())
    # Our zeros for biases of keys: two of the encoder, three and three of the decoder.
    assert count == sum(value.size for value in stored.values()) + 8 * 32
    model = speech_model("tiny")
    assert {name: value.shape for name, value in model.parameters.items()} == {
        name: spec.shape for name, spec in specs.items()
    }
    bias = model.parameters["decoder.blocks.0.cross.kv_bias"]
    assert not np.any(bias[:, 0])
    assert np.any(bias[:, 1])


def test_in_few_bits_of_float(directory):
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
