"""smolagents' `OpenAIModel`, and its agent that calls tools."""

import json
from pathlib import Path

import openai
from cells import (
    ANNA,
    BASE_URL,
    PERSON,
    PERSON_AS_JSON,
    SEEING_URL,
    SUM,
    WEATHER,
    WEATHER_FOUND,
    Person,
    fails,
    refused,
    report,
)
from media_cells import ABOUT, SEEING, Told, check_images
from PIL import Image
from smolagents import ToolCallingAgent, tool
from smolagents.agents import EMPTY_PROMPT_TEMPLATES

# isort: split
# docs:begin
from smolagents import OpenAIModel

model = OpenAIModel(
    model_id="parlance-bundled",
    api_base=BASE_URL,
    api_key="none",
)
answer = model([{"role": "user", "content": "What is 7 + 5?"}])
print(answer.content)
# docs:end


@tool
def get_weather(city: str) -> str:
    """Get the current weather for a city.

    Args:
        city: Name of the city.
    """
    assert city == "Paris", city
    return WEATHER_FOUND


def asked(question: str) -> list[dict[str, object]]:
    return [{"role": "user", "content": [{"type": "text", "text": question}]}]


def chat() -> None:
    assert "12" in answer.content


def stream() -> None:
    texts = [piece.content or "" for piece in model.generate_stream(asked(SUM))]
    assert "12" in "".join(texts)
    assert sum(map(bool, texts)) > 2


def usage() -> None:
    assert answer.token_usage.total_tokens == answer.raw.usage.total_tokens > 2


def streamed_usage() -> None:
    *_, last = model.generate_stream(asked(SUM))
    assert last.token_usage.total_tokens == answer.token_usage.total_tokens


def stop() -> None:
    text = model(asked(SUM), stop_sequences=["12"]).content
    assert "=" in text
    assert "12" not in text


def errors() -> None:
    error = refused(openai.BadRequestError, lambda: model(asked(SUM), temperature=3))
    assert "temperature" in error


def tools() -> None:
    (call,) = model(asked(WEATHER), tools_to_call_from=[get_weather]).tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}


def streamed_tools() -> None:
    pieces = [
        call
        for piece in model.generate_stream(asked(WEATHER), tools_to_call_from=[get_weather])
        for call in piece.tool_calls or []
    ]
    assert pieces[0].function.name == "get_weather"
    text = "".join(piece.function.arguments or "" for piece in pieces)
    assert json.loads(text) == {"city": "Paris"}


@fails(
    "context_length_exceeded",
    "the own prompt of `ToolCallingAgent` is longer than the context of the bundled model; with"
    " short `prompt_templates` it calls its tools",
)
def tool_loop() -> None:
    able = {"tools": [get_weather], "model": model, "max_steps": 2}
    agent = ToolCallingAgent(prompt_templates=EMPTY_PROMPT_TEMPLATES, **able)
    agent.run(WEATHER)
    assert agent.memory.steps[1].observations == WEATHER_FOUND
    ToolCallingAgent(**able).run(WEATHER)


def structured_output() -> None:
    schema = {**Person.model_json_schema(), "additionalProperties": False}
    format_ = {
        "type": "json_schema",
        "json_schema": {"name": "person", "schema": schema, "strict": True},
    }
    text = model(asked(PERSON), response_format=format_).content
    assert Person.model_validate_json(text) == ANNA


def json_mode() -> None:
    text = model(asked(PERSON_AS_JSON), response_format={"type": "json_object"}).content
    assert json.loads(text) == ANNA.model_dump()


def images() -> None:
    seeing = OpenAIModel(model_id=SEEING, api_base=SEEING_URL, api_key="none")

    def ask(path: Path) -> Told:
        (message,) = asked(ABOUT)
        message["content"].append({"type": "image", "image": Image.open(path)})
        made = seeing([message], temperature=0)
        return Told(made.content, made.token_usage.input_tokens)

    check_images(ask)


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
    images,
)
