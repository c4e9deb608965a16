import shutil
from pathlib import Path

import jax
import pytest

from model import bundled
from serve.config import ServeConfig
from serve.hosts.agreement import disagreement, facts_of

ADAPTERS = Path(__file__).parents[2] / "fixtures" / "adapters"


def test_hosts_that_differ_in_http_alone_agree():
    ours = facts_of(ServeConfig())
    assert (
        disagreement(3, facts_of(ServeConfig(port=81, queue_limit=5, aliases=("a",))), ours) == ""
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rows": 8}, "process 3 has 8 for rows where process 0 has 64; "),
        ({"dtype": "bfloat16"}, "process 3 has bfloat16 for dtype where process 0 has auto; "),
        ({"mesh": "model=2"}, "process 3 has model=2 for mesh where process 0 has unset; "),
        ({"deterministic": True}, "process 3 has True for deterministic where process 0 has False"),
        ({"cache_tokens": 9}, "process 3 has 9 for cache_tokens where process 0 has 0; "),
    ],
)
def test_a_setting_of_the_engine_that_differs_is_named(settings, said):
    sentence = disagreement(3, facts_of(ServeConfig(**settings)), facts_of(ServeConfig()))
    assert sentence.startswith(said)
    assert sentence.endswith("start all processes with the same settings, checkpoint and versions")


def test_other_adapters_are_named(tmp_path: Path):
    directory = tmp_path / "adapter"
    shutil.copytree(ADAPTERS / "all-linear", directory)

    def facts(*directories: Path) -> dict[str, str]:
        given = tuple(f"{number}={place}" for number, place in enumerate(directories))
        return facts_of(ServeConfig(adapters=given))

    ours = facts(ADAPTERS / "all-linear", ADAPTERS / "patterns")
    assert disagreement(1, facts(directory, ADAPTERS / "patterns"), ours) == ""
    said = disagreement(1, facts(directory), ours)
    assert said.startswith("process 1 has 1 for the number of adapters where process 0 has 2; ")
    said = disagreement(1, facts(directory, directory), ours)
    assert " for the digest of adapter 2 where process 0 has " in said
    said = disagreement(1, facts(directory, tmp_path / "none"), ours)
    assert said.startswith("process 1 has missing for the digest of adapter 2 where ")
    path = directory / "adapter_config.json"
    path.write_text(path.read_text().replace('"lora_alpha": 8', '"lora_alpha": 9'))
    said = disagreement(1, facts(directory, ADAPTERS / "patterns"), ours)
    assert " for the digest of adapter 1 where process 0 has " in said


def test_a_setting_of_jax_that_changes_the_numbers_is_named():
    ours = facts_of(ServeConfig())
    with jax.default_matmul_precision("bfloat16"):
        said = disagreement(1, facts_of(ServeConfig()), ours)
    assert said.startswith(
        "process 1 has bfloat16 for jax_default_matmul_precision where process 0"
    )


def test_another_version_or_checkpoint_is_named(tmp_path: Path):
    ours = facts_of(ServeConfig())
    theirs = {**ours, "the version of jax": "0.1"}
    said = disagreement(1, theirs, ours)
    assert said.startswith("process 1 has 0.1 for the version of jax where process 0 has ")

    copy = tmp_path / "model"
    shutil.copytree(bundled.directory(), copy)
    assert disagreement(1, facts_of(ServeConfig(model=copy)), ours) == ""
    manifest = copy / "weights" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("0", "1"))
    said = disagreement(1, facts_of(ServeConfig(model=copy)), ours)
    assert "for the checkpoint's digest where process 0 has" in said
    shutil.copy(bundled.directory() / "weights" / "manifest.json", manifest)
    assert disagreement(1, facts_of(ServeConfig(model=copy)), ours) == ""
    (copy / "generation_config.json").write_text('{"eos_token_id": [1, 2]}')
    said = disagreement(1, facts_of(ServeConfig(model=copy)), ours)
    assert "for the checkpoint's digest where process 0 has" in said
    shutil.rmtree(copy)
    assert "has missing for the" in disagreement(1, facts_of(ServeConfig(model=copy)), ours)


def test_a_checkpoint_that_cannot_be_read_is_left_to_whoever_loads_it(tmp_path: Path):
    (tmp_path / "config.json").write_bytes(b"\xff")
    found = facts_of(ServeConfig(model=tmp_path))
    assert found["the checkpoint's digest"] == "unreadable"
