"""Grammars that are meant to do harm: to compile, or to follow."""

from typing import Any

_SEVERAL = " | ".join("s " * number for number in range(1, 12))
_DOUBLED = "\n".join(f"a{n}: a{n + 1} a{n + 1}" for n in range(40))
_TANGLE = "\n".join(
    f's{n}: s{(n + 1) % 30} s{(n + 2) % 30} | s{(n + 7) % 30} s{n} | "a" | ' for n in range(30)
)

REGEXES = {
    "nested bounds": "((((a{1,30}){1,30}){1,30}){1,30}){1,30}",
    "nested quantifiers": "(((a+)+)+)+b",
    "overlapping alternatives": "(a|aa|aaa|aaaa)+b",
    "100,000 repetitions": "[a-z]{1,100000}",
    "100,000 repetitions of a group": "(a|bc){100000}",
    "counting backwards": "[ab]*a[ab]{20}c",
    "counting backwards, far": "(?s:.)*[a-m](?s:.){200}[a-k](?s:.){200}c",
    "5,000 brackets": "(" * 5_000 + "a" + ")" * 5_000,
    "100,000 alternatives": "|".join(f"a{number}" for number in range(100_000)),
    "unicode classes": r"[\p{L}]{1,100}([\p{Lu}]{1,100}[\p{Ll}]{1,100}){1,100}",
}
LARKS = {
    "100,000 repetitions": 'start: a{1,100000}\na: "x" | "y" a',
    "nested repetitions": 'start: a{0,60}\na: b{0,60}\nb: c{0,60}\nc: "x"?',
    "exponential length": f'start: a0\n{_DOUBLED}\na40: "x"',
    "exponential ways": 'start: s\ns: s s | s s s | s s s s | s s s s s | "a" | "b" | ',
    "more exponential ways": f'start: s\ns: {_SEVERAL} | "a" | ',
    "a tangle of rules": f"start: s0\n{_TANGLE}",
    "endless recursion": "start: a\na: a a",
    "deep recursion": 'start: a\na: "(" a ")" | "x"',
    "300 terminals at once": "start: ("
    + "|".join(f"T{n}" for n in range(300))
    + ")*\n"
    + "\n".join(f"T{n}: /[ab]*a[ab]{{{n % 40}}}/" for n in range(300)),
    "terminals that must hold together": "start: T\nT: "
    + " & ".join(f"/(?s:.)*a(?s:.){{{n}}}b(?s:.)*/" for n in range(3, 25)),
    "100,000 alternatives": "start: " + "|".join(f'"a{number}"' for number in range(100_000)),
}
_MERGED = {
    f"d{n}": {
        "allOf": [
            {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"required": [f"{side}{n}"]}]}
            for side in "lr"
        ]
    }
    for n in range(30)
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "patterns that must hold together": {
        "allOf": [{"type": "string", "pattern": f".*a.{{{n}}}b.*"} for n in range(3, 25)]
    },
    "large divisor": {"type": "integer", "multipleOf": 999_983},
    "divisors without a common one": {
        "allOf": [{"type": "integer", "multipleOf": n} for n in (97, 101, 103, 107)]
    },
    "100,000 alternatives": {"enum": [f"value {number}" for number in range(100_000)]},
    "500 alike alternatives": {
        "anyOf": [
            {
                "type": "object",
                "properties": {"a": {"type": "string", "maxLength": n}},
                "required": ["a"],
                "additionalProperties": False,
            }
            for n in range(1, 500)
        ]
    },
    "3,000 properties": {
        "type": "object",
        "properties": {f"p{number}": {"type": "string"} for number in range(3_000)},
    },
    "references without an end": {
        "$ref": "#/$defs/a",
        "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
    },
    "exponential merging": {"$ref": "#/$defs/d0", "$defs": {**_MERGED, "d30": {"type": "object"}}},
    "arrays of a 1,000 arrays": {
        "type": "array",
        "minItems": 1_000,
        "items": {"type": "array", "minItems": 1_000, "items": {"minItems": 1_000}},
    },
    "a long string": {"type": "string", "minLength": 100_000, "maxLength": 1_000_000},
    "recursion by many ways": {
        "$ref": "#/$defs/a",
        "$defs": {
            "a": {
                "anyOf": [
                    {"type": "array", "items": {"$ref": "#/$defs/a"}},
                    {"type": "array", "prefixItems": [{"$ref": "#/$defs/a"}] * 2},
                    {"type": "array", "minItems": 3, "items": {"$ref": "#/$defs/a"}},
                ]
            }
        },
    },
}


def deep_schema(levels: int) -> dict[str, Any]:
    """Arrays in arrays."""
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema
