"""Each array, object and name of a body has its most, and is refused before it is looked into."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from serve.api.asking.asked_tools import asked_tools
from serve.api.asking.constraint import MOST_GRAMMARS, check_sizes
from serve.api.asking.validation import first_fault
from serve.api.wire.errors import ApiError
from serve.api.wire.guided import LONGEST_BAD_WORD, LONGEST_TEXT, MOST_BAD_WORDS, MOST_TEXTS
from serve.api.wire.json_schema import MOST_KEYWORDS
from serve.api.wire.messages import (
    LONGEST_CALL_ID,
    LONGEST_NAME,
    MOST_CALLS,
    MOST_MESSAGES,
    MOST_PARTS,
)
from serve.api.wire.request import LONGEST_MODEL, LONGEST_STOP, ChatRequest
from serve.text.stops import StopFinder

USER = {"role": "user", "content": "Hi"}
PART = {"type": "text", "text": "a"}
ARRAY, OBJECT = "array_above_max_length", "object_above_max_properties"
STRING, UNKNOWN = "string_above_max_length", "unknown_parameter"


def call(id_: str) -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": "f", "arguments": ""}}


def result(id_: str) -> list[dict[str, Any]]:
    asked = {"role": "assistant", "tool_calls": [call(id_)]}
    return [asked, {"role": "tool", "content": "x", "tool_call_id": id_}]


def says(**fields: Any) -> dict[str, Any]:
    return {"messages": [{**USER, **fields}]}


def calls(count: int) -> dict[str, Any]:
    return {"messages": [{"role": "assistant", "tool_calls": [call(f"{n}") for n in range(count)]}]}


def schema(count: int) -> dict[str, Any]:
    return {f"x{n}": 1 for n in range(count)}


def answer(of: Mapping[str, Any]) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": of}}}


def tool(of: Mapping[str, Any]) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "f", "parameters": of}}]}


# Fields with as much as is allowed, with one more, and how that is told.
AT_THE_BOUND = [
    ({"messages": [USER] * MOST_MESSAGES}, {"messages": [USER] * (MOST_MESSAGES + 1)},
     "messages", ARRAY),
    (says(content=[PART] * MOST_PARTS), says(content=[PART] * (MOST_PARTS + 1)),
     "messages[0].content", ARRAY),
    (says(role="assistant", content=[PART] * MOST_PARTS),
     says(role="assistant", content=[PART] * (MOST_PARTS + 1)), "messages[0].content", ARRAY),
    (calls(MOST_CALLS), calls(MOST_CALLS + 1), "messages[0].tool_calls", ARRAY),
    (says(name="n" * LONGEST_NAME), says(name="n" * (LONGEST_NAME + 1)),
     "messages[0].name", STRING),
    ({"messages": result("c" * LONGEST_CALL_ID)}, {"messages": result("c" * (LONGEST_CALL_ID + 1))},
     "messages[0].tool_calls[0].id", STRING),
    ({"model": "m" * LONGEST_MODEL}, {"model": "m" * (LONGEST_MODEL + 1)}, "model", STRING),
    ({"stop": "s" * LONGEST_STOP}, {"stop": "s" * (LONGEST_STOP + 1)}, "stop", STRING),
    ({"stop": ["s" * LONGEST_STOP]}, {"stop": ["a", "s" * (LONGEST_STOP + 1)]}, "stop[1]", STRING),
    ({"modalities": ["text", "audio"], "audio": {"format": "wav", "voice": "v" * 256}},
     {"modalities": ["text", "audio", "text"]}, "modalities", ARRAY),
    ({"modalities": ["audio"], "audio": {"format": "wav", "voice": "v" * 256}},
     {"modalities": ["audio"], "audio": {"format": "wav", "voice": "v" * 257}},
     "audio.voice", STRING),
    (says(role="assistant", content=None, audio={"id": "a" * 256}),
     says(role="assistant", content=None, audio={"id": "a" * 257}), "messages[0].audio.id", STRING),
    ({"web_search_options": {"user_location": {"type": "approximate", "approximate":
        {"city": "c" * 256}}}}, {"web_search_options": {"user_location": {"type": "approximate",
        "approximate": {"city": "c" * 257}}}},
     "web_search_options.user_location.approximate.city", STRING),
    ({"guided_json": schema(MOST_KEYWORDS)}, {"guided_json": schema(MOST_KEYWORDS + 1)},
     "guided_json", OBJECT),
    ({"guided_choice": ["a"] * MOST_TEXTS}, {"guided_choice": ["a"] * (MOST_TEXTS + 1)},
     "guided_choice", ARRAY),
    ({"guided_choice": ["s" * LONGEST_TEXT]}, {"guided_choice": ["s" * (LONGEST_TEXT + 1)]},
     "guided_choice[0]", STRING),
    ({"bad_words": ["a"] * MOST_BAD_WORDS}, {"bad_words": ["a"] * (MOST_BAD_WORDS + 1)},
     "bad_words", ARRAY),
    ({"bad_words": ["s" * LONGEST_BAD_WORD]}, {"bad_words": ["s" * (LONGEST_BAD_WORD + 1)]},
     "bad_words[0]", STRING),
    (answer(schema(MOST_KEYWORDS)), answer(schema(MOST_KEYWORDS + 1)),
     "response_format.json_schema.schema", OBJECT),
    (tool(schema(MOST_KEYWORDS)), tool(schema(MOST_KEYWORDS + 1)),
     "tools[0].function.parameters", OBJECT),
]  # fmt: skip


def body(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"model": "tiny", "messages": [USER], **fields}


def refused(fields: Mapping[str, Any]) -> ValidationError:
    with pytest.raises(ValidationError) as told:
        ChatRequest.model_validate(body(fields))
    return told.value


@pytest.mark.parametrize(("most", "more", "param", "code"), AT_THE_BOUND)
def test_one_more_than_the_most_is_refused(
    most: dict[str, Any], more: dict[str, Any], param: str, code: str
) -> None:
    ChatRequest.model_validate(body(most))
    error = first_fault(refused(more))
    assert (error.param, error.code) == (param, code)


def bounds_of(value: Any, path: str) -> Iterator[tuple[str, bool]]:
    """Each array and map of a JSON schema, and whether it says how many members it may have."""
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from bounds_of(inner, f"{path}/{index}")
        return
    if not isinstance(value, dict):
        return
    if value.get("type") == "array":
        yield path, "maxItems" in value
    if value.get("type") == "object" and "properties" not in value:
        yield path, "maxProperties" in value
    for name, inner in value.items():
        yield from bounds_of(inner, f"{path}/{name}")


def test_every_array_and_every_map_has_a_bound() -> None:
    """The OpenAPI document says so, which is made from the shapes."""
    bounded = dict(bounds_of(ChatRequest.model_json_schema(), ""))
    assert len(bounded) > 10
    assert all(bounded.values()), bounded


MANY = 100_000
# Seconds of a core. To look at so many members takes several times as long.
QUICK = 0.1
STRANGERS = {f"k{n}": n for n in range(MANY)}
# Bodies that are wrong in many places, and the first thing that is told of each.
WRONG_THROUGHOUT = {
    "messages": ({"messages": [1] * MANY}, "messages", ARRAY),
    "allowed messages": ({"messages": [1] * MOST_MESSAGES}, "messages[0]", "invalid_type"),
    "parts": (says(content=[1] * MANY), "messages[0].content", ARRAY),
    "allowed parts": (says(content=[1] * MOST_PARTS), "messages[0].content[0]", "invalid_type"),
    "calls": (says(role="assistant", tool_calls=[1] * MANY), "messages[0].tool_calls", ARRAY),
    "stops": ({"stop": [1] * MANY}, "stop", ARRAY),
    "tools": ({"tools": [1] * MANY}, "tools", ARRAY),
    "functions": ({"functions": [1] * 128}, "functions[0]", "invalid_type"),
    "modalities": ({"modalities": [1] * MANY}, "modalities", ARRAY),
    "bias": ({"logit_bias": dict.fromkeys(STRANGERS, "x")}, "logit_bias", OBJECT),
    "metadata": ({"metadata": STRANGERS}, "metadata", OBJECT),
    "unknown keys": (STRANGERS, "k0", UNKNOWN),
    "unknown keys of a message": (says(**STRANGERS), "messages[0].k0", UNKNOWN),
    "unknown keys of an option": ({"stream_options": STRANGERS}, "stream_options.k0", UNKNOWN),
    "unknown keys of a tool": (
        {"tools": [{"type": "function", "function": {"name": "f", **STRANGERS}}]},
        "tools[0].function.k0",
        UNKNOWN,
    ),
    "a long unknown key": (
        {"stream_options": {"a": 1, "k" * MANY: 1, "b": 1}},
        "stream_options.a",
        UNKNOWN,
    ),
}


@pytest.mark.parametrize("name", WRONG_THROUGHOUT)
def test_what_is_wrong_throughout_is_told_at_once(name: str) -> None:
    """Looking through all of it would find 100,000 faults, in a tenth of a second or more."""
    fields, param, code = WRONG_THROUGHOUT[name]
    whole = body(fields)
    began = time.process_time()
    with pytest.raises(ValidationError) as told:
        ChatRequest.model_validate(whole)
    error = first_fault(told.value)
    assert time.process_time() - began < QUICK
    assert told.value.error_count() <= 64
    assert (error.param, error.code) == (param, code)


def test_an_unknown_key_is_cut_short_among_many() -> None:
    fields = {"k" * 5_000: 1, **STRANGERS}
    assert first_fault(refused({"stream_options": fields})).param == f"stream_options.{'k' * 64}…"


def test_a_value_is_written_out_only_as_far_as_it_is_shown() -> None:
    kinds = ["object"] * 1_000_000
    began = time.process_time()
    error = first_fault(refused(tool({"type": [[kinds]]})))
    assert time.process_time() - began < QUICK
    assert error.param == "tools[0].function.parameters.type"
    shown = json.dumps([[kinds[:20]]])[:100]
    assert f"its 'type' is {shown}…" in error.message


def test_stop_strings_are_worked_out_once_for_all_choices() -> None:
    """16 requests of 128 choices each, with four long stop strings: 8 million characters."""
    stops = [letter * LONGEST_STOP for letter in "abcd"]
    began = time.process_time()
    for _ in range(16 * 128):
        StopFinder(stops)
    assert time.process_time() - began < QUICK


def test_schemas_have_a_bound_together() -> None:
    """Each as large as one may be, which is refused with the first that is too many."""
    most = 1_000
    schema = {"description": "x" * (most - 19)}
    functions = [{"name": f"f{n}", "parameters": schema} for n in range(MOST_GRAMMARS + 1)]
    check_sizes(None, asked_tools(asking(functions=functions[:-1])), most)
    with pytest.raises(ApiError, match="more than 8,000 bytes together") as told:
        check_sizes(None, asked_tools(asking(functions=functions)), most)
    assert told.value.param == f"functions[{MOST_GRAMMARS}].parameters"


def asking(**fields: Any) -> ChatRequest:
    return ChatRequest.model_validate(body(fields))
