"""The settings by name, and what they are called as flags and environment variables."""

from dataclasses import Field, fields
from typing import Any

from serve.config import ServeConfig
from serve.setting_field import Setting, explanation


def settings() -> dict[str, tuple[Field[Any], Setting]]:
    """Name → (field, explanation) of every setting, in the order of the help."""
    return {entry.name: (entry, explanation(entry)) for entry in fields(ServeConfig)}


def environment_name(name: str) -> str:
    """Environment variable of the setting called `name`."""
    return f"PARLANCE_{name.upper()}"


def flag_name(name: str) -> str:
    """Flag of the setting called `name`; empty where only the environment sets it."""
    explained = settings()[name][1]
    if explained.secret:
        return ""
    return explained.flag or "--" + name.replace("_", "-")
