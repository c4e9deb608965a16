"""What the check of a GPU makes of programs that fail."""

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from tools import check_gpu
from tools.check_gpu import PartError, last_json, run

ROOT = Path(__file__).parents[2]


def test_the_last_line_counts():
    assert last_json('{"a": 1}\nmore words\n{"b": 2}\n') == {"b": 2}


def test_a_program_that_fails_is_told_with_its_last_words():
    with pytest.raises(PartError, match=r"^tools\.bench_step ended with 2"):
        run("tools.bench_step", ["--rows", "many"], 60)


def test_a_program_that_takes_too_long_is_ended():
    with pytest.raises(PartError, match=r"^tools\.bench_step took longer than 0 s$"):
        run("tools.bench_step", ["--help"], 0.01)


def test_the_script_says_how_it_is_used():
    script = ROOT / "tools" / "check_gpu.sh"
    done = subprocess.run(
        ["bash", str(script)], stderr=subprocess.PIPE, text=True, check=False, timeout=60
    )
    assert done.returncode != 0
    assert "usage: tools/check_gpu.sh RESULT.json [PYTHON]" in done.stderr


def test_a_part_that_fails_is_told_in_its_place(tmp_path, monkeypatch):
    """And the others are run all the same."""

    def fails(*_: object) -> None:
        raise PartError("it took too long")

    monkeypatch.setattr(check_gpu, "tests", lambda: "3 passed")
    monkeypatch.setattr(check_gpu, "steps", fails)
    monkeypatch.setattr(check_gpu, "served", lambda trial: {"trial": trial})
    result = tmp_path / "result.json"
    done = CliRunner().invoke(check_gpu.main, [str(result), "--trial"])
    assert done.exit_code == 1
    found = json.loads(result.read_text())
    assert json.loads(done.output.splitlines()[-1]) == found
    assert found["tests"] == "3 passed"
    assert found["steps"] == {"error": "it took too long"}
    assert found["served"] == {"trial": True}
