"""Tools through the official client, on the bundled model."""

import asyncio
import json
import random
import re
from typing import Any, Literal

import openai
import pydantic
import pytest
from support.real_house import reassembled

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


# --- many times ------------------------------------------------------------------------------


class Point(pydantic.BaseModel):
    """A point with a name."""

    x: int = pydantic.Field(ge=-9, le=9)
    y: float | None
    name: str = pydantic.Field(max_length=4)


def as_allowed(mode: str, *names: str) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


def seeded_case(seed: int) -> dict[str, Any]:
    """A request with calls, or a response_format, or both."""
    rng = random.Random(seed)
    point = openai.pydantic_function_tool(Point, name="plot")
    named = {"type": "function", "function": {"name": "plot"}}
    custom = {"type": "custom", "custom": {"name": "code"}}
    schema = {"name": "verdict", "strict": True, "schema": Verdict.model_json_schema()}
    schema["schema"] |= {"additionalProperties": False}
    in_json = {"type": "json_schema", "json_schema": schema}
    form = rng.choice(
        [
            {"tool_choice": "required"},
            {"tool_choice": named},
            {"tool_choice": as_allowed("required", "plot"), "parallel_tool_calls": False},
            {"tool_choice": "auto", "response_format": in_json},
            {"tool_choice": "none", "response_format": in_json},
            {"tools": [CODE], "tool_choice": custom},
            {"tools": [CODE, WEATHER, point], "tool_choice": "required"},
        ]
    )
    fields = {
        "temperature": rng.choice([0, 0.7, 1.5]),
        "top_p": rng.choice([1, 0.9]),
        "n": rng.choice([1, 2]),
        "logprobs": rng.choice([None, True]),
        "max_completion_tokens": rng.choice([12, 60]),
    }
    return asked(**{"tools": [WEATHER, point], "seed": seed, **fields, **form})


def told_apart_from_ids(choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Choices with what every answer has anew left out, and what is absent."""
    told = json.loads(json.dumps(choices))
    for choice in told:
        choice["message"] = {k: v for k, v in choice["message"].items() if v not in (None, [])}
        choice["logprobs"] = (choice["logprobs"] or {}).get("content") or None
        for call in choice["message"].get("tool_calls", ()):
            assert call.pop("id").startswith("call_")
    return told


async def test_a_stream_put_together_is_the_plain_answer(deterministic_server):
    """Seeded requests; those that it can read through the client's own stream helper too."""
    async with openai.AsyncOpenAI(
        base_url=deterministic_server.url, api_key="none", max_retries=0, timeout=280
    ) as client:
        create = client.chat.completions.create
        free = asyncio.Semaphore(16)

        async def compare(seed: int) -> set[str]:
            fields = seeded_case(seed)
            async with free:
                plain = await create(**fields)
                stream = await create(**fields, stream=True)
                chunks = [chunk.model_dump(exclude_unset=True) async for chunk in stream]
            wanted = told_apart_from_ids([c.model_dump() for c in plain.choices])
            assert told_apart_from_ids(reassembled(chunks)) == wanted
            reasons = {choice.finish_reason for choice in plain.choices}
            # It knows no custom tools, and refuses what was cut off.
            if CODE not in fields["tools"] and "length" not in reasons:
                async with free, client.chat.completions.stream(**fields) as helper:
                    final = await helper.get_final_completion()
                dumped = [choice.model_dump(warnings=False) for choice in final.choices]
                for choice in dumped:
                    choice["message"].pop("parsed", None)
                    for call in choice["message"]["tool_calls"] or ():
                        call.pop("index", None)
                        call["function"].pop("parsed_arguments", None)
                assert told_apart_from_ids(dumped) == wanted
            return reasons

        reasons = await asyncio.gather(*map(compare, range(48)))
    assert set().union(*reasons) == {"stop", "tool_calls", "length"}
