"""The directory that a GGUF file is made is kept, whole, and another for another file."""

import json
import os
from pathlib import Path

import pytest
from support.gguf_files import from_hub

from model.config import CheckpointError, read_json
from model.families.registry import read_config
from model.generation_config import read_generation_config
from model.gguf_pointer import POINTER, config_source, pointed_files
from model.loading import load_end_ids, load_tokenizer
from model.sources.gguf import directory as made_directory
from model.sources.gguf import gguf_directory
from model.weights.formats import identifying_files

FIXTURES = Path(__file__).parents[3] / "fixtures" / "models"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return from_hub(FIXTURES / "llama-2", tmp_path / "small.gguf")


def test_it_is_a_checkpoint(tmp_path, file):
    directory = gguf_directory(file, tmp_path / "cache")
    assert directory.parent == tmp_path / "cache"
    assert directory.name.startswith("small-")
    assert sorted(path.name for path in directory.iterdir()) == [
        "config.json",
        "generation_config.json",
        POINTER,
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert pointed_files(directory) == (file,)
    assert config_source(directory) == file
    assert identifying_files(directory) == [file]
    config = read_config(directory)
    tokenizer = load_tokenizer(directory, config)
    assert tokenizer.encode("ab") == [256]
    assert load_end_ids(directory, config, tokenizer) == {257}
    assert read_generation_config(directory)["eos_token_id"] == [257]
    # Nothing of where it lies is in what several hosts compare.
    assert str(tmp_path) not in (directory / "config.json").read_text()


def test_it_may_be_without_a_tokenizer(tmp_path):
    facts = {"tokenizer.ggml.model": "of another", "general.sampling.temp": 0.5}
    strange = from_hub(FIXTURES / "llama-2", tmp_path / "strange.gguf", facts)
    directory = gguf_directory(strange, tmp_path / "cache", tokenizer=False)
    assert read_generation_config(directory) == {"temperature": 0.5}
    assert sorted(path.name for path in directory.iterdir()) == [
        "config.json",
        "generation_config.json",
        POINTER,
    ]
    with pytest.raises(CheckpointError, match="of another"):
        gguf_directory(strange, tmp_path / "cache")


def test_it_is_made_once(tmp_path, file, monkeypatch):
    directory = gguf_directory(file, tmp_path / "cache")
    monkeypatch.setattr(made_directory, "hub_config", None)
    assert gguf_directory(file, tmp_path / "cache") == directory
    monkeypatch.chdir(tmp_path)
    assert gguf_directory(Path(file.name), tmp_path / "cache") == directory
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_another_file_has_another(tmp_path, file, monkeypatch):
    first = gguf_directory(file, tmp_path / "cache")
    os.utime(file, ns=(1, 1))
    second = gguf_directory(file, tmp_path / "cache")
    moved = file.rename(tmp_path / "moved.gguf")
    third = gguf_directory(moved, tmp_path / "cache")
    monkeypatch.setattr(made_directory, "_VERSION", 0)
    fourth = gguf_directory(moved, tmp_path / "cache")
    assert len({first, second, third, fourth}) == 4
    assert pointed_files(fourth) == (moved,)


def test_another_process_may_make_it_first(tmp_path, file, monkeypatch):
    wanted = gguf_directory(file, tmp_path / "cache")
    kept = wanted.rename(tmp_path / "kept")
    rename = Path.rename

    def late(path: Path, target: Path) -> Path:
        rename(kept, target)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", late)
    assert gguf_directory(file, tmp_path / "cache") == wanted
    assert list((tmp_path / "cache").iterdir()) == [wanted]


def test_nothing_is_left_of_a_file_that_is_refused(tmp_path, file):
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="truncated"):
        gguf_directory(file, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_place_that_cannot_be_written(tmp_path, file):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(CheckpointError, match="cannot be written") as raised:
        gguf_directory(file, tmp_path / "cache")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "content", ["{}", '{"files": []}', '{"files": "a.gguf"}', '{"files": [1]}']
)
def test_a_pointer_that_names_no_files(tmp_path, content):
    (tmp_path / POINTER).write_text(content)
    with pytest.raises(CheckpointError, match="names no files"):
        pointed_files(tmp_path)


def test_a_directory_of_its_own_weights_has_no_pointer(tmp_path):
    assert pointed_files(tmp_path) == ()
    assert config_source(tmp_path) == tmp_path / "config.json"


def test_files_are_json(tmp_path, file):
    for path in gguf_directory(file, tmp_path / "cache").iterdir():
        assert read_json(path) == json.loads(path.read_text(encoding="utf-8"))
