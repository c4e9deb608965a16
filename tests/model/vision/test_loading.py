"""Towers of checkpoint directories: the layouts that they are published in, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.towers import FIXTURES, GEMMA, QWEN, load_tower

from model.config import CheckpointError
from model.convert import convert
from model.families.qwen3_vl import interleaved_axes
from model.families.registry import read_config
from model.loading import load_model
from model.mesh import make_mesh
from model.parameters import count_parameters
from model.vision.config import Normalization
from model.vision.loading import open_tower, read_normalization, read_vision
from model.vision.parameters import count_tower_parameters

# Of Gemma 3: as on the hub, and as versions 4.52 to 4.57 and 5.0 of the library hold it.
LAYOUTS = {
    "hub": {"vision_tower.": "vision_tower.vision_model."},
    "newer": {
        "vision_tower.": "model.vision_tower.vision_model.",
        "multi_modal_projector.": "model.multi_modal_projector.",
        "language_model.model.": "model.language_model.",
    },
    "newest": {
        "vision_tower.": "model.vision_tower.",
        "multi_modal_projector.": "model.multi_modal_projector.",
        "language_model.model.": "model.language_model.",
    },
}


@pytest.fixture
def copied(tmp_path) -> Any:
    """A fixture's directory to change."""

    def copy(fixture: str) -> Path:
        return Path(shutil.copytree(FIXTURES / fixture, tmp_path / fixture))

    return copy


def change_tensors(directory: Path, change: Any) -> None:
    path = directory / "model.safetensors"
    save_file(change(load_file(path)), path)


def change_config(directory: Path, change: Any) -> None:
    path = directory / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_the_same_model(copied, layout):
    directory = copied(GEMMA)

    def renamed(name: str) -> str:
        for old, new in LAYOUTS[layout].items():
            name = new + name.removeprefix(old) if name.startswith(old) else name
        return name

    change_tensors(directory, lambda found: {renamed(name): found[name] for name in found})
    opened = open_tower(directory, make_mesh(), "float32")
    assert opened is not None
    for given, plain in (
        (opened.load(), load_tower(GEMMA)),
        (load_model(directory, make_mesh()), load_model(FIXTURES / GEMMA, make_mesh())),
    ):
        assert given.parameters.keys() == plain.parameters.keys()
        for name, value in given.parameters.items():
            np.testing.assert_array_equal(value, plain.parameters[name])


def test_a_model_of_text_has_no_tower():
    assert read_vision(FIXTURES / "qwen-3") is None
    assert open_tower(FIXTURES / "qwen-3", make_mesh()) is None


@pytest.mark.parametrize(
    ("fixture", "lost"),
    [
        (GEMMA, "multi_modal_projector.mm_soft_emb_norm.weight"),
        (QWEN, "model.visual.deepstack_merger_list.1.norm.bias"),
    ],
)
def test_a_tensor_that_is_missing_is_named(copied, fixture, lost):
    directory = copied(fixture)
    change_tensors(directory, lambda found: {name: found[name] for name in found if name != lost})
    with pytest.raises(CheckpointError, match=f"lacks the tensor {lost}"):
        open_tower(directory, make_mesh())


def test_a_tensor_of_no_use_is_named(copied):
    directory = copied(GEMMA)
    head = {"vision_tower.head.probe": np.ones((1, 1, 32), np.float32)}
    change_tensors(directory, lambda found: found | head)
    with pytest.raises(CheckpointError, match=r"has the tensor vision_tower\.head\.probe"):
        open_tower(directory, make_mesh())


def test_a_tensor_of_another_shape_is_named(copied):
    directory = copied(QWEN)
    change_config(directory, lambda config: config["vision_config"].update(patch_size=8))
    with pytest.raises(CheckpointError, match=r"patch_embed\.proj\.weight"):
        open_tower(directory, make_mesh())


def test_a_converted_checkpoint_has_no_tower(tmp_path):
    convert(FIXTURES / QWEN, tmp_path / "converted")
    with pytest.raises(CheckpointError, match="as it was published"):
        open_tower(tmp_path / "converted", make_mesh())


