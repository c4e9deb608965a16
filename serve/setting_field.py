"""A dataclass field that is a setting: its default, and how a person sets it and is told of it.

Knows nothing of which settings there are.
"""

from dataclasses import Field, dataclass, field
from typing import Any, cast

_SETTING = "setting"


@dataclass(frozen=True, slots=True)
class Setting:
    """How one field is set and explained.

    Attributes:
        group: heading under which the help shows it.
        help: what it does, with its unit; one or two sentences.
        metavar: placeholder for its value in the help; empty for switches and choices.
        flag: the flag, where it is not the field's name with dashes.
        low: smallest value allowed, for numbers.
        high: largest value allowed, for numbers.
        default_text: the default in words, where the value itself says little.
        secret: set by its environment variable only, and never printed.
        beyond: what becomes of what goes beyond it, for a setting that is a limit on requests.
        why: what a limit is for.
    """

    group: str
    help: str
    metavar: str = ""
    flag: str = ""
    low: float | None = None
    high: float | None = None
    default_text: str = ""
    secret: bool = False
    beyond: str = ""
    why: str = ""


# Any, because to a type checker a dataclass field's default must look like the field's type.
def setting(default: object, **explained: Any) -> Any:
    """A field with that default, or what makes it, and what a `Setting` says of it."""
    made: dict[str, Any] = {"default_factory" if callable(default) else "default": default}
    told = Setting(**explained)
    return field(**made, repr=not told.secret, metadata={_SETTING: told})


def explanation(entry: Field[Any]) -> Setting:
    """What a field made by `setting` is explained by."""
    return cast("Setting", entry.metadata[_SETTING])
