"""What an engine takes from its checkpoint."""

import json
import shutil
from pathlib import Path

import pytest

from model import bundled
from model.convert import convert
from sampling.params import MAX_STOP_IDS
from serve.engine.config import EngineConfigError
from serve.engine.loading import _blindness, load_engine


@pytest.mark.parametrize(
    ("rows", "context", "tokens"),
    [(64, 2048, 64 * 256), (4, 2048, 2 * 2048), (64, 128, 64 * 128), (1, 512, 512)],
)
def test_a_cpu_caches_what_is_of_use(rows, context, tokens):
    """Some tokens for every row, or two contexts, but never more than all rows can have."""
    loaded = load_engine(bundled.directory(), rows=rows, context=context)
    assert loaded.engine._config.cache_tokens == tokens


def test_several_processes_have_the_devices_pages_only(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("jax.process_count", lambda: 2)
    with pytest.raises(EngineConfigError, match="leave out --host-cache-bytes and --cache-dir"):
        load_engine(bundled.directory(), host_cache_bytes=2**20)


def test_host_memory_for_less_than_a_page_is_refused():
    with pytest.raises(EngineConfigError, match="host_cache_bytes is 1000, and a page takes "):
        load_engine(bundled.directory(), rows=1, context=64, host_cache_bytes=1000)


def test_rows_have_room_for_all_end_ids_of_the_checkpoint_and_for_the_templates(tmp_path: Path):
    copy = tmp_path / "model"
    shutil.copytree(bundled.directory(), copy)
    declared = {"eos_token_id": list(range(300, 320))}
    (copy / "generation_config.json").write_text(json.dumps(declared))
    loaded = load_engine(copy, rows=2, context=64, cache_tokens=64, speculate="ngram")
    assert loaded.end_ids == set(range(300, 320))
    assert loaded.runner._rows.settings.early_ids.shape == (2, 21 + MAX_STOP_IDS)
    assert loaded.engine._config.ngrams


def seeing_directory(fixture: str, place: Path) -> Path:
    models = Path(__file__).parents[2] / "fixtures" / "models"
    directory = Path(shutil.copytree(models / fixture, place / fixture))
    shutil.copy(models / "tokenizer.model", directory)
    return directory


@pytest.mark.parametrize(
    ("fixture", "each", "whole"), [("gemma-3-vision", 32 * 4, 16), ("qwen-3-vl", 3 * 32 * 4, 0)]
)
def test_a_model_that_sees_keeps_vectors_of_images(fixture, each, whole, tmp_path: Path):
    directory, sizes = seeing_directory(fixture, tmp_path), {"rows": 2, "context": 128}
    loaded = load_engine(directory, dtype="float32", **sizes)
    config, info = loaded.engine._config, loaded.engine.info
    # As many as the cache has tokens of one context.
    assert (config.image_vectors, config.whole_image) == (128, whole)
    assert info.vision is not None
    assert info.image_tokens == (whole or 128)
    assert "vectors of 128 tokens" in info.description["vision tower"]
    fewer = load_engine(directory, dtype="float32", image_cache_bytes=130 * each, **sizes)
    assert fewer.engine._config.image_vectors == 128
    with pytest.raises(EngineConfigError, match="image_cache_bytes is 1000, and an image takes"):
        load_engine(directory, dtype="float32", image_cache_bytes=1000, **sizes)


def test_where_a_model_does_not_see_it_says_why(tmp_path: Path, monkeypatch, caplog):
    directory = seeing_directory("gemma-3-vision", tmp_path)
    assert not _blindness(directory)
    monkeypatch.setattr("jax.process_count", lambda: 2)
    assert "a server of one process" in _blindness(directory)
    monkeypatch.undo()
    convert(directory, tmp_path / "converted")
    loaded = load_engine(tmp_path / "converted", tokenizer_directory=directory, rows=1, context=128)
    assert loaded.engine.info.vision is None
    assert "images are refused, and text is served: parlance convert left out" in caplog.text