@pytest.mark.parametrize(
    ("fixture", "within", "key", "value", "says"),
    [
        (GEMMA, "vision_config", "hidden_act", "gelu", "hidden_act: 'gelu'"),
        (GEMMA, "vision_config", "vision_use_head", True, "vision_use_head: True"),
        (GEMMA, "vision_config", "image_size", 50, "patches must divide images"),
        (GEMMA, "vision_config", "num_attention_heads", 5, "5 heads do not divide"),
        (GEMMA, "vision_config", "window_size", 7, "not supported: window_size"),
        (GEMMA, None, "mm_tokens_per_image", 15, "vectors make a square"),
        (GEMMA, None, "mm_tokens_per_image", 25, "5 vectors along a side"),
        (GEMMA, None, "tie_word_embeddings", False, "they must be the same"),
        (GEMMA, None, "vision_config", None, "lacks vision_config"),
        (GEMMA, None, "audio_config", {"hidden_size": 8}, "not supported: audio_config"),
        (QWEN, "vision_config", "out_hidden_size", 64, "the decoder's hidden_size"),
        (QWEN, "vision_config", "num_position_embeddings", 63, "make a square"),
        (QWEN, "vision_config", "num_heads", 16, "a multiple of four"),
        (QWEN, "vision_config", "deepstack_visual_indexes", [2, 0], "in their order"),
        (QWEN, "vision_config", "deepstack_visual_indexes", [0, 4], "blocks of the 4"),
        (QWEN, "vision_config", "deepstack_visual_indexes", ["a"], "layers' numbers"),
        (QWEN, "vision_config", "rope_parameters", {"rope_type": "yarn"}, "rope_type: 'yarn'"),
        (QWEN, "text_config", "rope_parameters", {"mrope_section": [4, 4, 2]}, "8 rotated pairs"),
        (QWEN, "text_config", "rope_parameters", {"mrope_section": [4, 2, "2"]}, "three numbers"),
        (QWEN, "text_config", "rope_parameters", {"mrope_interleaved": False}, "mrope_interleaved"),
        (QWEN, None, "text_config", None, "text_config: None"),
    ],
)
def test_what_is_not_implemented_is_refused(copied, fixture, within, key, value, says):
    directory = copied(fixture)
    place = (lambda config: config[within]) if within else (lambda config: config)
    change_config(directory, lambda config: place(config).update({key: value}))
    with pytest.raises(CheckpointError) as refusal:
        read_vision(directory)
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("preprocessor_config.json", {"image_processor_type": "X"}),
        ("processor_config.json", {"image_processor": {"image_processor_type": "X"}}),
    ],
)
def test_normalization_is_the_checkpoints(tmp_path, file, content):
    assert read_normalization(tmp_path) == Normalization()
    inner = content.get("image_processor", content)
    inner |= {"image_mean": [0.5, 0.25, 1], "image_std": [1, 2, 3], "rescale_factor": 0.125}
    (tmp_path / file).write_text(json.dumps(content))
    assert read_normalization(tmp_path) == Normalization(0.125, (0.5, 0.25, 1.0), (1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("do_rescale", False, "do_rescale: False"),
        ("do_normalize", False, "do_normalize: False"),
        ("image_std", [0.5, 0, 0.5], "no deviation of zero"),
        ("image_mean", [0.5], "three of each"),
        ("image_mean", [0.5, "a", 1], "image_mean"),
        ("image_std", 3, "image_std: 3"),
    ],
)
def test_a_normalization_that_is_none_is_refused(tmp_path, key, value, says):
    content = {"image_mean": [0, 0, 0], key: value}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError) as refusal:
        read_normalization(tmp_path)
    assert says in str(refusal.value)


def test_bytes_are_normalized_as_the_checkpoint_says(copied):
    """Half the range twice as far apart: white is at 3, not at 1, and black at -1 as before."""
    directory = copied(QWEN)
    content = {"image_mean": [0.25] * 3, "image_std": [0.25] * 3}
    (directory / "preprocessor_config.json").write_text(json.dumps(content))
    config = read_vision(directory)
    assert config is not None
    assert config.pixels == Normalization(mean=(0.25,) * 3, deviation=(0.25,) * 3)


def test_pairs_turn_with_time_rows_and_columns_in_turn():
    axes = interleaved_axes([24, 20, 20])
    assert axes[:6] == (0, 1, 2, 0, 1, 2)
    assert axes[57:] == (0, 1, 2, 0, 0, 0, 0)
    assert [axes.count(axis) for axis in range(3)] == [24, 20, 20]
    rope = read_config(FIXTURES / QWEN).layers[0].rope
    assert rope.axes == (0, 1, 2, 0, 1, 2, 0, 0)


def test_tokens_of_images_are_read():
    for fixture in (GEMMA, QWEN):
        config = read_vision(FIXTURES / fixture)
        assert config is not None
        assert (config.begin_token, config.end_token, config.image_token) == (317, 318, 319)


def test_a_fixture_is_all_counted():
    for fixture in (GEMMA, QWEN):
        config = read_vision(FIXTURES / fixture)
        assert config is not None
        total = count_tower_parameters(config) + count_parameters(read_config(FIXTURES / fixture))
        stored = load_file(FIXTURES / fixture / "model.safetensors")
        assert total == sum(value.size for value in stored.values())
