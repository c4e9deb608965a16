"""Members that a schema allows by saying nothing of them, left out where it lists others.

Most schemas that clients make of functions list an object's properties and stop there. JSON Schema
then allows any further member; a model that may begin one seldom finds an end. Knows nothing of
what is enforced.
"""

from collections.abc import Iterator
from typing import Any, cast

from serve.grammar.places import inner, named, pointer
from serve.grammar.schema_error import Path

# Keywords whose schemas are about the value itself, not about a part of it.
_OF_THE_VALUE = {"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"}
# Those that say something of members other than the listed ones, and how many there must be.
_OF_OTHERS = {
    *("additionalProperties", "patternProperties", "propertyNames", "unevaluatedProperties"),
    *("minProperties", "dependentRequired", "dependencies"),
}
_DEFINITIONS = {"$defs", "definitions"}


def without_strangers(schema: Any) -> Any:
    """The schema, in which objects whose `properties` are listed have no others.

    Only where it says nothing of others, requires none of them, and is alone to say what the object
    is: not beside `allOf`, a reference or the like, nor in one. What is left is valid under the
    schema as it was.

    Args:
        schema: a well-formed one, with references that start at the root.
    """
    shared: set[str] = set()
    found = list(_told_together(schema, (), alone=True))
    while found:
        reference = found.pop()
        if reference not in shared:
            shared.add(reference)
            found += _told_together(named(schema, reference), (), alone=False)
    return _closed(schema, (), shared)


def _closed(schema: Any, path: Path, shared: set[str]) -> Any:
    if not isinstance(schema, dict) or pointer(path) in shared:
        return schema
    given = cast("dict[str, Any]", schema)
    fields = {
        name: value.copy() if isinstance(value, dict | list) else value
        for name, value in given.items()
    }
    for steps, each in inner(given):
        if _is_alone(given, steps):
            place: Any = fields
            for step in steps[:-1]:
                place = place[step]
            place[steps[-1]] = _closed(each, (*path, *steps), shared)
    listed: Any = given.get("properties")
    says_more = {"$ref", *_OF_OTHERS, *_OF_THE_VALUE} & set(given)
    if listed is not None and not says_more and set(given.get("required", ())) <= set(listed):
        fields["additionalProperties"] = False
    return fields


def _told_together(schema: Any, path: Path, *, alone: bool) -> Iterator[str]:
    """The references to what is not alone to say what a value is.

    Args:
        schema: a schema.
        path: where it is.
        alone: whether it is alone itself.
    """
    if not isinstance(schema, dict):
        return
    given = cast("dict[str, Any]", schema)
    if "$ref" in given and not (alone and _says_only(given, "$ref")):
        yield given["$ref"]
    for steps, each in inner(given):
        yield from _told_together(each, (*path, *steps), alone=alone and _is_alone(given, steps))


def _is_alone(schema: dict[str, Any], steps: Path) -> bool:
    """Whether what stands there in a schema alone says what its value is."""
    keyword = str(steps[0])
    if keyword in _DEFINITIONS:
        return True
    if keyword in ("anyOf", "oneOf", "allOf"):
        several = keyword == "allOf" and len(schema[keyword]) > 1
        return not several and _says_only(schema, keyword)
    return keyword not in _OF_THE_VALUE and not {"$ref", *_OF_THE_VALUE} & set(schema)


def _says_only(schema: dict[str, Any], keyword: str) -> bool:
    """Whether a schema has no other keyword that could bear on an object."""
    return set(schema) <= {keyword, "type", *_DEFINITIONS}
