import json

import pytest
from click.testing import CliRunner

from model.families.registry import read_config
from model.mesh import MeshError
from model.parameters import count_parameters
from model.vision.loading import read_vision
from model.vision.parameters import count_tower_parameters
from serve.__main__ import cli, main
from serve.plan import command, compiler
from serve.plan.command import run_plan
from serve.plan.deployment import Workload
from serve.plan.environment import PLAN_ENVIRONMENT
from serve.plan.errors import PlanError
from serve.plan.presets import model_directory, preset_names

# In billions, as their publishers say; of Gemma and Qwen3-VL the part that reads text.
PUBLISHED = {
    "gemma-3-27b": 27.0,
    "gpt-oss-20b": 20.9,
    "llama-3.1-70b": 70.6,
    "llama-3.1-8b": 8.03,
    "qwen3-30b-a3b": 30.5,
    "qwen3-32b": 32.8,
    "qwen3-8b": 8.19,
    "qwen3-vl-8b": 8.19,
}


@pytest.fixture(autouse=True)
def _no_compiler(monkeypatch: pytest.MonkeyPatch):
    for module in (command, compiler):
        monkeypatch.setattr(module, "compiler_is_there", lambda: False)


def said(*arguments, as_json: bool = False) -> str:
    lines = []
    run_plan(*arguments, as_json=as_json, say=lines.append)
    return "\n".join(lines)


@pytest.mark.parametrize(("name", "billions"), PUBLISHED.items())
def test_a_preset_has_the_parameters_that_are_published(name, billions):
    config = read_config(model_directory(name))
    assert count_parameters(config) / 1e9 == pytest.approx(billions, rel=0.005)


def test_a_tower_is_counted_beside_the_decoder():
    tower = read_vision(model_directory("qwen3-vl-8b"))
    assert tower is not None
    decoder = count_parameters(read_config(model_directory("qwen3-vl-8b")))
    # As the hub counts them in the checkpoint.
    assert decoder + count_tower_parameters(tower) == 8_767_123_696
    found = json.loads(said("qwen3-vl-8b", "", "", Workload(), as_json=True))
    alone = json.loads(said("qwen3-8b", "", "", Workload(), as_json=True))
    for sees, reads in zip(found["proposals"], alone["proposals"], strict=True):
        assert sees["devices"] == reads["devices"]
        assert reads["bytes"].pop("tower") == reads["bytes"].pop("vectors") == 0
        assert sees["bytes"].pop("vectors") == 256 << 20
        # 576 million of two bytes; what is whole on every device is 4.4 million, and norms.
        each = 2 * 576_388_336 / sees["devices"]
        assert each < sees["bytes"].pop("tower") < each + 10e6
        assert sees["bytes"] == reads["bytes"]


def test_the_help_names_the_presets():
    shown = " ".join(CliRunner().invoke(cli, ["plan", "--help"]).output.split())
    assert preset_names() == sorted(PUBLISHED)
    assert all(name in shown for name in preset_names())


def test_without_a_topology_it_proposes_the_smallest_slices():
    found = json.loads(said("llama-3.1-70b", "", "", Workload(), as_json=True))
    assert found["plans"] == []
    slices = {each["topology"]: each["bytes"] for each in found["proposals"]}
    # 141 GB of weights and 43 GB of pages: 16 chips of 16 GB, 8 of 32, 4 of 95.
    assert list(slices) == ["v5e:4x4", "v6e:2x4", "v5p:2x2x1", "tpu7x:2x2x1"]
    assert slices["v6e:2x4"]["weights"] == pytest.approx(141.1e9 / 8, rel=0.001)
    assert slices["v6e:2x4"]["pages"] == 64 * 2048 * 327_680 // 8


def test_proposals_in_words_say_that_nothing_was_compiled():
    shown = said("Qwen3-8B", "", "", Workload())
    assert "v5e:2x2" in shown
    assert "nothing was compiled" in shown


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("nobody-knows", "v5e:2x2", "", Workload()), PlanError, "one of the presets: gemma-3-27b"),
        (("qwen3-8b", "v5e:2x2", "", Workload()), PlanError, r"pip install '\.\[plan\]'"),
        (("qwen3-8b", "v5e:3", "model=3", Workload()), MeshError, "does not divide 32 query heads"),
        (("qwen3-8b", "", "model=4", Workload()), PlanError, "without a topology"),
        (("llama-3.1-70b", "v5e:2x4", "", Workload()), PlanError, "does not fit v5e:2x4"),
        (("qwen3-8b", "", "", Workload(context=50_000)), PlanError, "made for at most 40960"),
        (("llama-3.1-70b", "", "", Workload(rows=4096, context=131072)), PlanError, "fewer rows"),
    ],
)
def test_what_cannot_be_planned(arguments, error, words):
    with pytest.raises(error, match=words):
        said(*arguments)


def test_on_the_command_line_it_is_a_sentence(capsys, monkeypatch):
    for name in PLAN_ENVIRONMENT:
        monkeypatch.setenv(name, "")
    with pytest.raises(SystemExit) as ended:
        main(["plan", "--model", "llama-3.1-8b", "--topology", "v5e:2x4"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("parlance: the TPU's compiler is not installed")
