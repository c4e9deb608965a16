"""Pydantic AI's `Agent`."""

import asyncio
from pathlib import Path

from cells import (
    ANNA,
    BASE_URL,
    LONG_SUM,
    NO_JSON,
    PERSON,
    PERSON_AS_JSON,
    SEEING_URL,
    SUM,
    THOUGHT,
    WEATHER,
    WEATHER_FOUND,
    Person,
    fails,
    refused,
    report,
    works,
)
from media_cells import ABOUT, PDF, SEEING, Told, check_file, check_images, kind
from pydantic_ai import BinaryContent, ModelHTTPError, NativeOutput, PromptedOutput, UploadedFile
from pydantic_ai.exceptions import ContentFilterError, UnexpectedModelBehavior
from pydantic_ai.messages import ModelResponsePart, UserContent
from sound_cells import CITED, CITING, HEIGHT, SEARCHED, check_sounds

# isort: split
# docs:begin
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(base_url=BASE_URL, api_key="none")
agent = Agent(OpenAIChatModel("parlance-bundled", provider=provider))
answer = agent.run_sync("What is 7 + 5?")
print(answer.output)
# docs:end

able = Agent(agent.model)


@able.tool_plain
def get_weather(city: str) -> str:
    """Get the current weather for a city."""
    assert city == "Paris", city
    return WEATHER_FOUND


def streamed(asked: Agent[None, str], question: str) -> tuple[list[str], int]:
    """The pieces of a streamed answer, and its number of tokens."""

    async def read() -> tuple[list[str], int]:
        async with asked.run_stream(question) as events:
            pieces = [piece async for piece in events.stream_text(delta=True, debounce_by=None)]
            return pieces, events.usage.output_tokens

    return asyncio.run(read())


def chat() -> None:
    assert "12" in answer.output


def stream() -> None:
    pieces, _ = streamed(agent, SUM)
    assert "12" in "".join(pieces)
    assert len(pieces) > 2


def usage() -> None:
    assert answer.usage.input_tokens > 2
    assert answer.usage.output_tokens > 2


def streamed_usage() -> None:
    _, tokens = streamed(agent, SUM)
    assert tokens == answer.usage.output_tokens


def stop() -> None:
    text = agent.run_sync(SUM, model_settings={"stop_sequences": ["12"]}).output
    assert "=" in text
    assert "12" not in text


def errors() -> None:
    def call() -> object:
        return agent.run_sync(SUM, model_settings={"temperature": 3})

    assert "temperature" in refused(ModelHTTPError, call)


def tools() -> None:
    called = able.run_sync(WEATHER).all_messages()[1]
    (call,) = called.parts
    assert (call.tool_name, call.args_as_dict()) == ("get_weather", {"city": "Paris"})


def streamed_tools() -> None:
    pieces, _ = streamed(able, WEATHER)
    assert "21" in "".join(pieces)


def tool_loop() -> None:
    assert "21" in able.run_sync(WEATHER).output


@works("by a tool, its default, and as `NativeOutput`")
def structured_output() -> None:
    assert agent.run_sync(PERSON, output_type=Person).output == ANNA
    assert agent.run_sync(PERSON, output_type=NativeOutput(Person)).output == ANNA


@works("by `PromptedOutput`")
def json_mode() -> None:
    asked = PromptedOutput(Person)
    assert agent.run_sync(PERSON_AS_JSON, output_type=asked).output == ANNA


elsewhere = OpenAIProvider(base_url=SEEING_URL, api_key="none")
seeing = Agent(OpenAIChatModel(SEEING, provider=elsewhere))


def told_of(content: UserContent) -> Told:
    made = seeing.run_sync([ABOUT, content], model_settings={"temperature": 0})
    return Told(made.output, made.usage.input_tokens)


@works("as a `BinaryContent`")
def images() -> None:
    def ask(path: Path, **metadata: str) -> Told:
        data = {"data": path.read_bytes(), "media_type": kind(path)}
        return told_of(BinaryContent(**data, vendor_metadata=metadata))

    check_images(ask)
    check_images(lambda path: ask(path, detail="low"))


@works("PDF, as a `BinaryContent` or an `UploadedFile`; of a text it sends the words")
def files() -> None:
    async def upload() -> str:
        return (await elsewhere.client.files.create(file=PDF, purpose="user_data")).id

    uploaded = UploadedFile(asyncio.run(upload()), provider_name="openai", media_type=kind(PDF))
    # It names every PDF so.
    check_file(lambda path: told_of(BinaryContent.from_path(path)), PDF, "filename.pdf")
    check_file(lambda _: told_of(uploaded), PDF)


@works("as a `BinaryContent`")
def sound_in() -> None:
    check_sounds(lambda path: told_of(BinaryContent.from_path(path)))


@fails("no citation", "`OpenAIChatModel` leaves out `annotations`")
def citations() -> None:
    made = seeing.run_sync(HEIGHT, model_settings={"extra_body": SEARCHED | CITING})
    assert "[1]" in made.output
    assert CITED["url"] in str(made.all_messages()), "no citation"


@works("as a `ThinkingPart`")
def thoughts() -> None:
    async def streamed_parts() -> list[ModelResponsePart]:
        async with agent.run_stream(LONG_SUM) as events:
            await events.get_output()
            return events.all_messages()[-1].parts

    for parts in agent.run_sync(LONG_SUM).all_messages()[-1].parts, asyncio.run(streamed_parts()):
        thought, text = parts
        assert THOUGHT in thought.content
        assert THOUGHT not in text.content


@works("as its `ContentFilterError`; where thoughts come first, a streamed one is retried instead")
def refusals() -> None:
    def fields(body: dict[str, object]) -> dict[str, object]:
        return {"output_type": NativeOutput(Person), "model_settings": {"extra_body": body}}

    async def streamed(body: dict[str, object]) -> None:
        async with agent.run_stream(PERSON, **fields(body)) as events:
            await events.get_output()

    thoughtless = {**NO_JSON, "reasoning_effort": "none"}
    for call in (
        lambda: agent.run_sync(PERSON, **fields(NO_JSON)),
        lambda: asyncio.run(streamed(thoughtless)),
    ):
        assert "Refusal: " in refused(ContentFilterError, call)
    told = refused(UnexpectedModelBehavior, lambda: asyncio.run(streamed(NO_JSON)))
    assert told == "Exceeded maximum output retries (1)"


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
    files,
    sound_in,
    citations,
    thoughts,
    refusals,
)
