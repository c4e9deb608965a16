import json

import pytest

from serve.text.calls.arguments import object_or_text

SURROGATE = "\\ud800"


def nested(depth: int) -> str:
    """An object `depth` deep, all its arrays and objects counted."""
    return '{"a": ' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        (" \n", {}),
        ("{}", {}),
        ('{"a": [1, 2.5, null, {"é": true}]}', {"a": [1, 2.5, None, {"é": True}]}),
        ('{"a": "\\ud83c\\udf88"}', {"a": "🎈"}),
        ('{"a": 1e308}', {"a": 1e308}),
        (nested(64), json.loads(nested(64))),
    ],
)
def test_objects(text: str, value: object) -> None:
    assert object_or_text(text) == value


@pytest.mark.parametrize(
    "text",
    [
        '{"a": ',
        "[1]",
        '"a"',
        "null",
        f'{{"a": "{SURROGATE}"}}',
        f'{{"{SURROGATE}": 1}}',
        f'{{"a": [{{"b": ["x{SURROGATE}y"]}}]}}',
        f'{{"a": [{{"x{SURROGATE}y": 1}}]}}',
        '{"a": 1e999}',
        '{"a": [-1e999]}',
        '{"a": NaN}',
        '{"a": -Infinity}',
        f'{{"a": {"9" * 5000}}}',
        nested(65),
        nested(330),
        nested(100_000),
        '{"a":' * 400 + "1" + "}" * 400,
    ],
    ids=lambda text: f"{len(text)}-{text:.20}",
)
def test_what_cannot_be_an_object_stays_text(text: str) -> None:
    assert object_or_text(text) == text
