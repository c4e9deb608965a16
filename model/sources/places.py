"""Where the model is that a person names: the directory of its checkpoint, fetched if need be.

What there is under a name on this machine comes first, then what the catalogue calls so, then the
hub. A GGUF file is made a directory that points to it. Which of these it was matters to nobody
afterwards; whether the checkpoint can be served is found where it is opened.
"""

import os
from pathlib import Path
from typing import NamedTuple

from model.config import CheckpointError
from model.gguf_names import gguf_name
from model.sources.catalogue import CATALOGUE, fetch_entry
from model.sources.hub_id import HubId, parse_hub_id
from model.unreadable import git_pointer, not_read

# Of what is kept here, by what it is.
CATALOGUE_FOLDER = "catalogue"
_GGUF_FOLDER = "gguf"
_MAGIC = b"GGUF"


class Place(NamedTuple):
    """Where a model is.

    Attributes:
        directory: of its checkpoint.
        name: what the model is called; empty where the directory's own name says it.
    """

    directory: Path
    name: str = ""


def resolve(
    given: str, cache: Path | None, *, config_only: bool = False, tokenizer: bool = True
) -> Place:
    """The place of a model.

    Args:
        given: a directory; a GGUF file; a name of the catalogue; or a model on the hub, as
            `parse_hub_id` reads it.
        cache: the directory for what is kept here; None where there is none.
        config_only: of a model on the hub nothing is fetched but its `config.json`.
        tokenizer: of a GGUF file the tokenizer is read too.

    Returns:
        What is there under the name on this machine, even if it is no checkpoint; what is named
        by a whole path even if nothing is there.

    Raises:
        CheckpointError: it is none of these, or cannot be fetched or made.
    """
    path = Path(given)
    if os.path.lexists(path):
        if not _is_gguf(path):
            return Place(path)
        return _gguf(path, gguf_name(path.name).stem, cache, tokenizer)
    if entry := CATALOGUE.get(given):
        file = fetch_entry(entry, _kept(cache, given) / CATALOGUE_FOLDER)
        return _gguf(file, entry.name, cache, tokenizer)
    if path.is_absolute() or given.startswith("."):
        return Place(path)
    if name := parse_hub_id(given):
        return _on_hub(name, cache, config_only, tokenizer)
    raise CheckpointError(
        f"{given} is no directory or file here, and not in the catalogue ({', '.join(CATALOGUE)}); "
        f"give the directory of a checkpoint, a GGUF file, a name of the catalogue, or the id of a "
        f"model on the hub, like Qwen/Qwen3-0.6B"
    )


def _on_hub(name: HubId, cache: Path | None, config_only: bool, tokenizer: bool) -> Place:
    from model.sources.hub import fetch_checkpoint, fetch_config, fetch_gguf

    if name.file:
        return _gguf(fetch_gguf(name), name.id, cache, tokenizer)
    # It imports JAX, which a list of models needs not.
    from model.families.registry import read_family

    fetch = fetch_config if config_only else fetch_checkpoint
    return Place(fetch(name, read_family), name.id)


def _is_gguf(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except OSError as error:
        raise CheckpointError(not_read(path, error)) from error
    return head == _MAGIC or (path.suffix == ".gguf" and not git_pointer(path))


def _gguf(path: Path, name: str, cache: Path | None, tokenizer: bool) -> Place:
    from model.sources.gguf import gguf_directory

    kept = _kept(cache, str(path)) / _GGUF_FOLDER
    return Place(gguf_directory(path, kept, tokenizer=tokenizer), name)


def _kept(cache: Path | None, given: str) -> Path:
    if cache is None:
        raise CheckpointError(
            f"{given} needs a directory for what is made of it, and this user has no home "
            f"directory; set XDG_CACHE_HOME to a directory that can be written"
        )
    return cache
