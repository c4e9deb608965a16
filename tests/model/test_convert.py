"""Conversions: the same weights come out, and one that was cut short never serves others."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from support.published import LLAMA, random_tensors, write_published
from support.tiny import inputs_first

from model import convert as conversion
from model.config import CheckpointError
from model.convert import convert
from model.loading import load_model
from model.mesh import make_mesh

PART_BYTES = 12_000


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(conversion, "PART_BYTES", PART_BYTES)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    tensors = random_tensors()
    # A bit pattern that no comparison of numbers would find unchanged.
    tensors["model.norm.weight"][0] = np.nan
    directory = write_published(tmp_path_factory.mktemp("source") / "model", tensors, shards=2)
    (directory / "tokenizer.json").write_text("{}")
    (directory / "chat_template.jinja").write_text("{{ messages }}")
    (directory / "additional_chat_templates").mkdir()
    (directory / "additional_chat_templates" / "tools.jinja").write_text("{{ tools }}")
    (directory / "README.md").write_text("not ours to copy")
    return directory


def assert_same_model(first: Path, second: Path, dtype: str = "float32") -> None:
    one, two = (load_model(path, make_mesh(), dtype) for path in (first, second))
    assert replace(one.config, turned=False) == replace(two.config, turned=False)
    values, expected = inputs_first(one), inputs_first(two)
    assert values.keys() == expected.keys()
    for name, value in values.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_a_converted_checkpoint_is_the_same_model(source, tmp_path):
    target = tmp_path / "new" / "target"
    done = convert(source, target)
    assert (done.parameters, done.bytes, done.resumed) == (21_856, 2 * 21_856, 0)
    assert done.parts > 2
    assert_same_model(source, target)
    assert {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()} > {
        "config.json",
        "tokenizer.json",
        "chat_template.jinja",
        "additional_chat_templates/tools.jinja",
        "weights/manifest.json",
    }
    assert not (target / "README.md").exists()
    assert [path.name for path in (target / "weights").glob("*.json")] == ["manifest.json"]


def test_one_of_ours_is_converted_too(source, tmp_path):
    convert(source, tmp_path / "first")
    done = convert(tmp_path / "first", tmp_path / "second", "float32")
    assert done.bytes == 4 * 21_856
    assert_same_model(source, tmp_path / "second")


def test_values_are_rounded_to_the_dtype(tmp_path):
    write_published(tmp_path / "source", random_tensors(dtype="float32"))
    convert(tmp_path / "source", tmp_path / "target", "bfloat16")
    assert_same_model(tmp_path / "source", tmp_path / "target", "bfloat16")


class KilledError(BaseException):
    """Not an Exception: nothing may catch it and carry on."""


STEPS = ("write_whole", "save_part", "_compare", "write_manifest", "check")


def kill_at(patch: pytest.MonkeyPatch, point: int) -> list[str]:
    """Stop a conversion at its `point`-th point, before or behind one of its steps."""
    passed: list[str] = []

    def mark(name: str) -> None:
        passed.append(name)
        if len(passed) == point + 1:
            raise KilledError

    def watched(name: str):
        step = getattr(conversion, name)

        def run(*arguments, **named):
            mark(f"before {name}")
            result = step(*arguments, **named)
            mark(f"behind {name}")
            return result

        return run

    copy = shutil.copyfile

    def half_a_copy(path: Path, target: Path) -> None:
        target.write_bytes(path.read_bytes()[:5])
        mark("amid copyfile")
        copy(path, target)

    patch.setattr(conversion.shutil, "copyfile", half_a_copy)
    for name in STEPS:
        patch.setattr(conversion, name, watched(name))
    return passed


@pytest.mark.parametrize("point", [0, 1, 3, 6, 7, 9, 11, 15, 22, -4, -3, -2, -1])
def test_killed_at_any_point_it_resumes(source, tmp_path, point):
    target = tmp_path / "target"
    if point < 0:
        with pytest.MonkeyPatch.context() as patch:
            whole = kill_at(patch, 1000)
            convert(source, tmp_path / "whole")
        point += len(whole)
    with pytest.MonkeyPatch.context() as patch:
        passed = kill_at(patch, point)
        with pytest.raises(KilledError):
            convert(source, target)
    if "behind write_manifest" in passed:
        assert_same_model(source, target)
    else:
        with pytest.raises(CheckpointError):
            load_model(target, make_mesh())
    finished = passed.count("behind write_whole") - 1
    assert convert(source, target).resumed == max(finished, 0)
    assert_same_model(source, target)
    assert (target / "config.json").read_bytes() == (source / "config.json").read_bytes()


def cut_short(source: Path, target: Path) -> None:
    """Leave what a conversion leaves that is killed after its first parts."""
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, 16)
        with pytest.raises(KilledError):
            convert(source, target)


def test_another_source_or_dtype_does_not_resume(source, tmp_path):
    target = tmp_path / "target"
    cut_short(source, target)
    other = write_published(tmp_path / "other", random_tensors(seed=1), shards=2)
    with pytest.raises(CheckpointError, match="unfinished conversion of another checkpoint"):
        convert(other, target)
    with pytest.raises(CheckpointError, match="another dtype"):
        convert(source, target, "float32")


def test_a_part_damaged_meanwhile_is_found(source, tmp_path):
    target = tmp_path / "target"
    cut_short(source, target)
    files = (path for path in (target / "weights" / "00000").rglob("*") if path.is_file())
    path = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{path.name} is damaged"):
        convert(source, target)
    with pytest.raises(CheckpointError):
        load_model(target, make_mesh())


def test_a_part_that_reads_back_otherwise_is_found(source, tmp_path, monkeypatch):
    save = conversion.save_part

    def save_wrongly(path, parameters):
        save(path, {name: value.at[0].add(1) for name, value in parameters.items()})

    monkeypatch.setattr(conversion, "save_part", save_wrongly)
    with pytest.raises(CheckpointError, match="as it was written; check the disk"):
        convert(source, tmp_path / "target")
    with pytest.raises(CheckpointError):
        load_model(tmp_path / "target", make_mesh())


def test_nothing_is_overwritten(source, tmp_path):
    target = tmp_path / "target"
    convert(source, target)
    with pytest.raises(CheckpointError, match="is not empty"):
        convert(source, target)
    with pytest.raises(CheckpointError, match="is not empty"):
        convert(source, source)
    (tmp_path / "mine" / "weights").mkdir(parents=True)
    (tmp_path / "mine" / "weights" / "precious").write_text("mine")
    with pytest.raises(CheckpointError, match="is not empty"):
        convert(source, tmp_path / "mine")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CheckpointError, match="cannot be written"):
        convert(source, tmp_path / "file")


def test_too_small_a_disk_is_told_before_the_work(source, tmp_path, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(CheckpointError, match=r"0\.0 GB more and its disk has 0\.0 GB free"):
        convert(source, tmp_path / "target")


def run_command(source: Path, target: Path) -> subprocess.Popen[str]:
    """`parlance convert` in a process of its own, with small parts."""
    code = (
        "import model.convert, serve.__main__\n"
        f"model.convert.PART_BYTES = {PART_BYTES // 3}\n"
        f"serve.__main__.main(['convert', {str(source)!r}, {str(target)!r}])"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(conversion.__file__).parents[1])}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.005)


def test_a_killed_command_goes_on(source, tmp_path):
    target = tmp_path / "target"
    with run_command(source, target) as killed:
        wait_for(target / "weights" / "00003")
        killed.kill()
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(CheckpointError, match="cut short; run the parlance convert"):
        load_model(target, make_mesh())
    with run_command(source, target) as again:
        output, errors = again.communicate(timeout=120)
    assert (again.returncode, errors) == (0, "")
    assert "of them from an earlier run; written and checked" in output
    assert_same_model(source, target)


def test_an_interrupted_command_says_what_to_do(source, tmp_path):
    target = tmp_path / "target"
    with run_command(source, target) as stopped:
        wait_for(target / "weights" / "00002")
        stopped.send_signal(signal.SIGINT)
        _, errors = stopped.communicate(timeout=120)
    assert stopped.returncode == 130
    assert "interrupted; the same command goes on from here" in errors
    assert "Traceback" not in errors


def test_a_source_that_is_broken_is_one_sentence(source, tmp_path):
    broken = shutil.copytree(source, tmp_path / "broken")
    next(broken.glob("*.safetensors")).write_bytes(b"")
    with run_command(broken, tmp_path / "target") as refused:
        _, errors = refused.communicate(timeout=120)
    assert refused.returncode == 2
    assert errors.startswith("parlance: ")
    assert errors.count("\n") == 1
    assert not (tmp_path / "target").exists()


def test_a_dtype_for_each_parameter(tmp_path):
    tensors = random_tensors()
    tensors["model.norm.weight"] = tensors["model.norm.weight"].astype(np.float32) + 1e-3
    write_published(tmp_path / "source", tensors)
    convert(tmp_path / "source", tmp_path / "target")
    assert json.loads((tmp_path / "target" / "config.json").read_text()) == LLAMA
    parameters = load_model(tmp_path / "target", make_mesh(), "float32").parameters
    np.testing.assert_array_equal(parameters["norm.weight"], tensors["model.norm.weight"])
    assert jnp.dtype("float32") == parameters["norm.weight"].dtype
