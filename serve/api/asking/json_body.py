"""Bytes of a request to a JSON object, strictly.

Refuses what other parsers let through or fall over: duplicate keys, `NaN` and `Infinity`,
numbers that overflow, lone surrogates, deep nesting, very many arrays and objects. Knows nothing of
the fields.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn, cast

from serve.api.wire.errors import ApiError, invalid
from serve.api.wire.faults import echo, kind_of, path_of

# No field takes a number near this; int() itself takes quadratic time.
MOST_DIGITS = 300

# A message has three or four with its parts, a schema one for each thing that it names: a body of
# the usual size has no room for more. Each takes some hundred bytes, however short it is written.
MOST_CONTAINERS = 2**18

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)

_Container = dict[str, object] | list[object]


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
    _check_containers(body)
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


def _check_containers(body: bytes) -> None:
    """Refuse a body that would become very many arrays and objects, before it does."""
    if _brackets(body, 0, len(body)) <= MOST_CONTAINERS:
        return
    # Those in strings are text.
    count = position = 0
    for text in _STRING.finditer(body):
        count += _brackets(body, position, text.start())
        position = text.end()
        if count > MOST_CONTAINERS:
            break
    if count + _brackets(body, position, len(body)) > MOST_CONTAINERS:
        raise _refused(f"it has more than {MOST_CONTAINERS:,} arrays and objects")


def _brackets(body: bytes, start: int, end: int) -> int:
    return body.count(b"[", start, end) + body.count(b"{", start, end)


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
    if len(digits) > MOST_DIGITS:
        raise _refused(f"a number has {len(digits)} digits; {MOST_DIGITS} are allowed")
    return int(digits)


def _check(root: object, max_depth: int) -> None:
    """Depth, surrogates and overflow, without recursion, the first in the order of the body.

    Keeps one iterator a level; where a fault is, is found out when there is one.
    """
    above: list[_Container] = []
    waiting: list[Iterator[object]] = [iter((root,))]
    while waiting:
        for value in waiting[-1]:
            kind = type(value)
            if kind is str:
                if _has_surrogate(cast("str", value)):
                    raise _wrong(value, above, "a string has a lone surrogate (\\ud800 to \\udfff)")
            elif kind is float:
                if not math.isfinite(cast("float", value)):
                    raise _wrong(value, above, "a number is too large for 64-bit floating point")
            elif kind is dict or kind is list:
                inner = cast("_Container", value)
                if len(above) == max_depth:
                    raise _too_deep(max_depth)
                if isinstance(inner, dict) and any(map(_has_surrogate, inner)):
                    raise _wrong(inner, above, "a key has a lone surrogate (\\ud800 to \\udfff)")
                if inner:
                    above.append(inner)
                    waiting.append(iter(inner.values() if isinstance(inner, dict) else inner))
                    break
        else:
            waiting.pop()
            if above:
                above.pop()


def _has_surrogate(text: str) -> bool:
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _wrong(value: object, above: Sequence[_Container], reason: str) -> ApiError:
    """A refusal at `value`, which is in the last of `above`, which is in the one before."""
    steps = [
        next(key for key, inner in _items(outer) if inner is within)
        for outer, within in zip(above, (*above[1:], value), strict=False)
    ]
    return _refused(reason, path_of(tuple(steps)) or None)


def _items(container: _Container) -> Iterable[tuple[int | str, object]]:
    return container.items() if isinstance(container, dict) else enumerate(container)
