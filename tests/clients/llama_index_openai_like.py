"""LlamaIndex's `OpenAILike`."""

import asyncio
import base64
import json

import openai
from cells import (
    ANNA,
    BASE_URL,
    LONG_SUM,
    PERSON,
    PERSON_AS_JSON,
    SEEING_URL,
    SUM,
    THOUGHT,
    WEATHER,
    WEATHER_FOUND,
    Person,
    refused,
    report,
    works,
)
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import (
    AudioBlock,
    ChatMessage,
    DocumentBlock,
    ImageBlock,
    TextBlock,
)
from llama_index.core.tools import FunctionTool
from media_cells import ABOUT, PDF, SEEING, TEXT, Told, check_file, check_images
from sound_cells import CITED, CITING, HEIGHT, SEARCHED, SPOKEN, check_sounds, check_wav

# isort: split
# docs:begin
from llama_index.llms.openai_like import OpenAILike

llm = OpenAILike(
    model="parlance-bundled",
    api_base=BASE_URL,
    api_key="none",
    is_chat_model=True,
    is_function_calling_model=True,
)
answer = llm.complete("What is 7 + 5?")
print(answer.text)
# docs:end


def get_weather(city: str) -> str:
    """Get the current weather for a city."""
    return WEATHER_FOUND


TOOL = FunctionTool.from_defaults(get_weather)


def chat() -> None:
    assert "12" in answer.text
    assert "12" in llm.chat([ChatMessage(role="user", content=SUM)]).message.content


def stream() -> None:
    texts = [
        piece.delta or "" for piece in llm.stream_chat([ChatMessage(role="user", content=SUM)])
    ]
    assert "12" in "".join(texts)
    assert sum(map(bool, texts)) > 2


def usage() -> None:
    assert answer.raw.usage.total_tokens == answer.additional_kwargs["total_tokens"] > 2


@works("with `stream_options` in the call, which it passes on")
def streamed_usage() -> None:
    *_, last = llm.stream_complete(SUM, stream_options={"include_usage": True})
    assert last.raw.usage.total_tokens == answer.raw.usage.total_tokens


def stop() -> None:
    text = llm.complete(SUM, stop=["12"]).text
    assert "=" in text
    assert "12" not in text


def errors() -> None:
    error = refused(openai.BadRequestError, lambda: llm.complete(SUM, temperature=3))
    assert "temperature" in error


def tools() -> None:
    (call,) = llm.get_tool_calls_from_response(llm.chat_with_tools([TOOL], user_msg=WEATHER))
    assert (call.tool_name, call.tool_kwargs) == ("get_weather", {"city": "Paris"})


def streamed_tools() -> None:
    *_, last = llm.stream_chat_with_tools([TOOL], user_msg=WEATHER)
    (call,) = llm.get_tool_calls_from_response(last)
    assert (call.tool_name, call.tool_kwargs) == ("get_weather", {"city": "Paris"})


def tool_loop() -> None:
    async def run() -> object:
        return await FunctionAgent(tools=[TOOL], llm=llm).run(WEATHER)

    assert "21" in str(asyncio.run(run()))


def structured_output() -> None:
    assert llm.as_structured_llm(Person).complete(PERSON).raw == ANNA


def json_mode() -> None:
    text = llm.complete(PERSON_AS_JSON, response_format={"type": "json_object"}).text
    assert json.loads(text) == ANNA.model_dump()


seeing = OpenAILike(model=SEEING, api_base=SEEING_URL, api_key="none", is_chat_model=True)


def told_of(block: ImageBlock | DocumentBlock | AudioBlock) -> Told:
    blocks = [TextBlock(text=ABOUT), block]
    made = seeing.chat([ChatMessage(role="user", blocks=blocks)], temperature=0)
    return Told(made.message.content, made.raw.usage.prompt_tokens)


@works("as an `ImageBlock`")
def images() -> None:
    check_images(lambda path: told_of(ImageBlock(path=path)))
    check_images(lambda path: told_of(ImageBlock(path=path, detail="low")))


@works("PDF and text, as a `DocumentBlock`")
def files() -> None:
    for path in PDF, TEXT:
        check_file(lambda path: told_of(DocumentBlock(path=path, title=path.name)), path)
        # It names a file that has no title.
        check_file(lambda path: told_of(DocumentBlock(path=path)), path, "input_document")


@works("as an `AudioBlock`")
def sound_in() -> None:
    check_sounds(lambda path: told_of(AudioBlock(path=path, format=path.suffix[1:])))


@works(
    "as an `AudioBlock`, with `modalities` and `audio_config`; streamed it is refused by LlamaIndex"
)
def sound_out() -> None:
    speaking = OpenAILike(
        model="parlance-bundled",
        api_base=BASE_URL,
        api_key="none",
        is_chat_model=True,
        modalities=SPOKEN["modalities"],
        audio_config=SPOKEN["audio"],
    )
    question = ChatMessage(role="user", content=SUM)
    said = speaking.chat([question]).message
    (block,) = said.blocks
    check_wav(base64.b64decode(block.audio))
    again = speaking.chat([question, said, ChatMessage(role="user", content=LONG_SUM)]).message
    ids = [each.additional_kwargs["reference_audio_id"] for each in (said, again)]
    assert len(set(ids)) == 2


@works("in `raw`")
def citations() -> None:
    asked = [ChatMessage(role="user", content=HEIGHT)]
    made = seeing.chat(asked, **SEARCHED, extra_body=CITING)
    (told,) = made.raw.choices[0].message.annotations
    assert told.url_citation.model_dump() == CITED


@works("as a `ThinkingBlock`")
def thoughts() -> None:
    question = [ChatMessage(role="user", content=LONG_SUM)]
    *_, last = llm.stream_chat(question)
    for message in llm.chat(question).message, last.message:
        thought, text = message.blocks
        assert THOUGHT in thought.content
        assert THOUGHT not in text.text


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
    sound_out,
    citations,
    thoughts,
)
