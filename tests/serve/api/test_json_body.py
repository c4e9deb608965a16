"""Bytes to a JSON object: what it costs, and where a fault is told to be."""

import json
import tracemalloc
from typing import Any

import pytest

from serve.api.asking.json_body import MOST_CONTAINERS, parse_object
from serve.api.wire.errors import ApiError

DEPTH = 64
LONE = "\\ud800"


def refused(body: str) -> ApiError:
    with pytest.raises(ApiError) as told:
        parse_object(body.encode(), DEPTH)
    assert (told.value.status, told.value.code) == (400, "invalid_json")
    return told.value


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ('{"a": [[0, 0], [0, "%s"], ["%s"]]}', "a[1][1]"),
        ('{"a": {"b": [{}, {"c": "%s"}]}}', "a.b[1].c"),
        ('{"a": [{"x": 1}, {"%s": 1}]}', "a[1]"),
        ('{"a": ["é", "é", "é%s"], "b": "%s"}', "a[2]"),
    ],
)
def test_the_first_fault_is_told_with_its_path(body: str, param: str) -> None:
    assert refused(body.replace("%s", LONE)).param == param


def test_a_number_that_overflows_is_told_with_its_path() -> None:
    assert refused('{"a": [1.5, 1.5, {"b": [1e308, 1e309]}]}').param == "a[2].b[1]"


def test_depth_counts_empty_arrays_too() -> None:
    inner = DEPTH - 1
    assert parse_object(('{"a":' + "[" * inner + "]" * inner + "}").encode(), DEPTH)
    assert "64 levels" in str(refused('{"a":' + "[" * DEPTH + "]" * DEPTH + "}"))


def test_very_many_arrays_and_objects_are_refused_before_they_are_made() -> None:
    many = '{"a": [' + ",".join(["[]"] * MOST_CONTAINERS) + "]}"
    tracemalloc.start()
    assert f"more than {MOST_CONTAINERS:,} arrays and objects" in str(refused(many))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * len(many)


def test_brackets_in_strings_are_text() -> None:
    text = '[{"\\' * MOST_CONTAINERS
    assert parse_object(json.dumps({"a": text, "b": [text]}).encode(), DEPTH) == {
        "a": text,
        "b": [text],
    }


def test_a_body_at_the_bound_is_read() -> None:
    lists: list[Any] = [[]] * (MOST_CONTAINERS - 2)
    assert parse_object(json.dumps({"a": lists}).encode(), DEPTH) == {"a": lists}


def test_looking_through_an_array_takes_no_memory() -> None:
    """A list of 100,000 numbers takes 8 bytes for each."""
    body = b'{"a": [' + b",".join([b"1"] * 100_000) + b"]}"
    tracemalloc.start()
    parse_object(body, DEPTH)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000
