"""What a validator finds wrong, in the API's words.

Validators of the shapes raise `fault(...)`; `serve.api.asking.validation` reads it. Knows nothing
of particular fields.
"""

import json
from collections.abc import Iterator
from typing import Any

from pydantic_core import PydanticCustomError

# Tags of union branches begin with a character that no field name has, so that the branch does
# not show in the path of an error.
TAG = "\0"

_LONGEST_NAME = 64
_LONGEST_ECHO = 100


def fault(code: str, text: str = "", *, at: str = "", expected: str = "") -> PydanticCustomError:
    """An error for a validator to raise.

    Args:
        code: the API's code, or `wrong_type`.
        text: the message; not needed for a wrong type or a missing field.
        at: path of the field at fault, below the value being validated.
        expected: for a wrong type, what the value should have been.
    """
    context: dict[str, Any] = {"text": text, "at": at, "expected": expected, "ours": True}
    return PydanticCustomError("wrong_type" if expected else code, "{text}", context)  # pyright: ignore[reportArgumentType]


def path_of(location: tuple[int | str, ...]) -> str:
    """`("messages", 2, "content", 0)` → `messages[2].content[0]`."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step == "[key]" or step.startswith(TAG):
            continue
        else:
            name = step if len(step) <= _LONGEST_NAME else step[:_LONGEST_NAME] + "…"
            path += f".{name}" if path else name
    return path


def echo(value: object) -> str:
    """A short form of what the client sent, for a message."""
    shown = ""
    for piece in _pieces(value):
        shown += piece[: _LONGEST_ECHO + 1]
        if len(shown) > _LONGEST_ECHO:
            return shown[:_LONGEST_ECHO] + "…"
    return shown


def _pieces(value: object) -> Iterator[str]:
    """What `echo` shows of a value; no more is written out than is taken."""
    if isinstance(value, str):
        yield "'"
        yield value
        yield "'"
    else:
        yield from json.JSONEncoder(ensure_ascii=False).iterencode(value)


def kind_of(value: object) -> str:
    """The JSON type of a value, as a message names it."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a decimal number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"
