"""Which schemas are proven to have no value in common, against values tried one by one."""

from itertools import product
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from serve.grammar.disjoint import are_disjoint

DEFS = {
    "cat": {
        "type": "object",
        "properties": {"kind": {"const": "cat"}, "lives": {"type": "integer"}},
        "required": ["kind"],
    },
    "dog": {
        "type": "object",
        "properties": {"kind": {"enum": ["dog", "wolf"]}},
        "required": ["kind"],
    },
    "pet": {"anyOf": [{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}]},
    "loop": {"$ref": "#/$defs/loop"},
    "even": {"$ref": "#/$defs/small"},
    "small": {"type": "integer", "maximum": 3},
}
CLOSED = {"type": "object", "properties": {"a": {}}, "additionalProperties": False}
# Two branches, and whether they are proven to be apart.
TABLE: list[tuple[Any, Any, bool]] = [
    ({"type": "string"}, {"type": ["integer", "null"]}, True),
    ({"type": "integer"}, {"type": "number"}, False),
    ({"type": "integer"}, {"const": 0.5}, True),
    ({"type": "integer"}, {"const": 1.0}, False),
    ({"const": 1}, {"const": True}, True),
    ({"const": 1}, {"const": 1.0}, False),
    ({"const": [1, {"a": 2}]}, {"const": [1.0, {"a": 2.0}]}, False),
    ({"enum": ["a", "b"]}, {"enum": ["c", None]}, True),
    ({"enum": ["a", "b"]}, {"enum": ["b"]}, False),
    ({"enum": ["a", 1]}, {"type": "boolean"}, True),
    ({"type": "integer", "maximum": 3}, {"type": "integer", "minimum": 4}, True),
    ({"type": "number", "maximum": 3}, {"type": "number", "minimum": 3}, False),
    ({"type": "number", "exclusiveMaximum": 3}, {"type": "number", "minimum": 3}, True),
    ({"maximum": 3}, {"minimum": 4}, False),
    ({"type": "string", "maxLength": 1}, {"type": "string", "minLength": 2}, True),
    ({"type": "array", "maxItems": 1}, {"type": "array", "minItems": 2}, True),
    ({"type": "array", "maxItems": 1}, {"type": "array", "minItems": 1}, False),
    ({"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}, True),
    ({"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/pet"}, False),
    ({"$ref": "#/$defs/pet"}, {"type": "string"}, True),
    ({"$ref": "#/$defs/pet"}, {**DEFS["cat"], "properties": {"kind": {"const": "cow"}}}, True),
    ({"$ref": "#/$defs/even"}, {"type": "integer", "minimum": 4}, True),
    ({"$ref": "#/$defs/loop"}, {"type": "string"}, False),
    ({"$ref": "#/$defs/none"}, {"type": "string"}, False),
    ({"$ref": "#anchor"}, {"type": "string"}, False),
    (DEFS["cat"], {"type": "object", "properties": {"kind": {"const": "dog"}}}, True),
    ({"type": "object", "properties": DEFS["cat"]["properties"]}, CLOSED, False),
    (DEFS["cat"], CLOSED, True),
    (DEFS["cat"], {**CLOSED, "patternProperties": {"k": {}}}, False),
    ({"type": "object", "minProperties": 2}, {"type": "object", "maxProperties": 1}, True),
    ({"allOf": [{"type": "object"}, {"$ref": "#/$defs/cat"}]}, DEFS["dog"], True),
    ({"oneOf": [{"const": 1}, {"const": 2}]}, {"anyOf": [{"const": 3}, {"const": 4}]}, True),
    ({"oneOf": [{"const": 1}, {"const": 2}]}, {"anyOf": [{"const": 3}, {"const": 2}]}, False),
    (False, {}, True),
    (True, {"const": 1}, False),
]
VALUES: list[Any] = [
    *(None, True, False, 0, 1, 2, 3, 4, 0.5, 1.0, 2.5, "", "a", "b", "c", "ab"),
    *([], [1], [1, 2], [1, {"a": 2}], {}, {"a": 1}, {"a": 1, "b": 2}),
    *({"kind": kind} for kind in ("cat", "dog", "wolf", "cow", 1)),
    *({"kind": "cat", "lives": lives} for lives in (9, "x")),
]


def whole(one: Any, other: Any) -> dict[str, Any]:
    return {"oneOf": [one, other], "$defs": DEFS}


@pytest.mark.parametrize(("one", "other", "proven"), TABLE)
def test_what_is_proven(one: Any, other: Any, proven: bool) -> None:
    root = whole(one, other)
    assert are_disjoint([one, other], root) == proven
    assert are_disjoint([other, one], root) == proven


def test_no_value_says_otherwise() -> None:
    """Every pair of branches of the table, tried with every value."""
    branches = [branch for row in TABLE for branch in row[:2] if "none" not in str(branch)]
    branches = [each for each in branches if not any(w in str(each) for w in ("loop", "anchor"))]
    valid = [
        [Draft202012Validator(whole(each, False)).is_valid(value) for value in VALUES]
        for each in branches
    ]
    found = 0
    for (one, mine), (other, theirs) in product(zip(branches, valid, strict=True), repeat=2):
        if are_disjoint([one, other], whole(one, other)):
            found += 1
            assert not any(a and b for a, b in zip(mine, theirs, strict=True)), (one, other)
    assert found > 500


def test_a_proof_that_would_take_long_is_given_up() -> None:
    deep: Any = {"type": "string"}
    for _ in range(30):
        deep = {"anyOf": [deep] * 8}
    assert not are_disjoint([deep, deep], deep)
    many = [{"type": "integer", "minimum": n, "maximum": n} for n in range(2_000)]
    assert not are_disjoint(many, {})
    assert are_disjoint(many[:100], {})
