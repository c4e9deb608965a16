"""JSON schemas: what is enforced, what is refused with its path, what is left."""

import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from support.byte_tokens import END, allows, byte_compiler
from support.schemas import SCHEMAS, validate

from serve.engine.types import Constraint
from serve.grammar.compiler import GrammarCompiler
from serve.grammar.keywords import KEYWORDS, keyword_table
from serve.grammar.schema import SchemaError, compile_schema

ROOT = Path(__file__).parents[3]


CLOSING = {*b'"}],', END}


@pytest.fixture(scope="module")
def compiler() -> GrammarCompiler:
    return byte_compiler()


def random_answer(constraint: Constraint, rng: random.Random, bound: int = 200) -> bytes | None:
    """An answer drawn evenly from what is allowed, closing what is open now and then."""
    matcher, answer = constraint.matcher(), bytearray()
    words = np.zeros(9, np.uint32)
    for _ in range(bound):
        matcher.fill(words)
        tokens = np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little")).tolist()
        closing = [token for token in tokens if token in CLOSING]
        token = rng.choice(closing if closing and rng.random() < 0.4 else tokens)
        if token == END:
            return bytes(answer)
        matcher.accept(token)
        answer.append(token)
        if matcher.finished:
            return bytes(answer)
    return None


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_answer_that_ends_is_valid(compiler: GrammarCompiler, name: str) -> None:
    """However badly the model chooses, and most schemas can be answered by chance alone."""
    rng, schemas = random.Random(name), SCHEMAS[name]
    answered = 0
    for schema in schemas:
        Draft202012Validator.check_schema(schema)
        constraint = compile_schema(compiler.begin(), schema, strict=True)
        answers = [random_answer(constraint, rng) for _ in range(8)]
        for answer in filter(None, answers):
            validate(schema, answer)
        answered += any(answer is not None for answer in answers)
    assert answered > 0.8 * len(schemas)


def test_there_are_250_schemas_and_they_use_every_keyword_that_is_enforced() -> None:
    assert sum(map(len, SCHEMAS.values())) >= 250
    text = json.dumps(SCHEMAS)
    enforced = {name for name, keyword in KEYWORDS.items() if keyword.state == "enforced"}
    assert {name for name in enforced if f'"{name}"' not in text} == set()


DEEP: Any = {"properties": {"a": {"items": {"uniqueItems": True}}}}
# Bounds that a schema puts on another's multiples: of 1 digit too many to be met.
TOO_EXACT: dict[str, Any] = {
    "type": "object",
    "properties": {"ab": {"multipleOf": 1e-05}},
    "patternProperties": {"^a": {"type": "number", "minimum": 0.1, "maximum": 0.10000001}},
}
EMPTY_TEXT = {"type": "string", "pattern": "^[a-z]{3}$", "format": "uuid"}
BRANCHES = {"oneOf": [{"type": "integer"}, {"type": "number"}]}

# Schema, path at fault, words of the message; valid in form, but more than can be enforced.
UNENFORCEABLE: list[tuple[Any, tuple[str | int, ...], str]] = [
    ({"uniqueItems": True}, ("uniqueItems",), "'uniqueItems' cannot be enforced"),
    (DEEP, ("properties", "a", "items", "uniqueItems"), "cannot be enforced"),
    ({"not": {"type": "null"}}, ("not",), "cannot be enforced"),
    ({"if": {}, "then": {}, "else": {}}, ("if",), "cannot be enforced"),
    ({"then": {}}, ("then",), "cannot be enforced"),
    ({"contains": {"type": "null"}}, ("contains",), "cannot be enforced"),
    ({"minContains": 1}, ("minContains",), "cannot be enforced"),
    ({"propertyNames": {"maxLength": 3}}, ("propertyNames",), "cannot be enforced"),
    ({"dependentRequired": {"a": ["b"]}}, ("dependentRequired",), "cannot be enforced"),
    ({"dependentSchemas": {"a": {}}}, ("dependentSchemas",), "cannot be enforced"),
    ({"unevaluatedProperties": False}, ("unevaluatedProperties",), "cannot be enforced"),
    ({"additionalItems": False}, ("additionalItems",), "cannot be enforced"),
    ({"contentSchema": {}}, ("contentSchema",), "cannot be enforced"),
    ({"$dynamicRef": "#a"}, ("$dynamicRef",), "cannot be enforced"),
    ({"x-guidance": {"lenient": True}}, ("x-guidance",), "not a keyword"),
    ({"nullable": True}, ("nullable",), "not a keyword"),
    ({"anyOf": [{"Type": "null"}]}, ("anyOf", 0, "Type"), "not a keyword"),
    ({"$defs": {"a": {"foo": 1}}}, ("$defs", "a", "foo"), "not a keyword"),
    ({"format": "color"}, ("format",), "format 'color' is not one of date"),
    ({"type": "string", "pattern": "(?=a)b"}, ("pattern",), "look-around"),
    ({"properties": {"b": {"pattern": r"(a)\1"}}}, ("properties", "b", "pattern"), "backref"),
    ({"pattern": "a(b"}, ("pattern",), "unclosed group"),
    (BRANCHES, ("oneOf",), "use 'anyOf'"),
    ({"items": BRANCHES}, ("items", "oneOf"), "use 'anyOf'"),
    ({"type": "object", "minProperties": 2}, ("minProperties",), "could repeat a name"),
    ({"properties": {"a": {}}, "maxProperties": 1}, ("maxProperties",), "are required"),
    (
        {"patternProperties": {"ab": {}, "bc": {}}},
        ("patternProperties",),
        "match two of its patterns",
    ),
    ({"const": 2**53 + 1}, ("const",), "beyond 2^53"),
    ({"enum": [1, [2**60]]}, ("enum",), "beyond 2^53"),
    ({"minimum": -(2**54)}, ("minimum",), "beyond 2^53"),
    ({"type": "number", "multipleOf": 0.000001237}, ("multipleOf",), "too many digits"),
    ({"type": "number", "minimum": -1e300, "maximum": 1e300}, ("minimum",), "range is too large"),
    ({"type": "number", "exclusiveMinimum": 1e40}, ("exclusiveMinimum",), "range is too large"),
    ({**TOO_EXACT, "required": ["ab"]}, ("properties", "ab", "multipleOf"), "nothing may follow"),
    (EMPTY_TEXT, ("pattern",), "no text fits it"),
    ({"required": ["a"], "allOf": [{"const": "\x01"}]}, ("allOf", 0, "const"), "control char"),
    ({"properties": {"a": {"enum": [[{"\x7f": 1}]]}}}, ("properties", "a", "enum"), "control"),
    ({"patternProperties": {r"^\x01": {}}}, ("patternProperties",), "control characters"),
]


