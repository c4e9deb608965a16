"""Bytes of a request to a JSON object, strictly.

Refuses what other parsers let through or fall over: duplicate keys, `NaN` and `Infinity`,
numbers that overflow, lone surrogates, deep nesting. Knows nothing of the fields.
"""

import json
import math
from typing import Any, NoReturn

from serve.api.wire.errors import ApiError, invalid
from serve.api.wire.faults import echo, kind_of, path_of

# No field takes a number near this; int() itself takes quadratic time.
_MOST_DIGITS = 300

_Link = tuple["_Link | None", int | str]


def parse_object(body: bytes, max_depth: int) -> dict[str, Any]:
    """The JSON object in `body`.

    Raises:
        ApiError: 400; it is not JSON, not an object, or one of the above.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _refused(
            f"byte 0x{body[error.start]:02x} at position {error.start} is not valid UTF-8"
        ) from error
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_integer,
        )
    except json.JSONDecodeError as error:
        raise _refused(f"{error.msg} at line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise _too_deep(max_depth) from error
    _check(value, max_depth)
    if not isinstance(value, dict):
        raise invalid(
            "invalid_type",
            f"Invalid type of the request body: expected an object, but got {kind_of(value)} "
            f"instead.",
        )
    return value


def _refused(reason: str, param: str | None = None) -> ApiError:
    return invalid(
        "invalid_json", f"We could not parse the JSON body of your request: {reason}.", param
    )


def _too_deep(max_depth: int) -> ApiError:
    return _refused(f"it is nested more than {max_depth} levels deep")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                shown = key.encode(errors="backslashreplace").decode()
                raise _refused(f"the key {echo(shown)} is given twice in one object")
            seen.add(key)
    return result


def _constant(name: str) -> NoReturn:
    raise _refused(f"{name} is not a JSON number")


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise _refused(f"a number has {len(digits)} digits; {_MOST_DIGITS} are allowed")
    return int(digits)


def _check(root: object, max_depth: int) -> None:
    """Depth, surrogates and overflow, without recursion."""
    stack: list[tuple[Any, _Link | None, int]] = [(root, None, 1)]
    while stack:
        value, link, depth = stack.pop()
        if isinstance(value, str):
            if _has_surrogate(value):
                raise _refused("a string has a lone surrogate (\\ud800 to \\udfff)", _path(link))
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise _refused("a number is too large for 64-bit floating point", _path(link))
        elif isinstance(value, dict | list):
            if depth > max_depth:
                raise _too_deep(max_depth)
            items: Any = value.items() if isinstance(value, dict) else enumerate(value)
            for key, inner in items:
                if isinstance(key, str) and _has_surrogate(key):
                    raise _refused("a key has a lone surrogate (\\ud800 to \\udfff)", _path(link))
                stack.append((inner, (link, key), depth + 1))


def _has_surrogate(text: str) -> bool:
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _path(link: _Link | None) -> str | None:
    steps: list[int | str] = []
    while link is not None:
        link, step = link
        steps.append(step)
    return path_of(tuple(reversed(steps))) or None
