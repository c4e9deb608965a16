"""Numbers end: free ones have the digits of a double, others those that the schema asks for."""

import json
import math
import shutil
import struct
import subprocess
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.byte_tokens import END, allows, byte_compiler
from support.digits import check, draw, numbers_in, random_model, significant
from support.schemas import validate

from serve.grammar.compiler import GrammarCompiler
from serve.grammar.free_numbers import Digits
from serve.grammar.schema import SchemaError, compile_schema

SIZE, ENDS = 257, frozenset([END])
NUMBER: dict[str, Any] = {"type": "number"}
INTEGER: dict[str, Any] = {"type": "integer"}


@pytest.fixture(scope="module")
def compiler() -> GrammarCompiler:
    return byte_compiler()


FREE: dict[str, Any] = {
    "anything": {},
    "json_object": {"type": "object"},
    "numbers": {"type": "array", "items": NUMBER, "minItems": 9},
    "integers": {"type": "array", "items": INTEGER, "minItems": 9},
    "unions": {"type": "array", "items": {"type": ["null", "number", "array"]}, "minItems": 9},
    "half bounded": {"type": "array", "items": {"minimum": 0}, "minItems": 9},
    "further members": {"type": "object", "properties": {"a": True}, "required": ["a", "b"]},
    "refined": {"type": "array", "items": {"$ref": "#/$defs/x"}, "$defs": {"x": {}}, "minItems": 9},
}


@pytest.mark.parametrize("name", FREE)
def test_numbers_of_500_answers_of_random_models_have_17_significant_digits_at_most(
    compiler: GrammarCompiler, name: str
) -> None:
    constraint = compile_schema(compiler.begin(), FREE[name], strict=True)
    rng = np.random.default_rng(list(name.encode()))
    found = [
        number
        for _ in range(500)
        for number in numbers_in(draw(constraint, random_model(rng, SIZE), SIZE, ENDS, 80))
    ]
    for number in found:
        check(number)
    # They would be longer if they could.
    assert max(map(significant, found)) == 17


def talkative(rng: np.random.Generator) -> Any:
    """Draws any token but the end, as long as there is one."""

    def choose(allowed: NDArray[np.intp]) -> int:
        return int(rng.choice(allowed[allowed != END] if allowed.size > 1 else allowed))

    return choose


# What is asked of a number → the digits that are enough, if not those of free ones.
ASKED: list[tuple[dict[str, Any], Digits]] = [
    (NUMBER, Digits()),
    (INTEGER, Digits()),
    ({"type": ["number", "integer"]}, Digits()),
    ({**NUMBER, "minimum": 0}, Digits()),
    ({**NUMBER, "maximum": 0.3}, Digits()),
    ({**NUMBER, "exclusiveMinimum": 0.5}, Digits()),
    ({**NUMBER, "exclusiveMaximum": -0.125}, Digits()),
    ({**NUMBER, "exclusiveMinimum": -1, "exclusiveMaximum": 10}, Digits()),
    ({**NUMBER, "minimum": 0.1, "maximum": 0.30000000000000004}, Digits()),
    ({**NUMBER, "minimum": 100.00000000000001}, Digits()),
    ({**NUMBER, "minimum": 1e17}, Digits()),
    ({**NUMBER, "exclusiveMinimum": 0}, Digits(zeros=29)),
    ({**NUMBER, "exclusiveMinimum": 0, "maximum": 1e-20}, Digits(zeros=29)),
    ({**NUMBER, "maximum": -1e-10}, Digits(zeros=9)),
    ({**INTEGER, "minimum": -5}, Digits()),
    ({**INTEGER, "exclusiveMinimum": 7}, Digits()),
    ({**INTEGER, "multipleOf": 7}, Digits()),
    ({**INTEGER, "multipleOf": 360, "minimum": 1}, Digits()),
    ({**INTEGER, "multipleOf": 4999}, Digits()),
    ({**NUMBER, "multipleOf": 0.25}, Digits()),
    ({**NUMBER, "multipleOf": 0.125, "maximum": 9}, Digits()),
    ({**NUMBER, "multipleOf": 0.01, "minimum": 0, "maximum": 2**53}, Digits(significant=18)),
    ({**NUMBER, "allOf": [{"multipleOf": 0.5}, {"multipleOf": 0.75}]}, Digits()),
    ({"const": 1e300}, Digits(whole=301)),
    ({"enum": [1.5e-12, 1e308]}, Digits(zeros=11, whole=309)),
    ({**NUMBER, "minimum": 0.1, "maximum": 0.10000001, "multipleOf": 0.00001}, Digits()),
    ({**NUMBER, "minimum": 0.2, "exclusiveMaximum": 1.0001, "multipleOf": 0.25}, Digits()),
    ({**NUMBER, "exclusiveMinimum": -0.25, "maximum": 0.26, "multipleOf": 0.25}, Digits()),
    ({**INTEGER, "exclusiveMinimum": 15, "maximum": 39.5, "multipleOf": 15}, Digits()),
]


