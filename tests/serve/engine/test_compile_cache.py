import errno
import importlib
import inspect
import logging
import os
import subprocess
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from serve.engine.compile_cache import keep_programs

internals = importlib.import_module("jax._src.compilation_cache")

NAMES = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


def settings() -> list[object]:
    return [jax.config.values[name] for name in NAMES]


@pytest.fixture(autouse=True)
def restored() -> Iterator[list[object]]:
    """JAX's settings of before, which hold again afterwards, as do its own functions."""
    before = settings()
    yield before
    for name, value in zip(NAMES, before, strict=True):
        jax.config.update(name, value)
    for name in ("get_executable_and_time", "put_executable_and_time"):
        setattr(internals, name, inspect.unwrap(getattr(internals, name)))
    reset_cache()


def test_a_directory_is_made_and_takes_every_program(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "parlance" / "xla"
    keep_programs(directory)
    assert settings() == [str(directory), 0.0, -1]
    assert list(directory.iterdir()) == []
    assert caplog.records == []


def test_one_that_cannot_be_made_is_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, restored: list[object]
) -> None:
    (tmp_path / "home").write_text("a file")
    directory = tmp_path / "home" / ".cache"
    keep_programs(directory)
    assert settings() == restored
    (message,) = caplog.messages
    assert message == (
        f"compiled programs are not kept: {directory} cannot be written (Not a directory); give "
        f"another directory with --compile-cache, or off"
    )


def test_one_that_cannot_be_written_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(**_: object) -> NoReturn:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    keep_programs(tmp_path)
    assert settings() == [str(tmp_path), float("inf"), -1]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "(Read-only file system)" in record.getMessage()


