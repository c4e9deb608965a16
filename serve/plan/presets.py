"""Published models by name: their `config.json` and nothing else.

Only the keys that decide shapes and arithmetic are kept. Each is read by the code that reads a
checkpoint's own.
"""

import os
from importlib.resources import files
from pathlib import Path

from model.config import CheckpointError
from model.foreign import check_directory
from model.sources.hub_id import parse_hub_id
from serve.config import expanded
from serve.model_places import find_model
from serve.plan.errors import PlanError


def preset_names() -> list[str]:
    """The names, in order."""
    return sorted(path.name for path in _presets().iterdir())


def model_directory(model: str) -> Path:
    """The directory with the `config.json` of a preset, or of the model that is named.

    Raises:
        PlanError: it is neither.
        CheckpointError: the model is no checkpoint, or cannot be fetched.
        ConfigError: it begins with a home directory that is not there.
    """
    if model.lower() in preset_names():
        return _presets() / model.lower()
    named = model if model.startswith(".") else expanded(model)
    try:
        directory = find_model(named, config_only=True).directory
        check_directory(directory)
    except CheckpointError as error:
        if os.path.lexists(named) or parse_hub_id(model):
            raise
        raise PlanError(f"{error}, or one of the presets: {', '.join(preset_names())}") from error
    return directory


def _presets() -> Path:
    return Path(str(files("serve.plan"))) / "presets"
