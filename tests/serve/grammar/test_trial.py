"""Trials of grammars: how their processes start, and what is told of those that end."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve import helper
from serve.grammar.compiler import Grammar
from serve.grammar.library import GrammarError, Vocabulary
from serve.grammar.trial import Allowance, Trial

DIGITS = Vocabulary([b"<end>", *(bytes([n]) for n in b"0123456789-")], [0], [0])
NUMBER = Grammar.regex("[0-9]+").source
BOMB = Grammar.json_schema({"type": "integer", "multipleOf": 999_983}).source
HOSTILE = "from pathlib import Path; Path({!r}).write_text('imported'); raise SystemExit(3)\n"


@pytest.fixture
def trial() -> Iterator[Trial]:
    made = Trial(DIGITS)
    yield made
    made.close()


def test_nothing_is_imported_from_the_working_directory_or_the_environment(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    for name in ("serve", "random", "json", "resource", "llguidance", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(HOSTILE.format(str(seen)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), *sys.path])
    trial.run(NUMBER, Allowance(60))
    assert not seen.exists()


def test_one_that_dies_leaves_its_last_words_in_the_log_and_another_takes_its_place(
    trial: Trial, caplog: pytest.LogCaptureFixture
) -> None:
    trial.run(NUMBER, Allowance(60))
    assert trial._helper is not None
    trial._helper.connection.send("no grammar with its seconds")
    with pytest.raises(GrammarError, match="the compiler fails at it"):
        trial.run(NUMBER, Allowance(60))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "ended with exit code 1: " in record.message
    assert "ValueError: too many values to unpack" in record.message
    trial.run(NUMBER, Allowance(60))
    assert len(caplog.records) == 1


def test_one_that_takes_too_much_memory_is_refused_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trial = Trial(DIGITS, memory=2**25)
    with pytest.raises(GrammarError, match="too much memory"):
        trial.run(BOMB, Allowance(60))
    assert "ended with SIGABRT: memory allocation of" in caplog.text
    trial.run(NUMBER, Allowance(60))
    trial.close()


def test_one_whose_time_is_up_is_no_news(trial: Trial, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(GrammarError, match="too much time"):
        trial.run(BOMB, Allowance(0.05))
    assert not caplog.records


def test_one_that_cannot_start_says_why(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "_command", lambda *_: [sys.executable, "-c", "1 / 0"])
    with pytest.raises(OSError, match=r"does not start: (.|\n)*ZeroDivisionError"):
        trial.run(NUMBER, Allowance(60))


def test_a_signal_to_all_processes_of_a_server_is_left_to_the_server(
    trial: Trial, caplog: pytest.LogCaptureFixture
) -> None:
    trial.run(NUMBER, Allowance(60))
    assert trial._helper is not None
    os.kill(trial._helper._process.pid, signal.SIGTERM)
    trial.run(NUMBER, Allowance(60))
    assert not caplog.records


def test_tokens_come_first(trial: Trial) -> None:
    trial.run(NUMBER, Allowance(60))
    assert trial._helper is not None
    process = trial._helper._process.pid
    assert os.getpriority(os.PRIO_PROCESS, process) > os.getpriority(os.PRIO_PROCESS, 0)
