"""Parts of schemas under which only a value without an end would be valid.

    {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}

An answer that begins such a value cannot be finished.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from serve.grammar.keywords import TYPES
from serve.grammar.patterns.search import is_found
from serve.grammar.places import inner, named, objects, rebuilt
from serve.grammar.schema_error import SchemaError

Schema = Mapping[str, Any]

# Alternatives within alternatives that are looked into; what lies deeper is taken to be fine.
_DEPTH = 32
# Parts that are looked at, again and again: enough for thousands, and over in a moment.
_MOST_STEPS = 100_000
_STEPS_OF_A_SEARCH = 100


def without_endless(schema: Any) -> Any:
    """The schema with nothing allowed where only a value without an end would be valid.

    Args:
        schema: a well-formed one, with references that start at its root.

    Returns:
        The schema, or False where that holds for all of it.

    Raises:
        SchemaError: it would take too long to find out.
    """
    if not any("$ref" in fields for _, fields in objects(schema)):
        return schema
    finite = _Finite(schema)

    def cut(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        fields = rebuilt(cast("Schema", part), cut)
        if finite.ends(cast("Schema", part)):
            return fields
        # The rest stays for what refers to it.
        return {"allOf": [False]} | {k: v for k, v in fields.items() if k not in ("$ref", "allOf")}

    return cut(schema) if finite.ends(schema) else False


class _Finite:
    """Which parts of a schema have values that end: the least set that explains itself."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._known: set[int] = set()
        self._left = _MOST_STEPS
        before = -1
        while before < len(self._known):
            before = len(self._known)
            # Onwards and backwards, what stands inside first: references lead both ways.
            self._settle(root)
            for _, part in reversed(list(objects(root))):
                self._look_at(part)

    def _settle(self, part: Any) -> None:
        if isinstance(part, dict):
            for _, each in inner(cast("Schema", part)):
                self._settle(each)
            self._look_at(cast("Schema", part))

    def _look_at(self, part: Schema) -> None:
        if not self.ends(part) and self._together([part], _DEPTH):
            self._known.add(id(part))

    def ends(self, schema: Any) -> bool:
        """Whether a value of a part can end. Nothing is valid under False, which ends too."""
        return isinstance(schema, bool) or id(schema) in self._known

    def _together(self, parts: Sequence[Schema], depth: int) -> bool:
        """Whether a value can end for which all the parts hold."""
        views: list[Schema] = []
        if depth == 0 or not all(self._gather(part, views) for part in parts):
            return depth == 0
        for index, view in enumerate(views):
            for name in {"anyOf", "oneOf"} & set(view):
                rest = [*views[:index], _without(view, name), *views[index + 1 :]]
                ways = [each for each in view[name] if self.ends(each) and each is not False]
                return any(
                    self._together(rest if way is True else [*rest, way], depth - 1) for way in ways
                ) or not any(isinstance(each, dict) for each in view[name])
        if any("const" in view or "enum" in view for view in views):
            return True
        types = set.intersection(*map(_types, views))
        containers = types <= {"object", "array"}
        return (
            not (types and containers)
            or ("object" in types and self._object_ends(views))
            or ("array" in types and self._array_ends(views))
        )

    def _gather(self, part: Schema, views: list[Schema]) -> bool:
        """Add a part and what holds with it, without its references; False where these go on."""
        waiting = [part]
        while waiting:
            self._spend(1)
            each = waiting.pop()
            views.append({k: v for k, v in each.items() if k not in ("$ref", "allOf")})
            held = [*each.get("allOf", ())]
            if "$ref" in each:
                held.append(named(self._root, each["$ref"]))
            if not all(map(self.ends, held)):
                return False
            waiting += [schema for schema in held if isinstance(schema, dict)]
        return True

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise SchemaError(
                (), "its references, alternatives and patterns are too many to follow"
            )

    def _object_ends(self, views: Sequence[Schema]) -> bool:
        return all(
            all(map(self.ends, self._property(view, name)))
            for view in views
            for name in {name for view in views for name in view.get("required", ())}
        ) and all(map(self._enough, views))

    def _property(self, view: Schema, name: str) -> list[Any]:
        """What a view asks of a property: all of these, as far as it is known."""
        self._spend(1)
        asked = [view["properties"][name]] if name in view.get("properties", {}) else []
        unknown = False
        for pattern, each in view.get("patternProperties", {}).items():
            self._spend(_STEPS_OF_A_SEARCH)
            found = is_found(pattern, name)
            asked += [each] if found else []
            unknown |= found is None
        return asked if asked or unknown else [view.get("additionalProperties", True)]

    def _enough(self, view: Schema) -> bool:
        """Whether as many properties end as there must be."""
        free = [view.get("additionalProperties", True), *view.get("patternProperties", {}).values()]
        listed = view.get("properties", {}).values()
        return any(each is not False and self.ends(each) for each in free) or view.get(
            "minProperties", 0
        ) <= sum(each is not False and self.ends(each) for each in listed)

    def _array_ends(self, views: Sequence[Schema]) -> bool:
        least = max(view.get("minItems", 0) for view in views)
        for view in views:
            first = view.get("prefixItems", [])
            needed = first[:least] + ([view.get("items", True)] if least > len(first) else [])
            if not all(map(self.ends, needed)):
                return False
        return True


def _types(view: Schema) -> set[str]:
    given = view.get("type", list(TYPES))
    types = set(cast("list[str]", given) if isinstance(given, list) else [given])
    return types | {"integer"} if "number" in types else types


def _without(view: Schema, name: str) -> Schema:
    return {k: v for k, v in view.items() if k != name}
