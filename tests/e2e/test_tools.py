"""Tools through the official client, on the bundled model, which was never taught any."""

import json
import re
from typing import Literal

import openai
import pydantic
import pytest

QUESTION = {"role": "user", "content": "How warm is it in Paris?"}


class GetWeather(pydantic.BaseModel):
    """The weather of a city."""

    city: Literal["Paris", "Rome"]
    days: int = pydantic.Field(ge=1, le=9)


class Verdict(pydantic.BaseModel):
    """An answer."""

    warm: bool


WEATHER = openai.pydantic_function_tool(GetWeather, name="get_weather")
CODE = {
    "type": "custom",
    "custom": {
        "name": "code",
        "format": {
            "type": "grammar",
            "grammar": {"syntax": "regex", "definition": r"[a-z]{2}-[0-9]{3}"},
        },
    },
}


@pytest.fixture(scope="module")
def ask(server):
    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        yield client.chat.completions


def asked(**fields):
    made = {"model": "parlance-bundled", "messages": [QUESTION], "temperature": 0, "seed": 1}
    return {**made, "tools": [WEATHER], **fields}


def test_a_loop_of_two_turns(ask):
    first = ask.create(**asked(tool_choice="required"))
    (choice,) = first.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    messages = [QUESTION, choice.message]
    for call in choice.message.tool_calls:
        assert call.type == "function"
        GetWeather.model_validate_json(call.function.arguments)
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "It is 21 degrees."})
    second = ask.create(**asked(messages=messages, tool_choice="none", max_tokens=50))
    assert second.choices[0].message.tool_calls is None
    assert second.choices[0].message.content
    assert second.usage.prompt_tokens > first.usage.prompt_tokens


def test_parse_gives_arguments_as_models(ask):
    parsed = ask.parse(**asked(tool_choice="required", response_format=Verdict))
    for call in parsed.choices[0].message.tool_calls:
        assert isinstance(call.function.parsed_arguments, GetWeather)
    parsed = ask.parse(**asked(tool_choice="none", response_format=Verdict))
    assert isinstance(parsed.choices[0].message.parsed, Verdict)


def test_the_stream_helper_puts_the_plain_answer_together(ask):
    plain = ask.create(**asked(tool_choice="required"))
    with ask.stream(**asked(tool_choice="required")) as stream:
        pieces = [
            event.arguments_delta
            for event in stream
            if event.type == "tool_calls.function.arguments.delta" and event.index == 0
        ]
        final = stream.get_final_completion()
    told, wanted = final.choices[0], plain.choices[0]
    assert told.finish_reason == wanted.finish_reason == "tool_calls"
    assert [call.function.arguments for call in told.message.tool_calls] == [
        call.function.arguments for call in wanted.message.tool_calls
    ]
    assert told.message.content is None
    assert len(pieces) > 2
    assert "".join(pieces) == wanted.message.tool_calls[0].function.arguments
    assert isinstance(told.message.tool_calls[0].function.parsed_arguments, GetWeather)


def test_a_custom_tool(ask):
    chosen = {"type": "custom", "custom": {"name": "code"}}
    fields = asked(tools=[WEATHER, CODE], tool_choice=chosen, n=3, temperature=1)
    for choice in ask.create(**fields).choices:
        (call,) = choice.message.tool_calls
        assert (call.type, call.custom.name) == ("custom", "code")
        assert re.fullmatch(r"[a-z]{2}-[0-9]{3}", call.custom.input)
    first, *later = [
        call
        for chunk in ask.create(**{**fields, "n": 1}, stream=True)
        for choice in chunk.choices
        for call in choice.delta.tool_calls or []
    ]
    assert (first.index, first.type) == (0, "custom")
    assert first.id.startswith("call_")
    assert first.model_extra["custom"] == {"name": "code", "input": ""}
    text = "".join(call.model_extra["custom"]["input"] for call in later)
    assert re.fullmatch(r"[a-z]{2}-[0-9]{3}", text)
    assert {(call.index, call.id, call.type) for call in later} == {(0, None, None)}


def test_allowed_tools(ask):
    only = {"type": "function", "function": {"name": "get_weather"}}
    allowed = {"mode": "required", "tools": [only]}
    fields = asked(
        tools=[CODE, WEATHER],
        tool_choice={"type": "allowed_tools", "allowed_tools": allowed},
        parallel_tool_calls=False,
        temperature=1,
        n=4,
    )
    for choice in ask.create(**fields).choices:
        (call,) = choice.message.tool_calls
        assert call.function.name == "get_weather"
        json.loads(call.function.arguments)


def test_the_older_form(ask):
    function = {"name": "get_weather", "parameters": GetWeather.model_json_schema()}
    fields = {"model": "parlance-bundled", "functions": [function], "temperature": 0}
    first = ask.create(**fields, messages=[QUESTION], function_call={"name": "get_weather"})
    (choice,) = first.choices
    assert choice.finish_reason == "function_call"
    GetWeather.model_validate_json(choice.message.function_call.arguments)
    result = {"role": "function", "name": "get_weather", "content": "It is 21 degrees."}
    second = ask.create(
        **fields, messages=[QUESTION, choice.message, result], function_call="none", max_tokens=50
    )
    assert second.choices[0].message.content


def test_leaving_a_stream_of_calls_cancels_it(server, ask):
    tool = {"type": "custom", "custom": {"name": "essay"}}
    chosen = {"type": "custom", "custom": {"name": "essay"}}
    stream = ask.create(**asked(tools=[tool], tool_choice=chosen, stream=True, n=4))
    next(stream)
    stream.close()
    server.wait_idle(20)
