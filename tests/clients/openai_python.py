"""The official client for Python."""

import json

import openai
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
from pydantic import BaseModel

# isort: split
# docs:begin
from openai import OpenAI

client = OpenAI(base_url=BASE_URL, api_key="none")
answer = client.chat.completions.create(
    model="parlance-bundled",
    messages=[{"role": "user", "content": "What is 7 + 5?"}],
)
print(answer.choices[0].message.content)
# docs:end


class GetWeather(BaseModel):
    """Get the current weather for a city."""

    city: str


TOOLS = [openai.pydantic_function_tool(GetWeather, name="get_weather")]


def asked(question: str, **fields: object) -> dict[str, object]:
    messages = [{"role": "user", "content": question}]
    return {"model": "parlance-bundled", "messages": messages, **fields}


def chat() -> None:
    assert "12" in answer.choices[0].message.content


def stream() -> None:
    chunks = list(client.chat.completions.create(**asked(SUM), stream=True))
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "12" in "".join(texts)
    assert sum(map(bool, texts)) > 2


def usage() -> None:
    told = answer.usage
    assert told.total_tokens == told.prompt_tokens + told.completion_tokens > 2


def streamed_usage() -> None:
    options = {"include_usage": True}
    *_, last = client.chat.completions.create(**asked(SUM), stream=True, stream_options=options)
    assert last.usage.total_tokens == answer.usage.total_tokens


def stop() -> None:
    made = client.chat.completions.create(**asked(SUM), stop="12")
    assert "=" in made.choices[0].message.content
    assert "12" not in made.choices[0].message.content


def errors() -> None:
    def call() -> object:
        return client.chat.completions.create(**asked(SUM), temperature=3)

    assert "temperature" in refused(openai.BadRequestError, call)


def tools() -> None:
    made = client.chat.completions.create(**asked(WEATHER), tools=TOOLS)
    (call,) = made.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}


def streamed_tools() -> None:
    with client.chat.completions.stream(**asked(WEATHER), tools=TOOLS) as events:
        made = events.get_final_completion()
    (call,) = made.choices[0].message.tool_calls
    assert call.function.parsed_arguments == GetWeather(city="Paris")


def tool_loop() -> None:
    fields = asked(WEATHER, tools=TOOLS)
    called = client.chat.completions.create(**fields).choices[0].message
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": WEATHER_FOUND}
        for call in called.tool_calls
    ]
    fields["messages"] += [called, *results]
    assert "21" in client.chat.completions.create(**fields).choices[0].message.content


def structured_output() -> None:
    made = client.chat.completions.parse(**asked(PERSON), response_format=Person)
    assert made.choices[0].message.parsed == ANNA


def json_mode() -> None:
    format_ = {"type": "json_object"}
    made = client.chat.completions.create(**asked(PERSON_AS_JSON), response_format=format_)
    assert json.loads(made.choices[0].message.content) == ANNA.model_dump()


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
