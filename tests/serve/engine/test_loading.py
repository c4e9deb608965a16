"""What an engine takes from its checkpoint."""

import json
import shutil
from pathlib import Path

import pytest

from model import bundled
from sampling.params import MAX_STOP_IDS
from serve.engine.config import EngineConfigError
from serve.engine.loading import load_engine


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
