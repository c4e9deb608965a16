"""Reads how a checkpoint wants its pictures: `preprocessor_config.json`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

# What is done to each picture; a checkpoint that leaves one out is not built.
_ALWAYS = ("do_resize", "do_rescale", "do_normalize")
_NEVER = ("do_center_crop", "do_pad")


class ProcessorError(ValueError):
    """A checkpoint's way with pictures that cannot be followed; the message says why."""


def read_settings(directory: Path) -> dict[str, Any]:
    """The settings of a checkpoint's image processor.

    Raises:
        ProcessorError: there are none, or they cannot be read.
    """
    for name, key in (
        ("preprocessor_config.json", ""),
        ("processor_config.json", "image_processor"),
    ):
        path = directory / name
        if path.is_file():
            found = _object(path)
            found = found.get(key) if key else found
            if isinstance(found, dict):
                return checked(cast("dict[str, Any]", found), str(path))
    raise ProcessorError(
        f"{directory} has no preprocessor_config.json, which says how its model wants pictures"
    )


def checked(settings: dict[str, Any], place: str) -> dict[str, Any]:
    """The settings, if nothing but their numbers is unusual.

    Raises:
        ProcessorError: a step is left out or added.
    """
    for name in _ALWAYS:
        if settings.get(name, True) is False:
            raise ProcessorError(f"{place}: {name} is false; only true is followed")
    for name in _NEVER:
        if settings.get(name):
            raise ProcessorError(f"{place}: {name} is true; only false is followed")
    return settings


def number(settings: Mapping[str, Any], name: str, default: int) -> int:
    """A whole number above zero, or the default where null or nothing is said.

    Raises:
        ProcessorError: it is something else.
    """
    value = settings.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ProcessorError(f"{name} is {value!r}; it must be a whole number above zero")
    return value


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProcessorError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ProcessorError(f"{path} has no JSON object")
    return cast("dict[str, Any]", found)
