import shutil
from pathlib import Path

import jax
from support.tiny import tiny_model

from model.bundled import directory
from serve.engine.config import EngineConfig
from serve.engine.fingerprint import fingerprint


def test_a_setting_of_jax_that_changes_the_numbers_changes_it() -> None:
    model, config = tiny_model(), EngineConfig(context_length=64, cache_tokens=64)
    plain = fingerprint(directory(), model, config)
    with jax.default_matmul_precision("bfloat16"):
        assert fingerprint(directory(), model, config) != plain
    assert fingerprint(directory(), model, config) == plain


def test_adapters_change_it_and_their_names_and_places_do_not(tmp_path: Path) -> None:
    model, config = tiny_model(), EngineConfig(context_length=64, cache_tokens=64)
    adapters = Path(__file__).parents[2] / "fixtures" / "adapters"
    one, other = adapters / "all-linear", adapters / "patterns"
    copy = shutil.copytree(one, tmp_path / "copy")

    def found(*places: Path) -> str:
        return fingerprint(directory(), model, config, places)

    assert found(copy) == found(one)
    assert len({found(), found(one), found(other), found(one, other), found(other, one)}) == 5
    path = copy / "adapter_config.json"
    path.write_text(path.read_text().replace('"lora_alpha": 8', '"lora_alpha": 9'))
    assert found(copy) != found(one)
