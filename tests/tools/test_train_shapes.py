"""The trainer of the small model that sees: what it computes is what the engine will."""

import json
import random
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner

from model.loading import load_model
from model.mesh import make_mesh
from model.parameters import random_arrays
from model.vision.loading import open_tower
from model.vision.parameters import random_tower_parameters
from tools import train_shapes
from tools.shapes.batches import Reader
from tools.shapes.checkpoint import shapes_of, write_texts, write_weights
from tools.shapes.conversations import conversation
from tools.train_shapes import DECODER, TOWER, Shape, logits, texts

FILES = {
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights."""
    target = tmp_path_factory.mktemp("shapes") / "model"
    write_texts(target, texts(0))
    text, vision = shapes_of(target)
    wide = jnp.dtype("float32")
    write_weights(target, random_arrays(text, wide, 1), random_tower_parameters(vision, wide, 1))
    return target


def test_what_is_exported_is_loaded_bit_for_bit(directory: Path) -> None:
    text, vision = shapes_of(directory)
    wide = jnp.dtype("float32")
    loaded, tower = (
        load_model(directory, make_mesh(), "float32"),
        open_tower(directory, make_mesh(), "float32"),
    )
    assert tower is not None
    for given, found in (
        (random_arrays(text, wide, 1), loaded.parameters),
        (random_tower_parameters(vision, wide, 1), tower.load().parameters),
    ):
        assert given.keys() == found.keys()
        for name, value in given.items():
            np.testing.assert_array_equal(found[name], value.astype(jnp.bfloat16), err_msg=name)
    assert {path.name for path in directory.iterdir()} == FILES
    assert (directory / "model.safetensors").stat().st_size < 4e6


def test_answers_are_what_follows_the_assistants_header(directory: Path) -> None:
    reader = Reader(directory)
    item = conversation(random.Random(0), 2, 2)
    ids, images = reader.prompt(item, [reader.look(each) for each in item.pictures])
    numbers = reader.answers(ids)
    tokenizer = reader.renderer.tokenizer
    for number, exchange in enumerate(item.exchanges, 1):
        said = [token for token, each in zip(ids, numbers, strict=True) if each == number]
        assert said == [*tokenizer.encode(exchange.answer), tokenizer.controls["<|im_end|>"]]
        prompt, _ = reader.prompt(
            item, [reader.look(each) for each in item.pictures], asked=number - 1
        )
        assert ids[: numbers.index(number)] == prompt
    assert [image.tokens for image in images] == [
        ids[image.start :].index(ids[image.start + image.tokens]) for image in images
    ]


def test_a_row_is_computed_as_if_alone(directory: Path) -> None:
    """Its pictures are its own, wherever they are in the batch."""
    reader, shape = Reader(directory), Shape(*shapes_of(directory))
    wide = jnp.dtype("float32")
    parameters = {
        **{DECODER + name: value for name, value in random_arrays(shape.text, wide, 1).items()},
        **{
            TOWER + name: value
            for name, value in random_tower_parameters(shape.vision, wide, 1).items()
        },
    }
    rng = random.Random(0)
    items = [conversation(rng, pictures, 1) for pictures in (1, 0, 2)]
    together = logits(shape, parameters, reader.batch(items, 3))
    alone = logits(shape, parameters, reader.batch(items[2:], 2))
    np.testing.assert_allclose(together[2], alone[0], atol=1e-4)
    swapped = items[2]._replace(pictures=items[2].pictures[::-1])
    other = logits(shape, parameters, reader.batch([swapped], 2))
    assert np.abs(np.asarray(other - alone)).max() > 0.01


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_short_run_resumes_learns_and_exports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_shapes, "ROWS", {0: (1, 1), 1: (2, 1), 2: (1, 1)})
    monkeypatch.setattr(train_shapes, "PICTURES", 4)
    monkeypatch.setattr(train_shapes, "_HELD_OUT_BATCHES", 1)
    arguments = ["--out", str(tmp_path / "run"), "--workers", "0", "--save-every", "4"]
    first = CliRunner().invoke(train_shapes.main, [*arguments, "--steps", "4"])
    assert first.exit_code == 0, first.output
    again = CliRunner().invoke(
        train_shapes.main, [*arguments, "--steps", "8", "--export", str(tmp_path / "model")]
    )
    assert again.exit_code == 0, again.output
    losses = [
        float(line.split("loss ")[1].split(",")[0])
        for line in (first.output + again.output).splitlines()
        if "loss" in line
    ]
    assert losses[1] < losses[0]
    held_out = json.loads(again.output.splitlines()[-1])["held_out"]
    assert 0 <= held_out["all"] <= 1
    assert load_model(tmp_path / "model", make_mesh()).config == shapes_of(tmp_path / "model")[0]
