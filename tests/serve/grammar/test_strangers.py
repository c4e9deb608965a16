"""Objects whose properties are listed have no others, where nothing says that they may."""

from typing import Any

import pytest

from serve.grammar.places import with_local_references
from serve.grammar.strangers import without_strangers

A = {"type": "object", "properties": {"a": {"type": "integer"}}}
B = {"type": "object", "properties": {"b": {"type": "integer"}}}
CLOSED_A = {**A, "additionalProperties": False}
CLOSED_B = {**B, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "closed"),
    [
        (A, CLOSED_A),
        ({"properties": {}}, {"properties": {}, "additionalProperties": False}),
        ({**A, "required": ["a"]}, {**CLOSED_A, "required": ["a"]}),
        ({"properties": {"x": A}}, {"properties": {"x": CLOSED_A}, "additionalProperties": False}),
        ({"items": A}, {"items": CLOSED_A}),
        ({"additionalProperties": A}, {"additionalProperties": CLOSED_A}),
        ({"anyOf": [A, B]}, {"anyOf": [CLOSED_A, CLOSED_B]}),
        ({"oneOf": [A, {"type": "null"}]}, {"oneOf": [CLOSED_A, {"type": "null"}]}),
        ({"allOf": [A]}, {"allOf": [CLOSED_A]}),
        (
            {"$defs": {"x": A}, "items": {"$ref": "#/$defs/x"}},
            {"$defs": {"x": CLOSED_A}, "items": {"$ref": "#/$defs/x"}},
        ),
        (
            {"$defs": {"x": A}, "anyOf": [{"$ref": "#/$defs/x"}, B]},
            {"$defs": {"x": CLOSED_A}, "anyOf": [{"$ref": "#/$defs/x"}, CLOSED_B]},
        ),
        (
            {"properties": {"more": {"items": {"$ref": "#"}}}},
            {"properties": {"more": {"items": {"$ref": "#"}}}, "additionalProperties": False},
        ),
    ],
)
def test_what_is_listed_is_all(schema: Any, closed: Any) -> None:
    assert without_strangers(with_local_references(schema)) == closed


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"type": "object"},
        {**A, "additionalProperties": True},
        {**A, "additionalProperties": {"type": "string"}},
        {**A, "patternProperties": {"^x": True}},
        {**A, "required": ["b"]},
        {**A, "minProperties": 2},
        {"allOf": [A, B]},
        {**A, "allOf": [B]},
        {**A, "anyOf": [B, {"required": ["c"]}]},
        {"anyOf": [{"allOf": [A, B]}, {"type": "null"}]},
        {"required": ["b"], "anyOf": [A, B]},
        {"$defs": {"x": A}, "allOf": [{"$ref": "#/$defs/x"}, B]},
        {"$defs": {"x": A}, "$ref": "#/$defs/x", "required": ["b"]},
        # The definition is closed neither here nor there, and nor is what it is made of.
        {
            "$defs": {"x": {"properties": {"y": {"$ref": "#/$defs/y"}}}, "y": A},
            "allOf": [{"$ref": "#/$defs/x"}, {"required": ["z"]}],
            "additionalProperties": {"$ref": "#/$defs/y"},
        },
    ],
)
def test_what_says_more_of_its_members_stays(schema: Any) -> None:
    assert without_strangers(with_local_references(schema)) == schema
