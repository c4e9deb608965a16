"""What the values of a schema's keywords must be."""

import math
from collections.abc import Callable, Iterator
from typing import cast

from serve.grammar.keywords import TYPES, Holds
from serve.grammar.schema_error import Path, SchemaError

# Beyond it not every integer is a double, in which the library and most readers of JSON count.
_EXACT = 2**53


def check_value(holds: Holds, value: object, path: Path) -> None:
    """See that a value is of the kind that its keyword holds, if that is no schema.

    Raises:
        SchemaError: it is not.
    """
    _CHECKS[holds](value, path)


def inexact(value: object) -> Iterator[int]:
    """The integers in a value that a double cannot be trusted to hold."""
    if isinstance(value, bool):
        return
    if isinstance(value, int) and abs(value) > _EXACT:
        yield value
    elif isinstance(value, list):
        for each in cast("list[object]", value):
            yield from inexact(each)
    elif isinstance(value, dict):
        for each in cast("dict[str, object]", value).values():
            yield from inexact(each)


def list_of(value: object, path: Path, of: str) -> list[object]:
    """The value, if it is an array that is not empty.

    Args:
        value: of a keyword.
        path: where it is.
        of: what it lists, for the message.

    Raises:
        SchemaError: it is not.
    """
    if not isinstance(value, list) or not value:
        raise SchemaError(path, f"it must be an array of one or more {of}")
    return cast("list[object]", value)


def _count(value: object, path: Path) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise SchemaError(path, "it must be an integer of 0 or more")


def _number(value: object, path: Path) -> None:
    finite = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    if isinstance(value, bool) or not finite:
        raise SchemaError(path, "it must be a number")


def _positive(value: object, path: Path) -> None:
    _number(value, path)
    if cast("float", value) <= 0:
        raise SchemaError(path, "it must be a number above 0")


def _text(value: object, path: Path) -> None:
    if not isinstance(value, str):
        raise SchemaError(path, "it must be a string")


def _texts(value: object, path: Path) -> None:
    if not isinstance(value, list) or not all(
        isinstance(each, str) for each in cast("list[object]", value)
    ):
        raise SchemaError(path, "it must be an array of strings")


def _types(value: object, path: Path) -> None:
    names = cast("list[object]", value) if isinstance(value, list) else [value]
    if not names or not all(name in TYPES for name in names):
        raise SchemaError(path, f"it must be one or more of {', '.join(TYPES)}")


def _flag(value: object, path: Path) -> None:
    if not isinstance(value, bool):
        raise SchemaError(path, "it must be true or false")


def _values(value: object, path: Path) -> None:
    list_of(value, path, "values")


def _anything(value: object, path: Path) -> None:
    del value, path


_CHECKS: dict[str, Callable[[object, Path], None]] = {
    "count": _count,
    "number": _number,
    "positive number": _positive,
    "text": _text,
    "texts": _texts,
    "types": _types,
    "flag": _flag,
    "values": _values,
    "value": _anything,
}