@pytest.mark.parametrize(("schema", "digits"), ASKED, ids=[str(schema) for schema, _ in ASKED])
def test_a_number_ends_whatever_the_model_would_like_and_is_valid(
    compiler: GrammarCompiler, schema: dict[str, Any], digits: Digits
) -> None:
    constraint, rng = (
        compile_schema(compiler.begin(), schema, strict=True),
        np.random.default_rng(1),
    )
    longest = 0
    for _ in range(60):
        answer = draw(constraint, talkative(rng), SIZE, ENDS, 400)
        validate(schema, answer)
        assert allows(constraint, answer)
        assert significant(answer) <= digits.significant
        whole, _, fraction = answer.lstrip("-").partition(".")
        assert len(whole) <= digits.whole or "e" in whole.lower()
        longest = max(longest, len(fraction) - len(fraction.lstrip("0")) if whole == "0" else 0)
    assert longest <= digits.zeros + 1


def random_doubles() -> list[float]:
    rng = np.random.default_rng(2)
    bits = struct.unpack("<600d", rng.bytes(4_800))
    scales = rng.normal(size=400) * 10.0 ** rng.integers(-12, 25, 400)
    edges = [0.0, -0.0, 5e-324, 1.7976931348623157e308, 2.2250738585072014e-308, 0.1 + 0.2]
    edges += [1e16, 1e21, 1e-6, 1e-7, 0.0001, 123456789012345680000.0, 999999999999999900000.0]
    edges += [9007199254740993.0, 9999999999999998.0, 1.2345678901234567e-6, 1 / 3, -(2.0**63)]
    rounded = [round(value, digits) for value in scales[:100].tolist() for digits in (0, 2, 5)]
    return [x for x in [*bits, *scales.tolist(), *edges, *rounded] if math.isfinite(x)]


def check_spellings(compiler: GrammarCompiler, spelled: list[str]) -> None:
    """That free numbers of every kind may be written so."""
    constraint = compile_schema(compiler.begin(), {"type": "array", "items": NUMBER}, strict=True)
    anything = compile_schema(compiler.begin(), {}, strict=True)
    assert allows(constraint, f"[{','.join(spelled)}]")
    assert allows(anything, f"[{','.join(spelled)}]")
    for number in spelled:
        check(number)


def test_every_double_may_be_written_as_python_does(compiler: GrammarCompiler) -> None:
    check_spellings(compiler, list(map(repr, random_doubles())))


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node, an engine of ECMA-262")
def test_every_double_may_be_written_as_javascript_does(compiler: GrammarCompiler) -> None:
    script = 'console.log(JSON.stringify(JSON.parse(require("fs").readFileSync(0,"utf8"))))'
    asked = json.dumps(random_doubles())
    said = subprocess.run(
        ["node", "-e", script], input=asked, text=True, capture_output=True, check=True
    )
    check_spellings(compiler, said.stdout.strip().removeprefix("[").removesuffix("]").split(","))


