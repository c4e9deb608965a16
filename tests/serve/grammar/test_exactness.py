"""What the library alone would let through, or begin and never finish."""

import json
from typing import Any

import pytest
from support.byte_tokens import allows, byte_compiler
from support.schemas import validate

from serve.grammar.compiler import GrammarCompiler
from serve.grammar.schema import compile_schema, enforceable
from serve.text.calls.grammar import function_arguments
from serve.text.calls.tools import FunctionTool

TEXT, INTEGER = {"type": "string"}, {"type": "integer"}
# Objects with names that are known, and others that are texts.
OPEN: list[dict[str, Any]] = [
    {"properties": {"\u1111": INTEGER}, "additionalProperties": TEXT},
    {"patternProperties": {"^\u1111$": INTEGER}, "additionalProperties": TEXT},
    {"allOf": [{"properties": {"\u1111": INTEGER}}, {"minProperties": 0}]},
    {"anyOf": [{"properties": {"\u1111": INTEGER}, "additionalProperties": TEXT}]},
    {"$ref": "#/$defs/x", "$defs": {"x": {"properties": {"\u1111": INTEGER}, "minProperties": 0}}},
]
# A known name, spelled in other ways, with a value that it must not have.
DISGUISED = ['{"\\u1111":"x"}', '{"\u1111":"x"}']


@pytest.fixture(scope="module")
def compiler() -> GrammarCompiler:
    return byte_compiler()


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("schema", OPEN, ids=str)
def test_a_further_name_does_not_spell_a_known_one(
    compiler: GrammarCompiler, schema: dict[str, Any], strict: bool
) -> None:
    constraint = compile_schema(compiler.begin(), {"type": "object", **schema}, strict=strict)
    assert not any(allows(constraint, answer) for answer in DISGUISED)
    for valid in ('{"\u1111":7}', '{"\u1112":"x"}', r'{"\\u1111":"a\n\""}'):
        validate(schema, valid)
        assert allows(constraint, valid)


@pytest.mark.parametrize(
    ("name", "disguised"),
    [
        *[("\\", r"\u005c"), ('"', r"\u0022"), ("/", r"\/"), ("é", r"\u00e9"), ("é", r"\u00E9")],
        *[("a\n", r"a\u000a"), ("a\n", r"a\u000A"), ("😀", r"\ud83d\ude00"), ("a", r"\u0061")],
    ],
)
def test_of_no_kind(compiler: GrammarCompiler, name: str, disguised: str) -> None:
    schema = {"type": "object", "properties": {name: INTEGER}, "additionalProperties": TEXT}
    constraint = compile_schema(compiler.begin(), schema, strict=True)
    assert json.loads(f'"{disguised}"') == name
    assert not allows(constraint, f'{{"{disguised}":"x"}}')
    assert allows(constraint, json.dumps({name: 1}, ensure_ascii=False, separators=(",", ":")))


def test_nor_in_the_arguments_of_a_call(compiler: GrammarCompiler) -> None:
    schema = enforceable(compiler.begin(), {"type": "object", **OPEN[0]}, strict=True).schema
    rule = function_arguments(FunctionTool("f", schema, strict=True))
    assert json.loads(rule.removeprefix("%json "))["x-guidance"]["json_allowed_escapes"]


def test_strings_have_every_character_where_names_cannot_be_mistaken(
    compiler: GrammarCompiler,
) -> None:
    closed = {"type": "object", "properties": {"a": TEXT}, "additionalProperties": False}
    assert allows(compile_schema(compiler.begin(), closed, strict=True), r'{"a":"\u0000\u001b"}')
    assert allows(compile_schema(compiler.begin(), {"const": "\x01"}, strict=True), r'"\u0001"')


def test_a_character_that_is_asked_for_is_spelled_where_the_schema_is_not_strict(
    compiler: GrammarCompiler,
) -> None:
    schema = {"type": "object", "properties": {"a": {"const": "\x01"}}, "required": ["a"]}
    assert allows(compile_schema(compiler.begin(), schema, strict=False), r'{"a":"\u0001"}')