@pytest.mark.parametrize(("schema", "path", "words"), UNENFORCEABLE, ids=lambda value: None)
def test_what_cannot_be_enforced_is_refused_where_the_schema_is_strict(
    compiler: GrammarCompiler, schema: Any, path: tuple[str | int, ...], words: str
) -> None:
    if "pattern" not in json.dumps(schema):
        Draft202012Validator.check_schema(schema)
    with pytest.raises(SchemaError) as refused:
        compile_schema(compiler.begin(), schema, strict=True)
    assert refused.value.path == path
    assert words in str(refused.value)
    # Words of the library for its own insides.
    assert not re.search("NoExtension|lexer|Parser|regex|Some|[Ee]xpression", str(refused.value))


@pytest.mark.parametrize("schema", [schema for schema, _, _ in UNENFORCEABLE], ids=str)
def test_what_cannot_be_enforced_is_left_where_it_is_not(
    compiler: GrammarCompiler, schema: Any
) -> None:
    rng = random.Random(1)
    constraint = compile_schema(compiler.begin(), schema, strict=False)
    answers = [random_answer(constraint, rng) for _ in range(20)]
    found = [json.loads(answer) for answer in answers if answer is not None]
    assert found


@pytest.mark.parametrize(
    ("schema", "path", "words"),
    [
        (
            {"properties": {"s": {"pattern": "^a*$", "minLength": 20_000}}, "required": ["s"]},
            ("properties", "s", "pattern"),
            "too many states; make it smaller, or its repetitions shorter; leave it out, or set",
        ),
        (
            {"properties": {f"p{number}": {"type": "null"} for number in range(400)}},
            (),
            "it takes too much to follow: too many ways are open at once, more than 1,000; make",
        ),
    ],
    ids=["text", "members"],
)
def test_what_is_too_much_is_told_in_words_of_the_schema(
    compiler: GrammarCompiler, schema: Any, path: tuple[str | int, ...], words: str
) -> None:
    with pytest.raises(SchemaError) as refused:
        compile_schema(compiler.begin(), {"type": "object", **schema}, strict=True)
    assert refused.value.path == path
    assert words in str(refused.value)


def test_of_many_keywords_the_one_is_found_that_cannot_be_followed(
    compiler: GrammarCompiler,
) -> None:
    """And where the schema is not strict, it alone is left out."""
    fine = {"type": "string", "pattern": "^[a-z]+$", "minLength": 2, "maxLength": 5}
    members = {f"m{number:02}": fine for number in range(20)} | TOO_EXACT["properties"]
    schema = {**TOO_EXACT, "properties": members, "required": ["ab"]}
    with pytest.raises(SchemaError) as refused:
        compile_schema(compiler.begin(), schema, strict=True)
    assert refused.value.path == ("properties", "ab", "multipleOf")
    constraint = compile_schema(compiler.begin(), schema, strict=False)
    assert allows(constraint, '{"m07":"abc","ab":0.10000001}')
    assert not allows(constraint, '{"m07":"ABC","ab":0.10000001}')
    assert not allows(constraint, '{"m07":"abc","ab":0.2}')


