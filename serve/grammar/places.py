"""The places of a schema: which parts of it are schemas, and what references name.

Source of the rules: JSON Schema 2020-12, sections 8.2 (identifiers, anchors, references) and 10.2.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any, cast
from urllib.parse import quote, unquote, urljoin

from serve.grammar.keywords import KEYWORDS
from serve.grammar.schema_error import Path, SchemaError

Schema = Mapping[str, Any]


def inner(schema: Schema) -> Iterator[tuple[Path, Any]]:
    """The schemas that stand directly in one, each with its path."""
    for name, value in schema.items():
        match KEYWORDS[name].holds if name in KEYWORDS else "value":
            case "schema":
                yield (name,), value
            case "schemas":
                yield from (((name, index), each) for index, each in enumerate(value))
            case "named schemas":
                yield from (((name, key), each) for key, each in value.items())
            case _:
                pass


def rebuilt(schema: Schema, change: Callable[[Any], Any]) -> dict[str, Any]:
    """A copy of a schema in which every schema that stands directly in it is changed."""
    fields: dict[str, Any] = {
        name: value.copy() if isinstance(value, dict | list) else value
        for name, value in schema.items()
    }
    for (*above, last), value in inner(schema):
        _at(fields, tuple(above))[last] = change(value)
    return fields


def objects(schema: Any, path: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A schema and all in it that are no booleans, each with its path, outer ones first."""
    if isinstance(schema, dict):
        yield path, cast("dict[str, Any]", schema)
        for steps, each in inner(cast("Schema", schema)):
            yield from objects(each, (*path, *steps))


def named(root: Any, reference: str) -> Any:
    """What a reference of the form `#` or `#/…` names; None for any other, or nothing."""
    name, _, fragment = reference.partition("#")
    steps = _steps(root, unquote(fragment))
    return None if name or steps is None else _at(root, steps)


def with_local_references(schema: Any) -> Any:
    """The schema with every reference as a path from its root, and so without identifiers.

    An identifier is a name by which references know a part; it need not be an address.

    Args:
        schema: a well-formed one.

    Raises:
        SchemaError: a reference names nothing in the schema.
    """
    root = deepcopy(schema)
    known, bases = _identified(root)
    for path, fields in objects(root):
        if "$ref" in fields:
            found = _target(root, fields["$ref"], bases[path], known)
            if found is None:
                raise SchemaError(
                    (*path, "$ref"), f"'{fields['$ref']}' does not exist in this schema"
                )
            fields["$ref"] = pointer(found)
        for name in ("$id", "$anchor"):
            fields.pop(name, None)
    return root


def _identified(root: Any) -> tuple[dict[str, Path], dict[Path, str]]:
    """`address#anchor` → path of all that has a name, and each schema's own address."""
    known: dict[str, Path] = {"#": ()}
    bases: dict[Path, str] = {}
    for path, fields in objects(root):
        base = next((bases[path[:-n]] for n in (1, 2) if path and path[:-n] in bases), "")
        address, _, anchor = str(fields.get("$id", "")).partition("#")
        bases[path] = _joined(base, address)
        if address:
            known.setdefault(f"{bases[path]}#", path)
        for name in filter(None, (anchor, fields.get("$anchor"))):
            known.setdefault(f"{bases[path]}#{name}", path)
    return known, bases


def _target(root: Any, reference: str, base: str, known: Mapping[str, Path]) -> Path | None:
    address, _, fragment = reference.partition("#")
    anchor = unquote(fragment)
    if anchor and not anchor.startswith("/"):
        return known.get(f"{_joined(base, address)}#{anchor}")
    resource = known.get(f"{_joined(base, address)}#")
    steps = None if resource is None else _steps(_at(root, resource), anchor)
    return None if resource is None or steps is None else (*resource, *steps)


def _joined(base: str, address: str) -> str:
    try:
        return urljoin(base, address) if address else base
    except ValueError:  # No address, and so a name that stands for itself.
        return address


def _steps(root: Any, pointer: str) -> Path | None:
    """The path that a JSON pointer (RFC 6901) stands for; None where it leads to no schema."""
    steps: Path = ()
    found: Any = root
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        key = int(name) if isinstance(found, list) and name.isdecimal() else name
        try:
            found = cast("Any", found)[key]
        except (LookupError, TypeError):
            return None
        steps = (*steps, key)
    return steps if isinstance(found, dict | bool) else None


def _at(root: Any, path: Path) -> Any:
    for step in path:
        root = root[step]
    return root


def pointer(path: Path) -> str:
    """The reference to a place, as `with_local_references` spells it."""
    return "#" + "".join(map(_pointer_step, path))


def _pointer_step(step: str | int) -> str:
    return "/" + quote(str(step).replace("~", "~0").replace("/", "~1"), safe="~$")