def test_a_pattern_begins_nothing_that_only_a_control_character_would_finish(
    compiler: GrammarCompiler,
) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string", "pattern": r"^(b\x01|bc)$"}},
        "required": ["a"],
    }
    constraint = compile_schema(compiler.begin(), schema, strict=True)
    assert allows(constraint, '{"a":"bc"}')
    assert not allows(constraint, r'{"a":"b\u0001"}')


BOUNDS: list[tuple[dict[str, float], list[float], list[float]]] = [
    ({"exclusiveMinimum": 3, "maximum": 3.5}, [3.0001, 3.5], [3, 3.51, 4]),
    ({"exclusiveMinimum": 3, "exclusiveMaximum": 3.5}, [3.49], [3, 3.5]),
    ({"exclusiveMaximum": -3, "minimum": -3.5}, [-3.5, -3.001], [-3, -3.6]),
    ({"exclusiveMinimum": 0, "maximum": 0.5}, [0.5, 0.001], [0, 0.6, -0.1]),
    ({"exclusiveMaximum": 0, "minimum": -0.5}, [-0.5, -0.001], [0, -0.6]),
    ({"exclusiveMinimum": 0}, [0.1, 1, 12.5], [0, -1]),
    ({"exclusiveMinimum": 3, "minimum": 4}, [4, 5], [3.5]),
    ({"exclusiveMinimum": 3, "minimum": 2}, [3.5, 4], [3, 2.5]),
    ({"exclusiveMinimum": -1, "exclusiveMaximum": 1}, [-0.9, 0, 0.9], [-1, 1]),
]


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize(("bounds", "inside", "outside"), BOUNDS, ids=str)
def test_a_bound_that_is_left_out(
    compiler: GrammarCompiler,
    bounds: dict[str, float],
    inside: list[float],
    outside: list[float],
    merged: bool,
) -> None:
    apart = {"allOf": [{name: value} for name, value in bounds.items()]}
    schema = {"type": "number", **(apart if merged else bounds)}
    constraint = compile_schema(compiler.begin(), schema, strict=True)
    assert [allows(constraint, str(number)) for number in inside] == [True] * len(inside)
    assert [allows(constraint, str(number)) for number in outside] == [False] * len(outside)


@pytest.mark.parametrize("sign", ["", "-"])
def test_each_whole_number_can_be_left_out(compiler: GrammarCompiler, sign: str) -> None:
    for number in [*range(1, 200), 1_000, 123_456_789, 10**12]:
        bounds = {"exclusiveMinimum": number, "maximum": number + 0.5}
        if sign:
            bounds = {"exclusiveMaximum": -number, "minimum": -number - 0.5}
        constraint = compile_schema(compiler.begin(), {"type": "number", **bounds}, strict=True)
        assert not allows(constraint, f"{sign}{number}")
        assert allows(constraint, f"{sign}{number}.25")


@pytest.mark.parametrize("number", [7, 10**13, 10**14, 10**15])
def test_the_integer_after_a_bound_is_let_in(compiler: GrammarCompiler, number: int) -> None:
    schema = {"type": "integer", "exclusiveMinimum": number}
    constraint = compile_schema(compiler.begin(), schema, strict=True)
    assert not allows(constraint, str(number))
    assert allows(constraint, str(number + 1))


LIST = {"type": "object", "properties": {"next": {"$ref": "#/$defs/list"}}, "required": ["next"]}
TREE = {"type": "array", "items": {"$ref": "#/$defs/tree"}, "minItems": 1}
SPLIT = {"type": "object", "allOf": [{"properties": LIST["properties"]}, {"required": ["next"]}]}
SOME = {
    "type": "object",
    "properties": {"a": {"$ref": "#/$defs/some"}, "b": False},
    "additionalProperties": False,
    "minProperties": 1,
}
EITHER = {"type": "object", "anyOf": [LIST, {"required": ["next"], **LIST}]}
NAMELESS = {**LIST, "properties": {}, "additionalProperties": {"$ref": "#/$defs/list"}}
ENDLESS: list[dict[str, Any]] = [
    {"list": LIST},
    {"list": SPLIT},
    {"list": EITHER},
    {"list": {"$ref": "#/$defs/list"}},
    {"list": {"$ref": "#/$defs/other"}, "other": {"anyOf": [{"$ref": "#/$defs/list"}]}},
    {"list": {"type": "array", "prefixItems": [{"$ref": "#/$defs/list"}], "minItems": 1}},
    {"list": TREE, "tree": TREE},
    {"list": {"allOf": [{"$ref": "#/$defs/some"}]}, "some": SOME},
    {"list": {**NAMELESS, "patternProperties": {"^x": {}}}},
    {"list": {**LIST, "properties": {}, "patternProperties": {"^n": {"$ref": "#/$defs/list"}}}},
]


