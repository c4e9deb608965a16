"""Models on a hub, fetched into its client's cache by that client.

The client (huggingface_hub) reads HF_TOKEN, HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE, goes on with
what was cut short, and shows its bars on a terminal. What is chosen here is which files, and what
is said when it fails. The one module that imports the client; knows nothing of what files hold.
"""

import errno
import glob
import logging
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from model.config import CheckpointError
from model.foreign import NOTES, form_among
from model.gguf_names import part_names
from model.sources.hub_id import HubId

try:
    from huggingface_hub import HfApi, constants, scan_cache_dir, snapshot_download
    from huggingface_hub.errors import (
        CacheNotFound,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        # What its HTTP library raises: httpx or httpx2, as its version has it.
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils import tqdm
except ImportError as error:
    raise CheckpointError(
        "models of the hub are fetched by huggingface_hub, which is not installed; at the top of a "
        "checkout run pip install '.[hub]', or give a directory"
    ) from error

logger = logging.getLogger(__name__)

_CONFIG = ("config.json", *NOTES)
_TEXTS = (
    "generation_config.json",
    # How pictures become patches.
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.json",
    "chat_template.jinja",
    "additional_chat_templates/*.jinja",
    "model.safetensors.index.json",
    "LICENSE*",
    "NOTICE*",
)
_WEIGHTS = "*.safetensors"
# `*` stands for slashes too. What Mistral calls consolidated are the same weights once more.
_OTHER_WEIGHTS = ("*/*", "consolidated*")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_SHOWN = 5


class CachedModel(NamedTuple):
    """A revision of a model in the client's cache, whole or not.

    Attributes:
        id: `ORGANIZATION/NAME`.
        revision: the commit.
        names: the branches and tags that it was fetched by.
        bytes: what its files take.
        directory: where they are.
    """

    id: str
    revision: str
    names: Sequence[str]
    bytes: int
    directory: Path


class _Bar(tqdm):
    """The client's bar, on a terminal and nowhere else: it counts files everywhere."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options.setdefault("disable", None)
        super().__init__(*arguments, **options)


def fetch_checkpoint(asked: HubId, check: Callable[[Path], object]) -> Path:
    """The directory of a model, with all files that are read of it.

    Args:
        asked: the model; its `file` is not looked at.
        check: called with the directory when there are all files in it but the weights; raises
            where they need not be fetched.

    Raises:
        CheckpointError: it cannot be had, or `check` says so.
    """
    directory = _fetch_config(asked, (*_CONFIG, *_TEXTS), check)
    # That revision and no later one, which somebody may be publishing.
    exact = asked._replace(revision=directory.name)
    logger.info("fetching what is missing of %s at %s", asked.id, exact.revision)
    _fetch(exact, [_WEIGHTS], _OTHER_WEIGHTS)
    if not any(directory.glob(_WEIGHTS)):
        raise CheckpointError(_without(exact, "weights as safetensors"))
    return directory


def fetch_config(asked: HubId, check: Callable[[Path], object]) -> Path:
    """The directory of a model with its `config.json`, and without what needs not be there for it.

    As `fetch_checkpoint` otherwise.
    """
    return _fetch_config(asked, _CONFIG, check)


def fetch_gguf(asked: HubId) -> Path:
    """The GGUF file `asked.file` of a model, beside it those that it is split into.

    Raises:
        CheckpointError: it cannot be had.
    """
    files = part_names(asked.file)
    directory = _fetch(asked, [glob.escape(file) for file in files])
    for file in files:
        if not (directory / file).is_file():
            raise CheckpointError(_without(asked._replace(revision=directory.name), file))
    return directory / asked.file


def cached_models() -> list[CachedModel]:
    """What the client's cache holds of models, by id."""
    try:
        cache = scan_cache_dir()
    except CacheNotFound:
        return []
    return sorted(
        CachedModel(
            repository.repo_id,
            revision.commit_hash,
            sorted(revision.refs),
            revision.size_on_disk,
            revision.snapshot_path,
        )
        for repository in cache.repos
        if repository.repo_type == "model"
        for revision in repository.revisions
    )


def _fetch_config(asked: HubId, files: Sequence[str], check: Callable[[Path], object]) -> Path:
    directory = _fetch(asked, files)
    if not any((directory / name).is_file() for name in _CONFIG):
        raise CheckpointError(_without(asked._replace(revision=directory.name), "config.json"))
    check(directory)
    return directory


def _fetch(asked: HubId, wanted: Iterable[str], ignored: Iterable[str] = ()) -> Path:
    """The directory of a revision, with the files that match and perhaps others."""
    with _in_words(asked):
        return Path(
            snapshot_download(
                asked.id,
                revision=asked.revision or None,
                allow_patterns=list(wanted),
                ignore_patterns=list(ignored),
                tqdm_class=_Bar,
            )
        )


def _without(asked: HubId, what: str) -> str:
    """A sentence on what a model does not have; its revision is a commit."""
    with _in_words(asked):
        names = HfApi().list_repo_files(asked.id, revision=asked.revision)
    found = [name for name in names if name.endswith(".gguf")]
    if found:
        return (
            f"{asked.id} has no {what}, but GGUF files: {_listed(found)}; give one of them, like "
            f"{asked.id}:{found[0]}"
        )
    form = form_among(names)
    has = f"its weights in {form}, which is not read" if form else f"no {what}"
    return f"{asked.id} has {has}; give a model that is published as safetensors or GGUF"


def _listed(names: Sequence[str]) -> str:
    more = f" … ({len(names)} of them)" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


@contextmanager
def _in_words(asked: HubId) -> Generator[None]:
    """Turn the client's errors into sentences."""
    try:
        yield
    except GatedRepoError as error:
        raise CheckpointError(
            f"{asked.id} is given only to those who have accepted its licence; do so at "
            f"{constants.ENDPOINT}/{asked.id}, and set HF_TOKEN to a token of the same account"
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{asked.id} is no directory here, and on the hub no model that you may see (HTTP "
            f"{error.response.status_code}); correct the name, or set HF_TOKEN to a token that may "
            f"read it if it is private"
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(
            f"{asked.id} has no revision {asked.revision or 'main'}; give a branch, a tag or "
            f"a whole commit of it behind the @, like {asked.id}@main"
        ) from error
    except HFValidationError as error:
        raise CheckpointError(
            f"{asked.id} is no directory here, and cannot be the id of a model on the hub; give a "
            f"directory, or an id like Qwen/Qwen3-0.6B"
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise CheckpointError(_unreachable(asked, error)) from error
    except HTTPError as error:
        raise CheckpointError(_broken_off(asked, error)) from error
    except OSError as error:
        raise CheckpointError(_not_written(asked, error)) from error


def _unreachable(asked: HubId, error: Exception) -> str:
    """What is said where the hub was not to be had, and its cache has not all that is needed."""
    cause = error.__cause__ or error
    if isinstance(cause, HfHubHTTPError):
        return _broken_off(asked, cause)
    cached = [model.id for model in cached_models()]
    kept = f"there are {_listed(list(dict.fromkeys(cached)))}" if cached else "there is nothing"
    whole = f"{asked.id} is no directory here, and not wholly in the hub's cache, where {kept}"
    if isinstance(cause, OfflineModeIsEnabled):
        return f"{whole}; unset HF_HUB_OFFLINE to fetch it"
    return (
        f"{whole}, and the hub at {constants.ENDPOINT} cannot be reached "
        f"({type(cause).__name__}); try again with a network, or give a directory"
    )


def _broken_off(asked: HubId, error: Exception) -> str:
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if status == 401:
        return "the hub does not know the token (HTTP 401); correct HF_TOKEN, or unset it"
    answer = f"HTTP {status}" if status else f"{type(error).__name__}"
    return (
        f"{asked.id} could not be fetched from {constants.ENDPOINT} ({answer}); try again later: "
        f"what has come whole is kept"
    )


def _not_written(asked: HubId, error: OSError) -> str:
    cache = constants.HF_HUB_CACHE
    if error.errno in _NO_ROOM:
        return (
            f"{asked.id} finds no room in {cache} ({error.strerror}); make room, or set HF_HOME to "
            f"a directory on a larger disk"
        )
    if error.errno is None:
        # As where fewer bytes came than were announced.
        return f"{asked.id} could not be fetched ({str(error).splitlines()[0]}); try again"
    return (
        f"{asked.id} cannot be kept in {cache} ({error.strerror}); give the user that runs "
        f"Parlance the right to write there, or set HF_HOME to another directory"
    )
