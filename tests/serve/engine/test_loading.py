"""What an engine takes from its checkpoint."""

import json
import shutil
from pathlib import Path

import pytest

from model import bundled
from sampling.params import MAX_STOP_IDS
from serve.engine.loading import load_engine


@pytest.mark.parametrize(
    ("rows", "context", "tokens"),
    [(64, 2048, 64 * 256), (4, 2048, 2 * 2048), (64, 128, 64 * 128), (1, 512, 512)],
)
def test_a_cpu_caches_what_is_of_use(rows, context, tokens):
    """Some tokens for every row, or two contexts, but never more than all rows can have."""
    loaded = load_engine(bundled.directory(), rows=rows, context=context)
    assert loaded.engine._config.cache_tokens == tokens


def test_rows_have_room_for_all_end_ids_of_the_checkpoint_and_for_the_templates(tmp_path: Path):
    copy = tmp_path / "model"
    shutil.copytree(bundled.directory(), copy)
    declared = {"eos_token_id": list(range(300, 320))}
    (copy / "generation_config.json").write_text(json.dumps(declared))
    loaded = load_engine(copy, rows=2, context=64, cache_tokens=64, speculate="ngram")
    assert loaded.end_ids == set(range(300, 320))
    assert loaded.runner._rows.settings.early_ids.shape == (2, 21 + MAX_STOP_IDS)
    assert loaded.engine._config.ngrams
