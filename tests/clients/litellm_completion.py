"""LiteLLM's `completion`."""

import json

import litellm
from cells import (
    ANNA,
    BASE_URL,
    PERSON,
    PERSON_AS_JSON,
    SUM,
    WEATHER,
    WEATHER_FOUND,
    Person,
    refused,
    report,
)

# isort: split
# docs:begin
from litellm import completion

server = {
    "model": "openai/parlance-bundled",
    "api_base": BASE_URL,
    "api_key": "none",
}
answer = completion(messages=[{"role": "user", "content": "What is 7 + 5?"}], **server)
print(answer.choices[0].message.content)
# docs:end


def get_weather(city: str) -> str:
    """Get the current weather for a city.

    Parameters
    ----------
    city : str
        Name of the city.
    """
    assert city == "Paris", city
    return WEATHER_FOUND


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get the current weather for a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]


def ask(question: str, **fields: object) -> object:
    return completion(messages=[{"role": "user", "content": question}], **server, **fields)


def chat() -> None:
    assert "12" in answer.choices[0].message.content


def stream() -> None:
    texts = [chunk.choices[0].delta.content or "" for chunk in ask(SUM, stream=True)]
    assert "12" in "".join(texts)
    assert sum(map(bool, texts)) > 2


def usage() -> None:
    told = answer.usage
    assert told.total_tokens == told.prompt_tokens + told.completion_tokens > 2


def streamed_usage() -> None:
    *_, last = ask(SUM, stream=True, stream_options={"include_usage": True})
    assert last.usage.total_tokens == answer.usage.total_tokens


def stop() -> None:
    text = ask(SUM, stop="12").choices[0].message.content
    assert "=" in text
    assert "12" not in text


def errors() -> None:
    error = refused(litellm.BadRequestError, lambda: ask(SUM, temperature=3))
    assert "temperature" in error


def tools() -> None:
    (call,) = ask(WEATHER, tools=TOOLS).choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}


def streamed_tools() -> None:
    made = litellm.stream_chunk_builder(list(ask(WEATHER, tools=TOOLS, stream=True)))
    (call,) = made.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}


def tool_loop() -> None:
    messages = [{"role": "user", "content": WEATHER}]
    called = completion(messages=messages, tools=TOOLS, **server).choices[0].message
    messages.append(called)
    for call in called.tool_calls:
        result = get_weather(**json.loads(call.function.arguments))
        message = {"role": "tool", "tool_call_id": call.id, "name": call.function.name}
        messages.append({**message, "content": result})
    last = completion(messages=messages, tools=TOOLS, **server)
    assert "21" in last.choices[0].message.content


def structured_output() -> None:
    text = ask(PERSON, response_format=Person).choices[0].message.content
    assert Person.model_validate_json(text) == ANNA


def json_mode() -> None:
    text = ask(PERSON_AS_JSON, response_format={"type": "json_object"}).choices[0].message.content
    assert json.loads(text) == ANNA.model_dump()


report(
    chat,
    stream,
    usage,
    streamed_usage,
    stop,
    errors,
    tools,
    streamed_tools,
    tool_loop,
    structured_output,
    json_mode,
)
