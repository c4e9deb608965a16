"""The search for dear requests misses no place, and makes of each what its name says."""

import gzip
import json
import re

from serve.api.wire.request import ChatRequest
from tools.dear_requests import dear_requests
from tools.request_places import NUMBERED, Place, RequestPlaces

SIZE = 4_000
SHAPES = {shape.name: shape for shape in dear_requests("tiny")}
WALK = RequestPlaces(ChatRequest.model_json_schema(), "tiny")
PLACES = {(place.name, place.kind): place for place in WALK}
# An assistant that says nothing, a choice of two tools of which one is not there, no form, and the
# user's message to go on with.
INVALID = {
    *("messages[assistant]", "structured_outputs", "continue_final_message"),
    "tool_choice[allowed_tools].allowed_tools.tools[custom]",
    "web_search_options.user_location[approximate].approximate.country",
}


def test_every_field_is_a_place() -> None:
    names = {name for name, _ in PLACES}
    for field in ChatRequest.model_json_schema()["properties"]:
        assert any(re.match(rf"{field}(\[|\.|$)", name) for name in names), field
    assert names >= {
        "messages[developer].content",
        "messages[user].content",
        "messages[assistant].content[refusal].refusal",
        "messages[assistant].tool_calls[function].function.arguments",
        "messages[assistant].tool_calls[custom].custom.input",
        "messages[tool].tool_call_id",
        "messages[function].name",
        "stop[]",
        "stream_options.include_usage",
        "response_format[json_schema].json_schema.schema",
        "tools[custom].custom.format[grammar].grammar.definition",
        "tool_choice[allowed_tools].allowed_tools.tools",
        "functions[].parameters",
    }


def short(place: Place) -> str:
    if place.kind == "array":
        return f"[{WALK.shortest(place.node['items'])}]"
    return WALK.shortest(place.node)


def test_what_stands_around_a_place_is_valid() -> None:
    for place in PLACES.values():
        if place.name not in INVALID:
            value = short(place).replace(NUMBERED, "")
            ChatRequest.model_validate(json.loads(place.holding(value)))
            if place.item is not None:
                json.loads(place.repeated(value, 3))
                assert place.repeated(value, 1) == place.holding(value)


def test_a_body_is_about_as_large_as_asked() -> None:
    for name, shape in SHAPES.items():
        body = shape.body(SIZE)
        assert body == shape.body(SIZE), name
        if not name.startswith("compressed"):
            assert SIZE * 0.5 < len(body) < SIZE * 1.3 + 1_000, name


def test_names_tell_what_is_wrong() -> None:
    def messages(way: str) -> list[object]:
        return json.loads(SHAPES[f"messages: {way}"].body(SIZE))["messages"]

    assert set(map(str, messages("wrong members"))) == {"1"}
    assert [type(member) for member in messages("wrong first")][:2] == [int, dict]
    assert [type(member) for member in messages("wrong last")][-2:] == [dict, int]
    assert len({str(member) for member in messages("valid members")}) > 50
    assert len({str(member) for member in messages("the same member")}) == 1
    assert ChatRequest.model_validate_json(SHAPES["messages: valid members"].body(SIZE))
    parts = json.loads(
        SHAPES["messages[user].content: valid members, in each member of the list"].body(SIZE)
    )
    assert len(parts["messages"]) > 2
    assert len(parts["messages"][0]["content"]) > 20
    calls = json.loads(SHAPES["messages[assistant].tool_calls: valid members"].body(SIZE))
    ids = [call["id"] for call in calls["messages"][0]["tool_calls"]]
    assert len(set(ids)) == len(ids) > 20
    packed = SHAPES["compressed: a thousand times as many spaces"]
    assert packed.headers == {"Content-Encoding": "gzip, gzip"}
    assert len(gzip.decompress(gzip.decompress(packed.body(SIZE)))) == 1_000 * SIZE
