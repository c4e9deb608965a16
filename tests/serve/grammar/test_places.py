"""References to parts of a schema, by path, identifier and anchor."""

from typing import Any

import pytest
from support.byte_tokens import allows, byte_compiler

from serve.grammar.compiler import GrammarCompiler
from serve.grammar.places import with_local_references
from serve.grammar.schema import compile_schema
from serve.grammar.schema_error import SchemaError

NULL = {"type": "null"}


@pytest.fixture(scope="module")
def compiler() -> GrammarCompiler:
    return byte_compiler()


def defined(reference: str, **definitions: Any) -> dict[str, Any]:
    return {"$ref": reference, "$defs": definitions}


# A schema, and where its reference leads.
LOCAL: list[tuple[dict[str, Any], str]] = [
    (defined("#/$defs/a", a=NULL), "#/$defs/a"),
    (defined("#/$defs/a%20b", **{"a b": NULL}), "#/$defs/a%20b"),
    (defined("#/$defs/~1~0%25", **{"/~%": NULL}), "#/$defs/~1~0%25"),
    (defined("#/$defs/a/anyOf/0", a={"anyOf": [NULL]}), "#/$defs/a/anyOf/0"),
    (defined("#x", a={**NULL, "$anchor": "x"}), "#/$defs/a"),
    (defined("#x", a={**NULL, "$id": "#x"}), "#/$defs/a"),
    (defined("b", a={**NULL, "$id": "b"}), "#/$defs/a"),
    (defined("my part", a={**NULL, "$id": "my part"}), "#/$defs/a"),
    ({**defined("#/$defs/a", a=NULL), "$id": "http://[no address"}, "#/$defs/a"),
    ({**defined("b.json", a={**NULL, "$id": "/s/b.json"}), "$id": "https://x.y/s/"}, "#/$defs/a"),
    ({**defined("urn:x#/$defs/a", a=NULL), "$id": "urn:x"}, "#/$defs/a"),
    (defined("z#n", a={"$id": "z", "$defs": {"w": {**NULL, "$anchor": "n"}}}), "#/$defs/a/$defs/w"),
    (defined("z#/$defs/w", a={"$id": "z", "$defs": {"w": NULL}}), "#/$defs/a/$defs/w"),
]


@pytest.mark.parametrize(("schema", "place"), LOCAL, ids=str)
def test_a_reference_leads_to_its_place(
    compiler: GrammarCompiler, schema: dict[str, Any], place: str
) -> None:
    found = with_local_references(schema)
    assert found["$ref"] == place
    assert '"$id"' not in str(found)
    assert allows(compile_schema(compiler.begin(), schema, strict=True), "null")


def test_an_identifier_starts_references_anew() -> None:
    nested = {"$id": "b", "$ref": "#/$defs/a", "$defs": {"a": NULL}}
    schema = {"items": nested, "$defs": {"a": {"const": 1}}}
    assert with_local_references(schema)["items"]["$ref"] == "#/items/$defs/a"


@pytest.mark.parametrize(
    "reference", ["#/$defs/b", "#b", "other", "#/$defs/a/type", "#/$defs/a/anyOf/7", "https://x.y/"]
)
def test_a_reference_to_nothing_is_refused(reference: str) -> None:
    schema = {"items": {"$ref": reference}, "$defs": {"a": {"type": "null", "anyOf": [{}]}}}
    with pytest.raises(SchemaError, match="does not exist in this schema") as refused:
        with_local_references(schema)
    assert refused.value.path == ("items", "$ref")


@pytest.mark.parametrize("identifier", ["my schema", "nested/", "#x", "https://a.b/c", "%", ""])
def test_identifiers_ask_for_nothing(compiler: GrammarCompiler, identifier: str) -> None:
    schema = {
        "$id": identifier,
        "type": "object",
        "properties": {"a": {"$id": identifier, "type": "null"}},
    }
    assert allows(compile_schema(compiler.begin(), schema, strict=True), '{"a":null}')
