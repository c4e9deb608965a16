"""What a model is called where nobody gives it a name, and where the one is that we bring."""

import os
from importlib.resources import files
from pathlib import Path

BUNDLED_MODEL_ID = "parlance-bundled"


def bundled_model() -> Path:
    """Directory of the model that comes with Parlance."""
    return Path(str(files("model"))) / "bundled"


def name_of(directory: Path) -> str:
    """The name of the model in a checkpoint directory, also where links lead to it."""
    # `Path.resolve` does not go through links that lead in a circle.
    place = Path(os.path.realpath(directory))
    if place == bundled_model().resolve():
        return BUNDLED_MODEL_ID
    return _hub_id(place) or place.name


def _hub_id(directory: Path) -> str:
    """Id of the model that a snapshot in the hub's cache is of; empty for any other directory.

    `models--ORGANIZATION--NAME/snapshots/REVISION`; no id has two hyphens side by side
    (huggingface_hub's `repo_folder_name`).
    """
    kind, *parts = directory.parent.parent.name.split("--")
    snapshot = kind == "models" and directory.parent.name == "snapshots"
    return "/".join(parts) if snapshot else ""