def test_beside_what_is_left_the_rest_is_enforced(compiler: GrammarCompiler) -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True},
            "b": {"type": "string", "pattern": "(?!x)", "maxLength": 2},
            "c": {"oneOf": [{"type": "integer", "minimum": 90}, {"type": "null"}], "x-ui": "big"},
        },
        "required": ["a", "b", "c"],
        "additionalProperties": False,
    }
    kept = {
        **schema,
        "properties": {
            "a": {"type": "array", "items": {"type": "boolean"}},
            "b": {"type": "string", "maxLength": 2},
            "c": {"anyOf": [{"type": "integer", "minimum": 90}, {"type": "null"}]},
        },
    }
    rng = random.Random(2)
    constraint = compile_schema(compiler.begin(), schema, strict=False)
    answers = [random_answer(constraint, rng) for _ in range(40)]
    found = [answer for answer in answers if answer is not None]
    assert len(found) > 10
    for answer in found:
        validate(kept, answer)


MALFORMED: list[tuple[Any, tuple[str | int, ...], str]] = [
    (5, (), "a schema is an object"),
    ("object", (), "a schema is an object"),
    ({"type": "strin"}, ("type",), "one or more of null, boolean"),
    ({"type": 5}, ("type",), "one or more of"),
    ({"type": []}, ("type",), "one or more of"),
    ({"properties": []}, ("properties",), "must be an object that names schemas"),
    ({"properties": {"a": 1}}, ("properties", "a"), "a schema is an object"),
    ({"required": "a"}, ("required",), "array of strings"),
    ({"required": [1]}, ("required",), "array of strings"),
    ({"enum": []}, ("enum",), "one or more values"),
    ({"enum": "a"}, ("enum",), "one or more values"),
    ({"anyOf": []}, ("anyOf",), "one or more schemas"),
    ({"anyOf": [{}, 1]}, ("anyOf", 1), "a schema is an object"),
    ({"items": [{}]}, ("items",), "a schema is an object"),
    ({"minItems": -1}, ("minItems",), "integer of 0 or more"),
    ({"maxLength": 1.5}, ("maxLength",), "integer of 0 or more"),
    ({"minLength": True}, ("minLength",), "integer of 0 or more"),
    ({"minimum": "1"}, ("minimum",), "must be a number"),
    ({"exclusiveMinimum": True}, ("exclusiveMinimum",), "must be a number"),
    ({"multipleOf": 0}, ("multipleOf",), "above 0"),
    ({"pattern": 1}, ("pattern",), "must be a string"),
    ({"format": None}, ("format",), "must be a string"),
    ({"$ref": 1}, ("$ref",), "must be a string"),
    ({"$ref": "#/$defs/a"}, ("$ref",), "does not exist"),
    ({"$ref": "https://example.com/a"}, ("$ref",), "example.com"),
    ({"$ref": "#"}, (), "every value would go on without an end"),
    ({"const": "\ud800"}, (), "lone surrogate"),
    (False, (), "false"),
    ({"allOf": [{"type": "null"}, {"type": "string"}]}, (), "Unsatisfiable"),
]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(("schema", "path", "words"), MALFORMED, ids=lambda value: None)
def test_a_malformed_schema_is_refused_with_its_path(
    compiler: GrammarCompiler,
    schema: Any,
    path: tuple[str | int, ...],
    words: str,
    strict: bool,
) -> None:
    with pytest.raises(SchemaError) as refused:
        compile_schema(compiler.begin(), schema, strict=strict)
    assert refused.value.path == path
    assert words in str(refused.value)


def test_a_keyword_may_go_with_another_that_is_tried_without(compiler: GrammarCompiler) -> None:
    """What further members are goes with the patterns that say which are further."""
    again = {"allOf": [{"$ref": "#"}, {"properties": {"b": {"$ref": "#"}}}]}
    text = {"^a": {"type": "string"}}
    schema = {"type": "object", "patternProperties": text, "additionalProperties": again}
    with pytest.raises(SchemaError, match="'patternProperties' cannot be enforced here"):
        compile_schema(compiler.begin(), schema, strict=True)
    assert allows(compile_schema(compiler.begin(), schema, strict=False), '{"c":1}')


def test_a_large_schema_is_refused_unread(compiler: GrammarCompiler) -> None:
    large = {"enum": [f"value {number}" for number in range(10_000)]}
    with pytest.raises(SchemaError, match="bytes and at most 131,072 are allowed"):
        compile_schema(compiler.begin(), large, strict=True)


def test_no_answer_has_whitespace_between_its_tokens(compiler: GrammarCompiler) -> None:
    schema = {"type": "array", "items": {"type": "object", "additionalProperties": {"const": 1}}}
    matcher = compile_schema(compiler.begin(), schema, strict=True).matcher()
    words = np.zeros(9, np.uint32)
    for token in b'[{"a":1,"b":1},{}]':
        matcher.fill(words)
        # A name may have a space in it, and that is all.
        assert not words[0] or token in b'ab"'
        matcher.accept(token)
    assert matcher.finished


def test_docs_table_is_up_to_date() -> None:
    page = (ROOT / "docs" / "structured-output.md").read_text()
    assert f"holds {sum(map(len, SCHEMAS.values()))} of them" in page
    assert keyword_table() in page, "run: python -m tools.make_docs"