@pytest.mark.parametrize(
    "bounds",
    [
        {"minimum": -1.5},
        {"minimum": -20},
        {"exclusiveMinimum": -1.5, "maximum": 10},
        {"maximum": 3.45},
        {"exclusiveMinimum": 0},
        {"exclusiveMaximum": 0},
        {"minimum": -0.25, "maximum": 0.25},
    ],
    ids=str,
)
@pytest.mark.parametrize("beginning", ["0.", "-0.", "0.1", "-0.1", "3.4", "-3.4"])
def test_zeros_without_an_end_lead_to_one(
    compiler: GrammarCompiler, bounds: dict[str, Any], beginning: str
) -> None:
    """Also where the library wants another digit behind them."""
    constraint = compile_schema(compiler.begin(), {**NUMBER, **bounds}, strict=True)
    matcher, words = constraint.matcher(), np.zeros(-(-SIZE // 32), np.uint32)
    for at in range(80):
        matcher.fill(words)
        bits = np.unpackbits(words.view(np.uint8), bitorder="little")
        allowed = {token for token in range(SIZE) if bits[token]}
        assert allowed, f"nothing may follow {at} characters"
        wanted = ord(beginning[at]) if at < len(beginning) else ord("0")
        if wanted not in allowed:
            # No such number, or as many zeros as there may be.
            break
        matcher.accept(wanted)
    assert at < len(beginning) + 40


@pytest.mark.parametrize(
    ("number", "ends"),
    [
        *[
            ("12345678901234567", True),
            ("123456789012345678", False),
            ("-1234567890.1234567", True),
        ],
        *[("1234567890.12345678", False), ("0.12345678901234567", True)],
        *[("0.123456789012345678", False), ("0.00000012345678901234567", True)],
        *[("0.00000000", False), ("0.0000000", True), ("100000000000000000000", True)],
        *[("1000000000000000000000", False), ("123456789012345670000", True)],
        *[("1.00000000000000000", False), ("1.0000000000000000", True), ("1e999", True)],
        *[
            ("1e1000", False),
            ("1E+001", True),
            ("1e-0001", False),
            ("12345678901234567e-308", True),
        ],
    ],
)
def test_how_long_a_free_number_may_be(compiler: GrammarCompiler, number: str, ends: bool) -> None:
    assert allows(compile_schema(compiler.begin(), NUMBER, strict=True), number) == ends
    assert allows(compile_schema(compiler.begin(), {}, strict=True), f'{{"a":[{number}]}}') == ends


LONG = 1234567890123456789012345


@pytest.mark.parametrize(
    ("schema", "number"),
    [
        ({"enum": [LONG, "a"]}, LONG),
        ({"properties": {"a": {**INTEGER, "enum": [LONG]}}}, LONG),
        ({**INTEGER, "const": -LONG}, -LONG),
        ({**INTEGER, "minimum": 0, "maximum": 2**63 - 1}, 2**63 - 1),
        ({**INTEGER, "minimum": LONG}, LONG + 1),
        ({**INTEGER, "maximum": 10**400}, 10**400),
        ({"const": LONG**4}, LONG**4),
    ],
    ids=str,
)
def test_a_longer_number_that_the_schema_names_may_be_written(
    compiler: GrammarCompiler, schema: dict[str, Any], number: int
) -> None:
    """It is left to the model, for it is more than the library counts; a strict one is refused."""
    constraint = compile_schema(compiler.begin(), schema, strict=False)
    assert allows(constraint, f'{{"a":{number}}}' if "properties" in schema else str(number))
    with pytest.raises(SchemaError, match="beyond 2"):
        compile_schema(compiler.begin(), schema, strict=True)


@pytest.mark.parametrize("number", [86400, 1_000_000])
def test_a_multiple_among_many_remainders_is_enforced_and_its_whole_digits_are_not_counted(
    compiler: GrammarCompiler, number: int
) -> None:
    schema = {"properties": {"a": {"multipleOf": number}}, "required": ["a"]}
    constraint = compile_schema(compiler.begin(), {"type": "object", **schema}, strict=True)
    assert allows(constraint, f'{{"a":{number * 3}}}')
    assert allows(constraint, f'{{"a":{number * (10**25 + 7)}}}')
    assert not allows(constraint, f'{{"a":{number * 3 + 1}}}')
    assert not allows(constraint, '{"a":0,"b":0.12345678901234567891}')


BORDERS: list[tuple[dict[str, float], list[str], list[str]]] = [
    (
        {"exclusiveMaximum": 10},
        ["9.9", "9.99", "9.999999999999999", "9.9999999999999991", "-9.9", "0"],
        ["9.99999999999999999999", "9.9999999999999999", "9.9999999999999992", "10", "10.0"],
    ),
    (
        {"exclusiveMinimum": -1, "exclusiveMaximum": 1},
        ["0.9", "-0.9", "0.9999999999999999", "0"],
        ["0.99999999999999999", "-0.99999999999999999", "1", "-1"],
    ),
    ({"exclusiveMaximum": 0.001}, ["0.0009", "0.00099"], ["0.00099999999999999999999", "0.001"]),
    ({"exclusiveMinimum": 0.5}, ["0.51", "0.500000000000001", "7"], ["0.5", "0.50000000000000005"]),
    ({"exclusiveMaximum": -2.5}, ["-2.51", "-3"], ["-2.5", "-2.5000000000000001"]),
    ({"exclusiveMaximum": 5e-324}, ["0", "-1"], ["1"]),
    ({"exclusiveMinimum": 1e17}, ["100000000000000100"], ["100000000000000000"]),
    ({"exclusiveMaximum": 1e15}, ["999999999999999.9"], ["999999999999999.99", "1000000000000000"]),
    ({"maximum": 10}, ["10", "9.9999999999999999"], ["10.000000000000001"]),
]


@pytest.mark.parametrize(("bounds", "inside", "outside"), BORDERS, ids=str)
def test_what_readers_take_for_a_bound_that_is_left_out_is_not_written(
    compiler: GrammarCompiler, bounds: dict[str, float], inside: list[str], outside: list[str]
) -> None:
    constraint = compile_schema(compiler.begin(), {**NUMBER, **bounds}, strict=True)
    assert [allows(constraint, number) for number in inside] == [True] * len(inside)
    assert [allows(constraint, number) for number in outside] == [False] * len(outside)


def test_an_answer_is_finished_where_its_schema_says_so(compiler: GrammarCompiler) -> None:
    """Though as a number it could go on."""
    matcher = compile_schema(compiler.begin(), {"const": 1}, strict=True).matcher()
    assert not matcher.accepting
    matcher.accept(ord("1"))
    assert matcher.accepting
    assert matcher.finished
