"""LangChain's `ChatOpenAI`."""

import openai
from cells import (
    ANNA,
    BASE_URL,
    LONG_SUM,
    NO_JSON,
    PERSON,
    PERSON_AS_JSON,
    SUM,
    WEATHER,
    WEATHER_FOUND,
    Person,
    fails,
    refused,
    report,
    works,
)
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai.chat_models.base import OpenAIRefusalError

# isort: split
# docs:begin
from langchain_openai import ChatOpenAI

model = ChatOpenAI(base_url=BASE_URL, api_key="none", model="parlance-bundled")
answer = model.invoke("What is 7 + 5?")
print(answer.text)
# docs:end


@tool
def get_weather(city: str) -> str:
    """Get the current weather for a city."""
    return WEATHER_FOUND


def chat() -> None:
    assert "12" in answer.text


def stream() -> None:
    texts = [chunk.text for chunk in model.stream(SUM)]
    assert "12" in "".join(texts)
    assert sum(map(bool, texts)) > 2


def usage() -> None:
    told = answer.usage_metadata
    assert told["total_tokens"] == told["input_tokens"] + told["output_tokens"] > 2


@works("with `stream_usage=True`; LangChain asks for it by itself only without a `base_url`")
def streamed_usage() -> None:
    total = None
    for chunk in model.stream(SUM, stream_usage=True):
        total = chunk if total is None else total + chunk
    assert total.usage_metadata["total_tokens"] == answer.usage_metadata["total_tokens"]


def stop() -> None:
    text = model.invoke(SUM, stop=["12"]).text
    assert "=" in text
    assert "12" not in text


def errors() -> None:
    error = refused(openai.BadRequestError, lambda: model.invoke(SUM, temperature=3))
    assert "temperature" in error


def tools() -> None:
    (call,) = model.bind_tools([get_weather]).invoke(WEATHER).tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Paris"})


def streamed_tools() -> None:
    total = None
    for chunk in model.bind_tools([get_weather]).stream(WEATHER):
        total = chunk if total is None else total + chunk
    (call,) = total.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Paris"})


def tool_loop() -> None:
    able, messages = model.bind_tools([get_weather]), [HumanMessage(WEATHER)]
    messages.append(able.invoke(messages))
    messages += [get_weather.invoke(call) for call in messages[-1].tool_calls]
    assert "21" in able.invoke(messages).text


def structured_output() -> None:
    found = model.with_structured_output(Person).invoke(PERSON)
    assert found == ANNA


def json_mode() -> None:
    found = model.with_structured_output(Person, method="json_mode").invoke(PERSON_AS_JSON)
    assert found == ANNA


@fails("no thought", "`ChatOpenAI` leaves out `reasoning_content`, and says so")
def thoughts() -> None:
    blocks = model.invoke(LONG_SUM).content_blocks
    assert "reasoning" in [block["type"] for block in blocks], f"no thought in {blocks}"


@works("as its `OpenAIRefusalError`")
def refusals() -> None:
    asked = model.with_structured_output(Person)
    assert refused(OpenAIRefusalError, lambda: asked.invoke(PERSON, extra_body=NO_JSON))
    assert refused(OpenAIRefusalError, lambda: list(asked.stream(PERSON, extra_body=NO_JSON)))


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
    thoughts,
    refusals,
)
