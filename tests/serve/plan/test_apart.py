"""What is seen and told of the process that compiles, whose place another takes here."""

from pathlib import Path

import pytest

from serve.__main__ import main
from serve.plan import apart, command
from serve.plan.apart import plan_apart
from serve.plan.deployment import Workload
from serve.plan.environment import PLAN_ENVIRONMENT
from serve.plan.errors import CompilerError, PlanError
from serve.plan.task import Task, Told

WORKER = "support.dying_compiler"


def asked(directory: Path, deaths: int, model: str = "mine") -> tuple[Told, list[tuple[int, int]]]:
    seen: list[tuple[int, int]] = []
    task = Task(model, directory, str(deaths), None, Workload())
    return plan_apart(task, lambda *done: seen.append(done), worker=WORKER), seen


@pytest.mark.parametrize("deaths", [0, 1])
def test_one_death_is_made_up_for_by_a_fresh_process(tmp_path, deaths):
    told, seen = asked(tmp_path, deaths)
    assert told == Told(True, "a plan", {"fits": True})
    assert seen == [(0, 5)] * (deaths + 1) + [(5, 5)]
    assert (tmp_path / "starts").read_text() == "." * (deaths + 1)


def test_two_deaths_are_one_sentence(tmp_path):
    with pytest.raises(CompilerError) as ended:
        asked(tmp_path, 9)
    assert (tmp_path / "starts").read_text() == ".."
    said = str(ended.value)
    assert said.count("SIGABRT, after “F0000 Check failed: no register is left”") == 1
    assert "died twice while it compiled for 9" in said
    assert "\n" not in said


def test_what_is_wrong_with_the_plan_is_the_error_that_it_was(tmp_path):
    with pytest.raises(PlanError, match=r"^a step does not fit$"):
        asked(tmp_path, 0, "too large")
    assert (tmp_path / "starts").read_text() == "."


def test_a_death_ends_the_command_with_a_sentence_and_1(tmp_path, capsys, monkeypatch):
    for name in PLAN_ENVIRONMENT:
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(command, "check_compiler", lambda: None)

    def dies(task: Task, on_progress: object) -> Told:
        return plan_apart(
            Task(task.model, tmp_path, "9", task.mesh, task.work), lambda *_: None, worker=WORKER
        )

    monkeypatch.setattr(command, "plan_apart", dies)
    with pytest.raises(SystemExit) as ended:
        main(["plan", "--model", "llama-3.1-8b", "--topology", "v6e:2x2"])
    assert ended.value.code == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("parlance: the TPU's compiler (libtpu ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("status", "said", "words"),
    [
        (-11, "", "SIGSEGV"),
        (-9, "", "SIGKILL, for want of memory"),
        (1, "Traceback:\n  …\nKeyError: 'x'\n", "exit code 1, after “KeyError: 'x'”"),
    ],
    ids=["without a word", "killed", "an error of ours"],
)
def test_an_end_in_words(status, said, words):
    assert apart._end_in_words(status, said) == words
