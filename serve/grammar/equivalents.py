"""Schemas said in another way, which the library can enforce exactly where the first it cannot.

Knows nothing of what is refused.
"""

from collections.abc import Mapping
from itertools import combinations
from math import comb
from typing import Any, cast

from serve.grammar.disjoint import are_disjoint
from serve.grammar.keywords import KEYWORDS

# Ways to choose the properties that are there; each becomes a branch.
_MOST_CHOICES = 64


def can_be_listed(schema: Mapping[str, Any]) -> bool:
    """Whether the least number of properties can be said by naming those that are there."""
    closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
    listed = schema.get("properties")
    if not closed or not isinstance(listed, dict):
        return False
    free, missing = _choice(schema)
    return comb(len(free), max(missing, 0)) <= _MOST_CHOICES


def equivalent(schema: Any, root: Any = None) -> Any:
    """The schema, where a `oneOf` of branches that cannot both hold is an `anyOf`, and a
    `minProperties` beyond what is required a choice of properties.

    Args:
        schema: a valid one.
        root: the whole of which it is a part, for references.
    """
    if not isinstance(schema, dict):
        return schema
    given = cast("dict[str, Any]", schema)
    root = given if root is None or "$id" in given else root
    fields = {name: _inner(name, value, root) for name, value in given.items()}
    added: list[Any] = []
    if "oneOf" in given and are_disjoint(given["oneOf"], root):
        added.append({"anyOf": fields.pop("oneOf")})
    if "minProperties" in given and can_be_listed(given):
        free, missing = _choice(given)
        if missing > 0:
            del fields["minProperties"]
            ways = combinations(free, missing)
            required = given.get("required", [])
            added.append({"anyOf": [{"required": [*required, *way]} for way in ways]})
    if len(added) == 1 and not {"anyOf", "allOf"} & set(fields):
        return fields | added[0]
    return fields | ({"allOf": [*fields.get("allOf", ()), *added]} if added else {})


def _choice(schema: Mapping[str, Any]) -> tuple[list[str], int]:
    """The properties that may be left out, and how many of them have to be there."""
    required = set(schema.get("required", ()))
    free = [name for name in schema["properties"] if name not in required]
    return free, schema["minProperties"] - len(required)


def _inner(name: str, value: Any, root: Any) -> Any:
    holds = KEYWORDS[name].holds if name in KEYWORDS else "value"
    match holds:
        case "schema":
            return equivalent(value, root)
        case "schemas":
            return [equivalent(each, root) for each in value]
        case "named schemas":
            return {key: equivalent(each, root) for key, each in value.items()}
        case _:
            return value
