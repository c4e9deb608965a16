"""The text of a call's arguments as the object that it writes. Knows no format."""

import json
import math
from typing import NoReturn, cast

# As deep as a request's own JSON may be nested: what templates can be trusted to go through.
_DEEPEST = 64


def object_or_text(text: str) -> object:
    """The JSON object in `text`, or `text` where there is none that templates could write again.

    So the text of a call that was cut off stays, and so do numbers that overflow, `NaN`, lone
    surrogates, which no prompt can hold, and nesting deeper than a request's.
    """
    try:
        value: object = json.loads(text, parse_constant=_refuse) if text.strip() else {}
    except (ValueError, RecursionError):
        return text
    return cast("object", value) if isinstance(value, dict) and _can_be_written(value) else text


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _can_be_written(root: object) -> bool:
    rest = [(root, 1)]
    while rest:
        value, depth = rest.pop()
        if isinstance(value, dict | list):
            if depth > _DEEPEST:
                return False
            members = cast("dict[str, object] | list[object]", value)
            rest += ((member, depth + 1) for member in members)
            if isinstance(members, dict):
                rest += ((member, depth + 1) for member in members.values())
        elif isinstance(value, str):
            if not _has_bytes(value):
                return False
        elif isinstance(value, float) and not math.isfinite(value):
            return False
    return True


def _has_bytes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
