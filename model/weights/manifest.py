"""The manifest of a directory that we write: the size and digest of each of its files.

It is written last, so it is also the sign that the directory is whole, and it is checked before
anything is read. It knows nothing of what the files hold.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from model.config import CheckpointError, read_json

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a manifest says of one file.

    Attributes:
        bytes: its size.
        sha256: its digest, in hexadecimal.
    """

    bytes: int
    sha256: str


def write_manifest(directory: Path) -> None:
    """Describe every file under `directory`, which is whole from then on."""
    paths = sorted(_files(directory))
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        entries = list(threads.map(_describe, paths))
    names = [path.relative_to(directory).as_posix() for path in paths]
    files = {name: asdict(entry) for name, entry in zip(names, entries, strict=True)}
    unfinished = directory / f".{MANIFEST}"
    unfinished.write_text(json.dumps({"files": files}, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(directory / MANIFEST)


def check_manifest(directory: Path) -> None:
    """Compare every file that the manifest of `directory` names with what it says.

    Raises:
        CheckpointError: no manifest or none that can be read, or a file that is missing or not
            as it was written.
    """
    entries = _read_manifest(directory)
    for name, entry in entries.items():
        path = directory / name
        if not path.is_file():
            raise CheckpointError(f"{path} is missing; write the checkpoint anew")
        size = path.stat().st_size
        if size != entry.bytes:
            raise CheckpointError(
                f"{path} is {size} bytes long and was written with {entry.bytes}; "
                "write the checkpoint anew"
            )
    # Digests catch what sizes cannot: a damaged file makes Orbax fail in its threads, or not at
    # all and then the model is another one.
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = threads.map(_describe, [directory / name for name in entries])
        for (name, entry), now in zip(entries.items(), found, strict=True):
            if now != entry:
                raise CheckpointError(
                    f"{directory / name} is damaged: its SHA-256 is not the one in "
                    f"{directory / MANIFEST}; write the checkpoint anew"
                )


def _files(directory: Path) -> Iterator[Path]:
    for path in directory.rglob("*"):
        if path.is_file() and path.name not in (MANIFEST, f".{MANIFEST}"):
            yield path


def _describe(path: Path) -> Entry:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return Entry(file.tell(), digest)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error


def _read_manifest(directory: Path) -> dict[str, Entry]:
    path = directory / MANIFEST
    if not path.is_file():
        raise CheckpointError(
            f"{directory} has no {MANIFEST}, which is written last: it was cut short; "
            "write the checkpoint anew"
        )
    files = read_json(path).get("files")
    try:
        entries = cast("dict[str, dict[str, Any]]", files).items()
        return {name: Entry(int(entry["bytes"]), str(entry["sha256"])) for name, entry in entries}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a manifest of ours; write the checkpoint anew"
        ) from error
