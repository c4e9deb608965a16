"""A GGUF file made a directory like a hub's, but for its weights, which stay where they are.

Everything that reads a checkpoint reads the directory; `gguf.json` in it says where the weights
are. It is kept, under a name that follows from the file and from how it is read here.
"""

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from model.config import CheckpointError
from model.gguf_pointer import POINTER, pointer
from model.sources.gguf.config import hub_config
from model.sources.gguf.tokenizer import recommended, tokenizer_files
from model.unreadable import not_read
from model.weights.gguf_file import Gguf, read_gguf

# One more whenever another directory is made of the same file.
_VERSION = 1
_NAME_DIGITS = 16


def gguf_directory(path: Path, cache: Path, *, tokenizer: bool = True) -> Path:
    """The directory of a GGUF file, made unless it has been made before.

    Args:
        path: the file, or any part of a model that is split.
        cache: where such directories are kept; made if need be.
        tokenizer: have the file's tokenizer in it, and the templates; without it, they are not
            even looked at.

    Raises:
        CheckpointError: the file cannot be read, is not whole, or has a model or a tokenizer that
            we don't have; or the directory cannot be written.
    """
    source = read_gguf(path.absolute())
    directory = cache / _name(source, tokenizer)
    if directory.is_dir():
        return directory
    files = {
        "config.json": hub_config(source),
        **(
            tokenizer_files(source)
            if tokenizer
            else {"generation_config.json": recommended(source)}
        ),
        POINTER: pointer(source.files),
    }
    try:
        _write(directory, files)
    except OSError as error:
        raise CheckpointError(
            f"{directory} cannot be written ({error.strerror}); make room there, or give the user "
            "that runs Parlance the right to write"
        ) from error
    return directory


def _name(source: Gguf, tokenizer: bool) -> str:
    """One that is another when a file, its place, or what is read of it and how is."""
    try:
        stats = [file.stat() for file in source.files]
    except OSError as error:
        raise CheckpointError(not_read(source.path, error)) from error
    facts = [
        [str(file), stat.st_size, stat.st_mtime_ns, head]
        for file, stat, head in zip(source.files, stats, source.heads, strict=True)
    ]
    digest = hashlib.sha256(json.dumps([_VERSION, tokenizer, facts]).encode()).hexdigest()
    return f"{source.path.stem}-{digest[:_NAME_DIGITS]}"


def _write(directory: Path, files: dict[str, Any]) -> None:
    """Write the files; the directory appears with all of them at once."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=directory.parent) as name:
        made = Path(name) / directory.name
        made.mkdir()
        for file, content in files.items():
            text = json.dumps(content, ensure_ascii=False, indent=None)
            (made / file).write_text(text + "\n", encoding="utf-8")
        try:
            made.rename(directory)
        except OSError:
            # Another process has made it meanwhile.
            if not directory.is_dir():
                raise