@pytest.mark.parametrize("definitions", ENDLESS, ids=str)
def test_no_answer_begins_what_has_no_end(
    compiler: GrammarCompiler, definitions: dict[str, Any]
) -> None:
    """A member or branch that has none is not there, and one that must be is refused."""
    part = {"$ref": "#/$defs/list"}
    member = {"properties": {"a": part, "b": TEXT}, "additionalProperties": False}
    beside = {"anyOf": [{"type": "null"}, part, {"type": "object", **member}]}
    constraint = compile_schema(compiler.begin(), {**beside, "$defs": definitions}, strict=True)
    matcher = constraint.matcher()
    assert allows(constraint, "null")
    assert allows(constraint, '{"b":""}')
    for byte in b'{"':
        matcher.accept(byte)
    with pytest.raises(ValueError, match="nothing can satisfy it"):
        compile_schema(compiler.begin(), {**part, "$defs": definitions}, strict=True)
    needed = {"type": "object", **member, "required": ["a"], "$defs": definitions}
    with pytest.raises(ValueError, match="nothing can satisfy it"):
        compile_schema(compiler.begin(), needed, strict=True)


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"type": "object", "properties": {"next": {"$ref": "#"}}}, '{"next":{"next":{}}}'),
        ({**LIST, "properties": {"next": {"type": ["object", "null"]}}}, '{"next":null}'),
        ({"properties": {"next": {"anyOf": [{"$ref": "#"}, {}]}}}, '{"next":1}'),
        ({"type": "array", "items": {"$ref": "#"}}, "[[],[[]]]"),
        ({"anyOf": [{"type": "array", "items": {"$ref": "#"}, "minItems": 2}, INTEGER]}, "[1,2]"),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": {"oneOf": [{"$ref": "#/$defs/b"}, TEXT]}}}
            | {"$defs": {"a": {"anyOf": [TREE, TEXT]}, "tree": {"$ref": "#/$defs/a"}}},
            '[["x"],"y"]',
        ),
    ],
    ids=str,
)
def test_what_can_end_may_go_round(
    compiler: GrammarCompiler, schema: dict[str, Any], answer: str
) -> None:
    validate(schema, answer)
    assert allows(compile_schema(compiler.begin(), schema, strict=True), answer)


@pytest.mark.parametrize("patterns", [("ab", "bc"), ("(?=a)b",)], ids=str)
def test_names_of_patterns_that_are_left_are_no_further_names(
    compiler: GrammarCompiler, patterns: tuple[str, ...]
) -> None:
    schema = {
        "type": "object",
        "patternProperties": dict.fromkeys(patterns, INTEGER),
        "additionalProperties": False,
    }
    constraint = compile_schema(compiler.begin(), schema, strict=False)
    assert allows(constraint, '{"ab":1}')


def test_a_schema_that_takes_long_to_see_through_is_refused(compiler: GrammarCompiler) -> None:
    steps = {
        f"d{n}": {
            "type": "object",
            "allOf": [
                {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"required": [f"{side}{n}"]}]}
                for side in "lr"
            ],
        }
        for n in range(60)
    }
    schema = {"$ref": "#/$defs/d0", "$defs": {**steps, "d60": {"$ref": "#/$defs/d0"}}}
    with pytest.raises(ValueError, match="too many to follow"):
        compile_schema(compiler.begin(), schema, strict=True)
