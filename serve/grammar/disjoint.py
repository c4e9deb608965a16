"""Whether two schemas can be told apart: that no value is valid under both.

Knows only what can be proven from a few keywords; where it cannot tell it says no.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from serve.grammar.keywords import TYPES
from serve.grammar.places import named

Schema = Mapping[str, Any]

# Properties of properties, and references to references, that are looked into.
_DEPTH = 8
# Pairs of schemas that are compared: enough for a hundred branches, and over in a moment.
_MOST_STEPS = 20_000
# Keywords of the least and of the greatest, by the one type of value that they are about.
_SIZES = {
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
    "object": ("minProperties", "maxProperties"),
}


def are_disjoint(branches: Sequence[object], root: object) -> bool:
    """Whether no value is valid under two of the branches.

    Args:
        branches: schemas.
        root: the whole schema, for references.
    """
    proof = _Proof()
    return all(
        proof.apart(_Part(one, root), _Part(other, root), _DEPTH)
        for index, one in enumerate(branches)
        for other in branches[:index]
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """A schema, and the whole in which its references are looked up."""

    schema: Any
    root: Any

    def within(self, schema: object) -> "_Part":
        """A part of it."""
        return _Part(schema, self.root)

    @property
    def alternatives(self) -> Iterator[list["_Part"]]:
        """Parts of which one must hold."""
        for name in ("anyOf", "oneOf"):
            if isinstance(self.schema, dict) and name in self.schema:
                yield [self.within(each) for each in self.schema[name]]

    def views(self, depth: int) -> "Iterator[_Part]":
        """Parts that must hold together: itself, what it refers to, its `allOf`."""
        if not isinstance(self.schema, dict) or depth == 0:
            return
        schema = cast("Schema", self.schema)
        yield self
        if "$ref" in schema:
            yield from self.within(named(self.root, schema["$ref"])).views(depth - 1)
        for each in schema.get("allOf", ()):
            yield from self.within(each).views(depth - 1)


class _Proof:
    """One question, and how many more steps its answer may take."""

    def __init__(self) -> None:
        self._left = _MOST_STEPS

    def apart(self, one: _Part, other: _Part, depth: int) -> bool:
        """Whether no value is valid under both."""
        if one.schema is False or other.schema is False:
            return True
        self._left -= 1
        if depth == 0 or self._left < 0:
            return False
        mine, theirs = list(one.views(depth)), list(other.views(depth))
        if any(self._differ(a, b, depth) for a in mine for b in theirs):
            return True
        return any(
            all(self.apart(part, against, depth - 1) for part in parts)
            for views, against in ((mine, other), (theirs, one))
            for view in views
            for parts in view.alternatives
        )

    def _differ(self, one: _Part, other: _Part, depth: int) -> bool:
        self._left -= 1
        mine, theirs = _types(one.schema), _types(other.schema)
        if not mine & theirs:
            return True
        some, more = _values(one.schema), _values(other.schema)
        if some is not None and more is not None:
            return not some & more
        if mine | theirs <= {"integer", "fraction"}:
            return _beyond(_range(one.schema), _range(other.schema))
        if len(mine | theirs) > 1:
            return False
        (kind,) = mine
        if kind in _SIZES and _beyond(_size(one.schema, kind), _size(other.schema, kind)):
            return True
        return kind == "object" and (
            self._properties_differ(one, other, depth) or self._properties_differ(other, one, depth)
        )

    def _properties_differ(self, one: _Part, other: _Part, depth: int) -> bool:
        """Whether a property that `one` wants is another in `other`, or forbidden there."""
        ours, theirs = one.schema.get("properties", {}), other.schema.get("properties", {})
        free = other.schema.get("additionalProperties") is not False
        closed = not free and "patternProperties" not in other.schema
        for name in one.schema.get("required", ()):
            if name not in theirs and closed:
                return True
            both = name in ours and name in theirs
            if both and self.apart(one.within(ours[name]), other.within(theirs[name]), depth - 1):
                return True
        return False


def _types(schema: Schema) -> set[str]:
    """The types of the values that a schema has; a number that is no integer is a `fraction`."""
    values = _values(schema)
    if values is not None:
        return {kind for kind, _ in values}
    given = schema.get("type", list(TYPES))
    kinds = set(cast("list[str]", given) if isinstance(given, list) else [given])
    return (kinds - {"number"}) | ({"integer", "fraction"} if "number" in kinds else set())


def _values(schema: Schema) -> set[tuple[str, object]] | None:
    """The values that a schema lists, with their types; None where it lists none."""
    if "const" in schema:
        return {_typed(schema["const"])}
    return {_typed(value) for value in schema["enum"]} if "enum" in schema else None


def _typed(value: object) -> tuple[str, object]:
    match value:
        case None:
            return "null", None
        case bool():
            return "boolean", value
        case int() | float():
            return ("integer", int(value)) if float(value).is_integer() else ("fraction", value)
        case str():
            return "string", value
        case list():
            return "array", tuple(map(_typed, cast("list[object]", value)))
        case _:
            members = cast("dict[str, object]", value).items()
            return "object", frozenset((name, _typed(inner)) for name, inner in members)


def _range(schema: Schema) -> tuple[float, bool, float, bool]:
    """Least and greatest number, each with whether it is left out."""
    low = max(
        (schema.get("minimum", -math.inf), False),
        (schema.get("exclusiveMinimum", -math.inf), True),
    )
    high = min((schema.get("maximum", math.inf), 1), (schema.get("exclusiveMaximum", math.inf), 0))
    return low[0], low[1], high[0], not high[1]


def _size(schema: Schema, kind: str) -> tuple[float, bool, float, bool]:
    least, most = _SIZES[kind]
    return schema.get(least, 0), False, schema.get(most, math.inf), False


def _beyond(one: tuple[float, bool, float, bool], other: tuple[float, bool, float, bool]) -> bool:
    """Whether one range ends before the other begins."""
    return any(
        high < low or (high == low and (high_out or low_out))
        for (_, _, high, high_out), (low, low_out, _, _) in ((one, other), (other, one))
    )
