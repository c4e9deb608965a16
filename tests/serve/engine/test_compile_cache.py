import errno
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import jax
import pytest

from serve.engine.compile_cache import keep_programs

NAMES = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


def settings() -> list[object]:
    return [jax.config.values[name] for name in NAMES]


@pytest.fixture(autouse=True)
def restored() -> Iterator[list[object]]:
    """JAX's settings of before, which hold again afterwards."""
    before = settings()
    yield before
    for name, value in zip(NAMES, before, strict=True):
        jax.config.update(name, value)


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
