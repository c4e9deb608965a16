"""A directory whose weights are in GGUF files elsewhere: which files.

Such a directory has the rest of a checkpoint, made from what the files say. Knows nothing of the
format.
"""

from pathlib import Path
from typing import Any, cast

from model.config import CheckpointError, read_json

POINTER = "gguf.json"
_FILES = "files"


def pointer(files: tuple[Path, ...]) -> dict[str, Any]:
    """What the file `POINTER` says."""
    return {_FILES: [str(file) for file in files]}


def pointed_files(directory: Path) -> tuple[Path, ...]:
    """The GGUF files with a directory's weights, parts in their order; none where it has its own.

    Raises:
        CheckpointError: the pointer cannot be read.
    """
    path = directory / POINTER
    if not path.is_file():
        return ()
    files = read_json(path).get(_FILES)
    names = cast("list[Any]", files) if isinstance(files, list) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{path} names no files; remove {directory} to have it made again")
    return tuple(Path(name) for name in names)


def config_source(directory: Path) -> Path:
    """The file that a directory's config comes from, for messages: a GGUF file or `config.json`."""
    return next(iter(pointed_files(directory)), directory / "config.json")
