"""Checkpoint directories: what is saved comes back, and what is broken is refused."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from support.tiny import ROPE_THETA, TINY, tiny_parameters

from model import bundled
from model.config import CheckpointError, ModelConfig
from model.loading import load_end_ids, load_model, load_tokenizer, resolve_dtype
from model.mesh import make_mesh
from model.parameters import count_parameters, parameter_specs, random_parameters
from model.tokenizer import TokenizerError
from model.weights.manifest import check_manifest, describe, write_manifest
from model.weights.orbax import OrbaxWeights, save_weights

FLOAT32 = jnp.dtype("float32")


def published(config: ModelConfig) -> dict:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "vocab_size": config.vocab_size,
        "hidden_size": config.embed_dim,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.ffn_dim,
        "max_position_embeddings": config.context_length,
        "rope_theta": ROPE_THETA,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied_head,
    }


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("checkpoint")
    (directory / "config.json").write_text(json.dumps(published(TINY)))
    save_weights(directory, tiny_parameters())
    return directory


@pytest.fixture
def checkpoint(saved, tmp_path):
    """A copy that a test may break."""
    return shutil.copytree(saved, tmp_path / "copy")


def test_weights_come_back_bit_by_bit(saved):
    model = load_model(saved, make_mesh(), "float32")
    assert model.config == TINY
    wanted = tiny_parameters()
    assert model.parameters.keys() == wanted.keys()
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, wanted[name])


def test_weights_are_converted_to_the_wanted_dtype(saved):
    model = load_model(saved, make_mesh(), "bfloat16")
    assert {value.dtype for value in model.parameters.values()} == {jnp.dtype("bfloat16")}


def test_the_shape_accounts_for_every_parameter():
    for config in (TINY, replace(TINY, qk_norm="none", tied_head=True, num_kv_heads=6)):
        specs = parameter_specs(config)
        assert sum(np.prod(spec.shape) for spec in specs.values()) == count_parameters(config)
        assert {
            name: value.shape for name, value in random_parameters(config, FLOAT32, 0).items()
        } == {name: spec.shape for name, spec in specs.items()}


def test_a_directory_that_is_none(tmp_path):
    with pytest.raises(CheckpointError, match="is not a directory"):
        load_model(tmp_path / "nothing", make_mesh())


def test_an_empty_directory(tmp_path):
    with pytest.raises(CheckpointError, match="is empty"):
        load_model(tmp_path, make_mesh())


@pytest.mark.parametrize("text", ["{", "[]", "3"])
def test_a_config_that_is_no_object(checkpoint, text):
    (checkpoint / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_model(checkpoint, make_mesh())


def test_missing_weights(checkpoint):
    shutil.rmtree(checkpoint / "weights")
    with pytest.raises(CheckpointError, match="has no weights"):
        load_model(checkpoint, make_mesh())


def test_weights_that_were_never_finished(checkpoint):
    (checkpoint / "weights" / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"no manifest\.json.*cut short"):
        load_model(checkpoint, make_mesh())


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"files": []}', '{"files": {"d": 3}}', '{"files": {"d": {}}}']
)
def test_a_manifest_that_is_none(checkpoint, text):
    (checkpoint / "weights" / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        load_model(checkpoint, make_mesh())


def data_file(checkpoint: Path) -> Path:
    """The largest file of the weights."""
    files = (path for path in (checkpoint / "weights").rglob("*") if path.is_file())
    return max(files, key=lambda path: path.stat().st_size)


def test_weights_with_a_lost_data_file(checkpoint):
    path = data_file(checkpoint)
    path.unlink()
    with pytest.raises(CheckpointError, match=f"{path.name} is missing"):
        load_model(checkpoint, make_mesh())


def test_weights_with_a_truncated_data_file(checkpoint):
    path = data_file(checkpoint)
    os.truncate(path, 100)
    with pytest.raises(CheckpointError, match=f"{path.name} is 100 bytes long and was written"):
        load_model(checkpoint, make_mesh())


def test_weights_with_one_damaged_bit(checkpoint):
    path = data_file(checkpoint)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{path.name} is damaged"):
        load_model(checkpoint, make_mesh())


def test_a_whole_manifest_of_something_else(checkpoint):
    shutil.rmtree(checkpoint / "weights")
    (checkpoint / "weights").mkdir()
    (checkpoint / "weights" / "notes").mkdir()
    (checkpoint / "weights" / "notes" / "today.txt").write_text("none")
    write_manifest(checkpoint / "weights", describe(checkpoint / "weights"))
    with pytest.raises(CheckpointError, match="is not an Orbax checkpoint"):
        load_model(checkpoint, make_mesh())


def test_the_bundled_weights_are_whole():
    check_manifest(bundled.directory() / "weights")


def test_weights_of_another_shape_name_a_parameter(saved):
    other = replace(TINY, ffn_dim=64)
    with pytest.raises(
        CheckpointError, match=r"blocks\.0\.mlp\.down is \(48, 32\) there and \(64, 32\)"
    ):
        OrbaxWeights(saved, other)


def test_missing_and_extra_parameters_are_named(saved):
    with pytest.raises(CheckpointError, match=r"blocks\.2.* is missing there"):
        OrbaxWeights(saved, replace(TINY, layers=TINY.layers[:1] * 3))
    with pytest.raises(CheckpointError, match=r"head\.weight is .* unknown by the config"):
        OrbaxWeights(saved, replace(TINY, tied_head=True))


def test_a_tokenizer_that_is_none(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(b"no model")
    with pytest.raises(TokenizerError, match="not a readable SentencePiece model"):
        load_tokenizer(tmp_path, TINY)


def test_a_tokenizer_larger_than_the_model():
    with pytest.raises(CheckpointError, match="ids and the model only 67"):
        load_tokenizer(bundled.directory(), TINY)


class NoNames:
    """A tokenizer that says nothing of its special tokens."""

    vocab_size = 67
    opening = ()
    strips: dict[int, tuple[bool, bool]] = {}  # noqa: RUF012
    controls = {"</s>": 7}  # noqa: RUF012
    named: dict[str, str] = {}  # noqa: RUF012

    def encode(self, text, *, at_start=True):
        raise NotImplementedError

    token_bytes = token_text = encode


class NamesItsEnd(NoNames):
    named = {"eos_token": "</s>"}  # noqa: RUF012


@pytest.mark.parametrize("file", ["generation_config.json", "config.json"])
@pytest.mark.parametrize("value", [[], "3", [1, "2"], 67, -1, True])
def test_end_ids_that_are_none(tmp_path, file, value):
    (tmp_path / file).write_text(json.dumps({"eos_token_id": value}))
    with pytest.raises(CheckpointError, match=rf"{file} has eos_token_id"):
        load_end_ids(tmp_path, TINY, NamesItsEnd())


def test_end_ids(tmp_path):
    for value in (3, [3, 5]):
        (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": value}))
        expected = frozenset([3, 5] if value != 3 else [3])
        assert load_end_ids(tmp_path, TINY, NamesItsEnd()) == expected


def test_where_end_ids_are_looked_for(tmp_path):
    assert load_end_ids(tmp_path, TINY, NoNames()) == frozenset()
    assert load_end_ids(tmp_path, TINY, NamesItsEnd()) == {7}
    (tmp_path / "config.json").write_text('{"eos_token_id": 9}')
    assert load_end_ids(tmp_path, TINY, NamesItsEnd()) == {9}
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": null}')
    assert load_end_ids(tmp_path, TINY, NamesItsEnd()) == {9}
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [2, 4]}')
    assert load_end_ids(tmp_path, TINY, NamesItsEnd()) == {2, 4}


def test_a_generation_config_that_is_broken(tmp_path):
    (tmp_path / "generation_config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"generation_config\.json is not valid JSON"):
        load_end_ids(tmp_path, TINY, NamesItsEnd())


def test_dtypes():
    assert resolve_dtype("auto") == FLOAT32  # on CPU
    with pytest.raises(CheckpointError, match="one of auto, float32, bfloat16"):
        resolve_dtype("int3")
