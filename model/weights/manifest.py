"""The manifest of a directory that we write: the size and digest of each of its files.

It is written last, so it is also the sign that the directory is whole, and it is checked before
anything is read. It knows nothing of what the files hold.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from model.config import CheckpointError, read_json
from model.unreadable import git_pointer

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is said of one file.

    Attributes:
        bytes: its size.
        sha256: its digest, in hexadecimal.
    """

    bytes: int
    sha256: str


Entries = Mapping[str, Entry]


def describe(directory: Path, *, under: str = ".") -> dict[str, Entry]:
    """Every file under a folder of `directory`, by its path from `directory`."""
    paths = sorted(path for path in (directory / under).rglob("*") if path.is_file())
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        entries = list(threads.map(describe_file, paths))
    names = [path.relative_to(directory).as_posix() for path in paths]
    return dict(zip(names, entries, strict=True))


def describe_file(path: Path) -> Entry:
    """One file.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return Entry(file.tell(), digest)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error


def check(directory: Path, entries: Entries) -> None:
    """Compare files with what was said of them.

    Raises:
        CheckpointError: one is missing or not as it was written.
    """
    for name, entry in entries.items():
        path = directory / name
        if not path.is_file():
            raise CheckpointError(f"{path} is missing; write the checkpoint anew")
        size = path.stat().st_size
        if size != entry.bytes:
            raise CheckpointError(
                git_pointer(path)
                or f"{path} is {size} bytes long and was written with {entry.bytes}; "
                "write the checkpoint anew"
            )
    # Digests catch what sizes cannot: a damaged file makes Orbax fail in its threads, or not at
    # all and then the model is another one.
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = threads.map(describe_file, [directory / name for name in entries])
        for (name, entry), now in zip(entries.items(), found, strict=True):
            if now != entry:
                raise CheckpointError(
                    f"{directory / name} is damaged: its SHA-256 is not what it was when it was "
                    "written; write the checkpoint anew"
                )


def write_manifest(directory: Path, entries: Entries) -> None:
    """Say that `directory` is whole, with these files."""
    write_whole(directory / MANIFEST, {"files": to_json(entries)})


def check_manifest(directory: Path) -> list[str]:
    """Compare every file that the manifest of `directory` names with what it says.

    Returns:
        the names.

    Raises:
        CheckpointError: no manifest or none that can be read, or a file that is missing or not
            as it was written.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise CheckpointError(
            f"{directory} has no {MANIFEST}, which is written last: it was cut short; run the "
            "parlance convert that wrote it again, or write the checkpoint anew"
        )
    entries = from_json(read_json(path).get("files"), path)
    check(directory, entries)
    return list(entries)


def to_json(entries: Entries) -> dict[str, Any]:
    """Entries as JSON has them."""
    return {name: asdict(entry) for name, entry in entries.items()}


def from_json(value: Any, path: Path) -> dict[str, Entry]:
    """Entries from the JSON of the file `path`.

    Raises:
        CheckpointError: they are not what `to_json` gives.
    """
    try:
        entries = cast("dict[str, dict[str, Any]]", value).items()
        return {name: Entry(int(entry["bytes"]), str(entry["sha256"])) for name, entry in entries}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a manifest of ours; write the checkpoint anew"
        ) from error


def write_whole(path: Path, value: Any) -> None:
    """Write JSON so that the file is there with all of it or not at all."""
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(path)
