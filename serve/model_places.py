"""Where the model is that a person names, and where this user's models are kept."""

from pathlib import Path

from model.sources.places import Place, resolve
from serve.user_directories import user_directory


def model_cache() -> Path | None:
    """The directory that fetched models are kept in; None for a user without a home directory."""
    caches = user_directory("XDG_CACHE_HOME", "~/.cache")
    return None if caches is None else caches / "models"


def find_model(given: Path | str, *, config_only: bool = False, tokenizer: bool = True) -> Place:
    """The place of a model, fetched if need be; see `model.sources.places.resolve`.

    Raises:
        CheckpointError: it is nowhere, or cannot be fetched.
    """
    return resolve(str(given), model_cache(), config_only=config_only, tokenizer=tokenizer)
