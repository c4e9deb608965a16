"""Pairs of names and texts, of an address or of a form, to a shape of the wire.

`a[b]=c` is member `b` of the object `a`, as the official clients write it. Knows nothing of
particular fields.
"""

import re
from collections.abc import Iterable
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from pydantic import ValidationError

from serve.api.asking.validation import first_fault
from serve.api.wire.errors import invalid
from serve.api.wire.faults import echo
from serve.api.wire.strict import Strict

S = TypeVar("S", bound=Strict)

MOST_PAIRS = 64

_MEMBER = re.compile(r"([^\[\]]+)\[(.*)\]", re.DOTALL)


def from_query(query: bytes, shape: type[S]) -> S:
    """What the part of an address after `?` asks for.

    Raises:
        ApiError: 400; the first thing that is wrong with it.
    """
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MOST_PAIRS,
        )
    except ValueError as error:
        raise invalid(
            "invalid_query",
            f"We could not read the address after '?': give at most {MOST_PAIRS} parameters, "
            f"percent-encoded in UTF-8.",
        ) from error
    return from_pairs(pairs, shape)


def from_pairs(pairs: Iterable[tuple[str, str]], shape: type[S]) -> S:
    """What the pairs ask for.

    Raises:
        ApiError: 400; the first thing that is wrong with them.
    """
    fields: dict[str, Any] = {}
    for name, text in pairs:
        found = _MEMBER.fullmatch(name)
        outer, key = (found[1], found[2]) if found else (name, None)
        place = fields if key is None else fields.setdefault(outer, {})
        key = outer if key is None else key
        if not isinstance(place, dict) or key in place:
            raise invalid("invalid_value", f"The parameter {echo(name)} is given twice.", outer)
        place[key] = text
    try:
        return shape.model_validate(fields)
    except ValidationError as error:
        raise first_fault(error) from error