def compile_some(count: int = 3) -> list[float]:
    """As a start does: from the directory, or else by compiling."""
    jax.clear_caches()
    numbers = jnp.arange(4.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        programs = [
            jax.jit(lambda x, n=n: (x + n).sum()).lower(numbers).compile() for n in range(count)
        ]
    return [float(program(numbers)) for program in programs]


def entries(directory: Path) -> dict[str, bytes]:
    """The programs that are kept, by name, without those of the numbers that they are given."""
    return {path.name: path.read_bytes() for path in directory.glob("jit__lambda*")}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def garble(path: Path) -> None:
    path.write_bytes(b"\x00" * 1000)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def of_another_version(path: Path) -> None:
    """Whole, and nothing that XLA can load."""
    path.write_bytes(zlib.compress(b"\x00\x00\x00\x01" + b"another version" * 50))


@pytest.mark.parametrize("damage", [truncate, garble, empty, of_another_version])
def test_programs_that_cannot_be_read_are_written_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    kept = keep_programs(tmp_path)
    assert compile_some() == [6.0, 10.0, 14.0]
    whole = entries(tmp_path)
    assert len(whole) == 3
    kept.tell()
    assert not caplog.records
    damaged = sorted(whole)[:2]
    for name in damaged:
        damage(tmp_path / name)
    spoilt = entries(tmp_path)

    kept = keep_programs(tmp_path)
    assert compile_some() == [6.0, 10.0, 14.0]
    kept.tell()
    kept.tell()
    (message,) = caplog.messages
    assert message.startswith(
        f"compiled programs in {tmp_path} that could not be read and were compiled anew: 2 (the "
    )
    after = entries(tmp_path)
    assert after.keys() == whole.keys()
    assert all(after[name] != spoilt[name] for name in damaged)

    caplog.clear()
    kept = keep_programs(tmp_path)
    compile_some()
    kept.tell()
    assert not caplog.records
    assert entries(tmp_path) == after


def test_one_that_is_not_allowed_to_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keep_programs(tmp_path)
    compile_some(1)
    (name,) = before = entries(tmp_path)
    os.utime(tmp_path / name, (0, 0))

    def read(*_: object, **__: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied", name)

    monkeypatch.setattr(internals, "get_executable_and_time", read)
    kept = keep_programs(tmp_path)
    assert compile_some(1) == [6.0]
    kept.tell()
    assert caplog.messages[0].endswith("(the first: Permission denied)")
    assert entries(tmp_path).keys() == before.keys()
    assert (tmp_path / name).stat().st_mtime > 0


def test_what_cannot_be_removed_is_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = keep_programs(tmp_path)
    compile_some()
    for name in entries(tmp_path):
        (tmp_path / name).unlink()
        (tmp_path / name / "inside").mkdir(parents=True)
    kept = keep_programs(tmp_path)
    assert compile_some() == [6.0, 10.0, 14.0]
    kept.tell()
    unread, unwritten = caplog.messages
    assert unread.endswith("compiled anew: 3 (the first: Is a directory)")
    assert unwritten.startswith(f"compiled programs that could not be kept in {tmp_path}: 3 (the ")
    assert not list(tmp_path.glob("unfinished*"))


def test_a_full_disk_is_told_once_and_leaves_no_pieces(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(key: str, *_: object, **__: object) -> NoReturn:
        (tmp_path / f"{key}-cache").write_bytes(b"half a pro")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(internals, "put_executable_and_time", full)
    kept = keep_programs(tmp_path)
    assert compile_some() == [6.0, 10.0, 14.0]
    kept.tell()
    (message,) = caplog.messages
    assert message.startswith(f"compiled programs that could not be kept in {tmp_path}: ")
    assert message.endswith(
        "(the first: No space left on device); the next start compiles them again"
    )
    assert not list(tmp_path.iterdir())


def test_a_kill_amid_a_write_leaves_no_damaged_program(tmp_path: Path) -> None:
    """Nothing has a program's name before it is whole; what is left of it goes in time."""
    code = f"""
import os, pathlib
import jax, jax.numpy as jnp
from serve.engine.compile_cache import keep_programs

numbers = jnp.arange(4.0)
keep_programs(pathlib.Path({str(tmp_path)!r}))
lowered = jax.jit(lambda x: x + 1).lower(numbers)

def killed(path, value):
    with open(path, "wb") as file:
        file.write(value[:9])
    os._exit(7)

from jax._src.path import Path
type(Path("x")).write_bytes = killed
lowered.compile()
"""
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert ended.returncode == 7, ended.stderr
    (piece,) = tmp_path.iterdir()
    assert piece.read_bytes()[:1] == b"x"
    assert not entries(tmp_path)
    keep_programs(tmp_path)
    assert piece.exists()
    os.utime(piece, (0, 0))
    keep_programs(tmp_path)
    assert not piece.exists()


def test_a_bound_on_the_size_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    jax.config.update("jax_compilation_cache_max_size", 4000)
    try:
        kept = keep_programs(tmp_path)
        compile_some(8)
        kept.tell()
        assert not caplog.records
        assert 0 < sum(map(len, entries(tmp_path).values())) <= 4000
    finally:
        jax.config.update("jax_compilation_cache_max_size", -1)


def test_another_directory_holds_from_then_on(tmp_path: Path) -> None:
    for name in ("one", "two"):
        keep_programs(tmp_path / name)
        compile_some()
        assert len(entries(tmp_path / name)) == 3


@pytest.mark.parametrize("missing", ["get_executable_and_time", "put_executable_and_time"])
def test_a_jax_that_is_made_otherwise_keeps_programs_its_own_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    before: Any = {name: getattr(internals, name) for name in vars(internals) if "_time" in name}
    monkeypatch.delattr(internals, missing)
    keep_programs(tmp_path).tell()
    assert all(getattr(internals, name) is before[name] for name in before if name != missing)


def test_who_asked_jax_for_errors_gets_them(tmp_path: Path) -> None:
    jax.config.update("jax_raise_persistent_cache_errors", True)
    try:
        keep_programs(tmp_path)
        compile_some()
        truncate(next(tmp_path.glob("jit__lambda*")))
        keep_programs(tmp_path)
        with pytest.raises(zlib.error):
            compile_some()
    finally:
        jax.config.update("jax_raise_persistent_cache_errors", False)
