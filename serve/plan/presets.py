"""Published models by name: their `config.json` and nothing else.

Only the keys that decide shapes and arithmetic are kept. Each is read by the code that reads a
checkpoint's own.
"""

from importlib.resources import files
from pathlib import Path

from serve.config import expanded
from serve.plan.errors import PlanError


def preset_names() -> list[str]:
    """The names, in order."""
    return sorted(path.name for path in _presets().iterdir())


def model_directory(model: str) -> Path:
    """The directory with the `config.json` of a preset, or the directory that is named.

    Raises:
        PlanError: it is neither.
        ConfigError: it begins with a home directory that is not there.
    """
    preset = _presets() / model.lower()
    directory = preset if model.lower() in preset_names() else expanded(model)
    if not directory.is_dir():
        raise PlanError(
            f"model is {model!r}, which is neither a directory nor a preset; "
            f"the presets are {', '.join(preset_names())}"
        )
    return directory


def _presets() -> Path:
    return Path(str(files("serve.plan"))) / "presets"
