"""Broken and foreign model directories, given to every command: one sentence, and code 2.

All command lines are run by one process, as each would take seconds to import JAX.
"""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from support.foreign_directories import ADAPTER, ALL, CASES, whole

from model.config import CheckpointError
from serve.offline import LocalModel

_RUN_ALL = """
import contextlib, io, json, sys, traceback
import serve.launch
from serve.__main__ import main

# Whoever gets through would be served without end.
async def not_served(*_):
    return 0

serve.launch._serve = not_served
ended = []
for arguments in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    code = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as exit:
            code = exit.code
        except Exception:
            traceback.print_exc()
    ended.append([code, out.getvalue(), err.getvalue()])
json.dump(ended, sys.stdout)
"""
SMALL = ("--rows", "1", "--context", "16", "--cache-tokens", "16", "--mesh", "data=1")
SERVE = ("--port", "0", "--log-level", "error", "--compile-cache", "off", *SMALL)


# Root reads what it likes, which is a right (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH) that a program
# which root starts has unless it has been taken out of the bounding set (prctl's PR_CAPBSET_DROP).
_AS_ANYBODY = """
import ctypes, os, sys
if os.geteuid() == 0 and "AS_ANYBODY" not in os.environ:
    for right in (1, 2):
        assert ctypes.CDLL(None).prctl(24, right, 0, 0, 0) == 0
    os.environ["AS_ANYBODY"] = "1"
    os.execv(sys.executable, sys.orig_argv)
"""

# What is closed, the permissions that are left, and the file that is told of.
CLOSED = (
    (".", 0, "."),
    (".", 0o444, "config.json"),
    ("config.json", 0, "config.json"),
    ("model.safetensors", 0, "model.safetensors"),
    ("tokenizer.model", 0, "tokenizer.model"),
    ("chat_template.jinja", 0, "chat_template.jinja"),
)


class Ended(NamedTuple):
    """How a command line ended."""

    code: int | None
    out: str
    err: str


def command_line(command: str, model: Path, target: Path) -> list[str]:
    if command == "convert":
        return ["convert", str(model), str(target)]
    flags = SERVE if command == "serve" else ()
    return [command, "--model", str(model), *flags]


def run(lines: list[list[str]], directory: Path, before: str = "") -> list[Ended]:
    """How command lines end in a directory, run by one process after some code."""
    environment = {name: os.environ[name] for name in os.environ if "PARLANCE_" not in name}
    ended = subprocess.run(
        [sys.executable, "-c", before + _RUN_ALL],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
        cwd=directory,
        env=environment
        | {"PYTHONPATH": str(Path(__file__).parents[2]), "JAX_PLATFORMS": "cpu"}
        | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(directory / "home")},
    )
    return [Ended(*each) for each in json.loads(ended.stdout)]


WHOLE = "whole"
HUB_ID = "meta-llama/Llama-3.2-1B"
SAID = [
    pytest.param(name, command, id=f"{command}: {name}")
    for name, case in CASES.items()
    for command in sorted(case.commands)
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def said(place: Path) -> dict[tuple[str, str], Ended]:
    lines: dict[tuple[str, str], list[str]] = {}
    for number, (name, case) in enumerate(CASES.items()):
        directory = whole(place / str(number))
        case.change(directory)
        for command in sorted(case.commands):
            target = place / f"{number}-converted"
            lines[name, command] = command_line(command, directory / case.given, target)
    lines[WHOLE, "serve"] = command_line("serve", whole(place / WHOLE), place)
    for command in sorted(ALL):
        lines[HUB_ID, command] = command_line(command, Path(HUB_ID), place / "none")
    return dict(zip(lines, run(list(lines.values()), place), strict=True))


def check_refused(ended: Ended, thing: str, remedy: str) -> None:
    assert (ended.code, ended.out) == (2, ""), ended.err
    assert ended.err.startswith("parlance: ")
    assert ended.err.count("\n") == 1
    assert thing in ended.err
    assert remedy in ended.err


@pytest.mark.parametrize(("name", "command"), SAID)
def test_it_is_named_with_a_remedy(
    said: dict[tuple[str, str], Ended], place: Path, name: str, command: str
) -> None:
    directory = place / str(list(CASES).index(name))
    thing = CASES[name].thing.format(path=directory)
    check_refused(said[name, command], thing, CASES[name].remedy)


def test_a_whole_one_is_served(said: dict[tuple[str, str], Ended]) -> None:
    assert said[WHOLE, "serve"] == (0, "", "")


@pytest.mark.parametrize("command", sorted(ALL))
def test_an_id_of_the_hub(said: dict[tuple[str, str], Ended], command: str) -> None:
    check_refused(
        said[HUB_ID, command],
        f"{HUB_ID} is no directory here, and not wholly in the hub's cache, where there is nothing",
        "unset HF_HUB_OFFLINE to fetch it",
    )


def test_what_may_not_be_read(tmp_path: Path) -> None:
    """As where a model was downloaded by another user."""
    models = [whole(tmp_path / str(number)) for number in range(len(CLOSED))]
    for model, (file, mode, _) in zip(models, CLOSED, strict=True):
        (model / file).chmod(mode)
    lines = [command_line("serve", model, tmp_path) for model in models]
    for model, (_, _, told), ended in zip(
        models, CLOSED, run(lines, tmp_path, _AS_ANYBODY), strict=True
    ):
        model.chmod(0o755)
        check_refused(
            ended,
            f"{model / told} cannot be read ({os.strerror(errno.EACCES)})",
            "give the user that runs Parlance the right to read it",
        )


def test_a_script_gets_the_same_sentence(tmp_path: Path) -> None:
    ADAPTER(whole(tmp_path))
    with pytest.raises(CheckpointError, match="beside weights, changes to the model meta-llama/"):
        LocalModel.load(tmp_path, mesh="data=1", compile_cache=None)
