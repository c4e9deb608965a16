"""Pages as files: whole or not at all, for a day, within a bound, for one server at a time."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from serve.engine.config import EngineConfigError
from serve.engine.page_files import LIFE_SECONDS, PageDirectory

PAGE = np.arange(1000, dtype=np.uint8)


class Clock:
    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(tmp_path, clock):
    """Opens the directory anew, as a restart does."""
    held: list[PageDirectory] = []

    def open_it(limit: int = 2**20, maker: str = "model") -> PageDirectory:
        if held:
            held.pop().close()
        held.append(PageDirectory(tmp_path / "pages", limit, clock))
        held[0].made_by(maker)
        return held[0]

    yield open_it
    held.pop().close()


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "pages").glob("*.page"))


def test_a_page_is_found_again_also_after_a_restart(opened):
    assert opened().write(b"name", PAGE)
    for directory in (opened(), opened()):
        assert directory.has(b"name")
        assert not directory.has(b"another")
        assert (directory.read(b"name") == PAGE).all()
        assert directory.read(b"another") is None
        assert len(directory) == 1
        assert directory.size > len(PAGE)
        assert directory.unusable == 0


def test_pages_of_another_model_are_others(opened):
    opened().write(b"name", PAGE)
    assert not opened(maker="another").has(b"name")
    assert opened().has(b"name")


def test_the_secret_lasts_as_long_as_the_directory(opened, tmp_path):
    first = opened().key
    assert opened().key == first
    assert len(first) == 32
    (tmp_path / "pages" / "key").write_bytes(b"short")
    assert opened().key not in (first, b"short")


def test_nobody_else_may_read_it(opened, tmp_path):
    opened().write(b"name", PAGE)
    assert (tmp_path / "pages").stat().st_mode & 0o077 == 0
    for path in (tmp_path / "pages").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


def cut(data: bytes) -> bytes:
    return data[:-1]


def longer(data: bytes) -> bytes:
    return data + b"\0"


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def of_another_form(data: bytes) -> bytes:
    return data.replace(b"page 1", b"page 2", 1)


def made_younger(data: bytes) -> bytes:
    """The time is the first of the facts before the page."""
    place = len(data) - len(PAGE) - 16
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize(
    "harm", [cut, longer, flipped, of_another_form, made_younger, lambda data: b""]
)
def test_a_page_that_is_not_whole_is_not_used(harm, opened, tmp_path):
    opened().write(b"name", PAGE)
    (path,) = files(tmp_path)
    path.write_bytes(harm(path.read_bytes()))
    os.utime(path, (1e9, 1e9))
    directory = opened()
    assert directory.read(b"name") is None
    assert directory.unusable == 1
    assert not directory.has(b"name")
    assert files(tmp_path) == []


def test_a_page_under_another_ones_name_is_not_used(opened, tmp_path):
    directory = opened()
    directory.write(b"one", PAGE)
    (one,) = files(tmp_path)
    directory.write(b"two", PAGE[::-1])
    (two,) = set(files(tmp_path)) - {one}
    one.replace(two)
    assert directory.read(b"two") is None


def test_a_page_is_there_for_a_day(opened, clock, tmp_path):
    directory = opened()
    directory.write(b"name", PAGE)
    clock.now += LIFE_SECONDS - 1
    assert directory.read(b"name") is not None
    clock.now += 2
    assert not directory.has(b"name")
    directory.write(b"another", PAGE)
    assert len(files(tmp_path)) == 1
    clock.now += LIFE_SECONDS + 1
    assert len(opened()) == 0
    assert files(tmp_path) == []


def test_use_makes_no_page_younger(opened, clock):
    directory = opened()
    directory.write(b"name", PAGE)
    clock.now += LIFE_SECONDS / 2
    directory.read(b"name")
    clock.now += LIFE_SECONDS / 2 + 1
    assert not directory.has(b"name")
    assert directory.read(b"name") is None
    assert not opened().has(b"name")


def test_a_page_of_the_future_is_not_used(opened, clock):
    opened().write(b"name", PAGE)
    clock.now -= 3600
    assert not opened().has(b"name")


def test_the_longest_unused_goes_first_also_after_a_restart(opened, clock, tmp_path):
    directory = opened()
    for name in (b"1", b"2", b"3"):
        directory.write(name, PAGE)
        clock.now += 1
    directory.read(b"1")
    directory = opened(limit=directory.size)
    directory.write(b"4", PAGE)
    assert [directory.has(name) for name in (b"1", b"2", b"3", b"4")] == [True, False, True, True]
    assert len(files(tmp_path)) == 3
    assert directory.size <= sum(path.stat().st_size for path in files(tmp_path))


def test_a_smaller_bound_holds_from_the_start(opened, tmp_path):
    directory = opened()
    for number in range(4):
        directory.write(b"%d" % number, PAGE)
    half = directory.size // 2
    assert len(opened(limit=half)) == 2
    assert len(files(tmp_path)) == 2
    assert not opened(limit=100).write(b"more", PAGE)


def test_what_was_never_finished_is_deleted(opened, tmp_path):
    opened()
    (tmp_path / "pages" / "x.page.part").write_bytes(b"half")
    opened()
    assert not list((tmp_path / "pages").glob("*.part"))


def test_two_servers_never_have_it_at_a_time(opened, tmp_path):
    opened()
    code = (
        "import sys; from pathlib import Path; from serve.engine.page_files import PageDirectory\n"
        "PageDirectory(Path(sys.argv[1]), 100)"
    )
    other = [sys.executable, "-c", code, str(tmp_path / "pages")]
    run = subprocess.run(other, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].endswith(
        f"cache_dir {tmp_path / 'pages'} is in use by another server; give each a directory of "
        f"its own (--cache-dir)"
    )


def test_a_place_that_cannot_be_a_directory(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineConfigError, match=r"file/pages cannot be used \(Not a directory\)"):
        PageDirectory(tmp_path / "file" / "pages", 2**20)


def test_that_nothing_can_be_written_is_told_once(opened, tmp_path, caplog, monkeypatch):
    directory = opened()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("serve.engine.page_files._write", full)
    assert not directory.write(b"1", PAGE)
    assert not directory.write(b"2", PAGE)
    assert caplog.text.count("No space left on device") == 1
    assert len(directory) == directory.size == 0
