"""Tables of the limits on what callers may ask, for the documentation: read from the code."""

from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter

from serve.api.wire.request import ChatRequest
from serve.config import ServeConfig
from serve.setting_names import flag_name, settings

_BOUNDS = {
    "maxItems": ("entries", "array_above_max_length"),
    "maxProperties": ("members", "object_above_max_properties"),
    "maxLength": ("characters", "string_above_max_length"),
}


def settings_table() -> str:
    """The limits that whoever runs a server can change."""
    defaults = ServeConfig()
    rows = ["| limit | flag | default | beyond it | why |", "|---|---|---|---|---|"]
    for name, (_, explained) in settings().items():
        if explained.beyond:
            default = explained.default_text or f"{getattr(defaults, name):,}"
            meaning = explained.help.partition(";")[0].rstrip(".")
            rows.append(
                f"| {meaning} | `{flag_name(name)}` | {default} | {explained.beyond} | "
                f"{explained.why} |"
            )
    return "\n".join(rows) + "\n"


def fields_table() -> str:
    """How long the lists, objects and strings of a request may be."""
    rows = ["| field | most | beyond it |", "|---|---|---|"]
    found = {
        f"| `{path}` | {value:,} {_BOUNDS[kind][0]} | 400 `{_BOUNDS[kind][1]}` |": None
        for path, kind, value in _bounds()
    }
    return "\n".join([*rows, *found]) + "\n"


def _bounds() -> Iterator[tuple[str, str, int]]:
    """Path, kind and value of every bound on a length in the schema of requests."""
    schema = TypeAdapter(ChatRequest).json_schema()
    yield from _below(schema, "", schema["$defs"], ())


def _below(
    schema: dict[str, Any], path: str, definitions: dict[str, Any], above: tuple[str, ...]
) -> Iterator[tuple[str, str, int]]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name not in above:
            yield from _below(definitions[name], path, definitions, (*above, name))
        return
    for kind in _BOUNDS:
        if kind in schema:
            yield path, kind, schema[kind]
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _below(branch, path, definitions, above)
    if isinstance(schema.get("items"), dict):
        yield from _below(schema["items"], f"{path}[]", definitions, above)
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _below(schema["additionalProperties"], f"{path}.*", definitions, above)
    if "propertyNames" in schema:
        yield from _below(schema["propertyNames"], f"{path} (keys)", definitions, above)
    for name, inner in schema.get("properties", {}).items():
        yield from _below(inner, f"{path}.{name}" if path else name, definitions, above)
