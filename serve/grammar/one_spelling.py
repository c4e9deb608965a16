"""Schemas in whose answers no key may be spelled in two ways.

Where an object has further properties beside those that the schema knows by name or pattern,
the library leaves these names out as they are usually written: "\\u0061" would be a further key
that says "a". There `\\uXXXX` is not to be used at all, and so no string can hold the control
characters that have no other spelling.
"""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, cast

from serve.grammar.places import objects
from serve.grammar.schema_error import SchemaError

_ESCAPES = 'nrbtf"\\'
_CODED = r"\x00-\x07\x0b\x0e-\x1f\x7f"
_HAS_CODED = re.compile(f"[{_CODED}]")
# What in a pattern may stand for such a character.
_MAY_ASK = re.compile(rf"[{_CODED}]|\\[xuc0vpP]")
_FREE_OF_CODED = f"^[^{_CODED}]*$"
_REASON = (
    "control characters cannot be told apart from names that are spelled with them, where "
    "objects may have further properties; set 'additionalProperties' to false"
)


def with_one_spelling(schema: Any) -> Any:
    """The schema with the library's option for it, where it is needed.

    Args:
        schema: a well-formed one.

    Raises:
        SchemaError: it is needed, and a value or a name's pattern asks for a control character.
    """
    if not any(_has_further(fields) for _, fields in objects(schema)):
        return schema
    root = deepcopy(schema)
    for path, fields in list(objects(root)):
        for name in ("const", "enum"):
            if name in fields and any(map(_HAS_CODED.search, _strings(fields[name]))):
                raise SchemaError((*path, name), _REASON)
        if any(map(_MAY_ASK.search, fields.get("patternProperties", ()))):
            raise SchemaError((*path, "patternProperties"), _REASON)
        if _MAY_ASK.search(fields.get("pattern", "")):
            fields["allOf"] = [*fields.get("allOf", ()), {"pattern": _FREE_OF_CODED}]
    return root | {"x-guidance": {"json_allowed_escapes": _ESCAPES}}


def _has_further(schema: Mapping[str, Any]) -> bool:
    """Whether there may be other properties than those that are known by name or pattern."""
    knows = any(schema.get(name) for name in ("properties", "required", "patternProperties"))
    return knows and schema.get("additionalProperties") is not False


def _strings(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for each in cast("list[object]", value):
                yield from _strings(each)
        case dict():
            for key, each in cast("dict[str, object]", value).items():
                yield key
                yield from _strings(each)
        case _:
            pass
