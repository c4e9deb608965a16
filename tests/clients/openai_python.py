"""The official client for Python."""

import base64
import json
from pathlib import Path

import openai
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
    refused,
    report,
    works,
)
from media_cells import (
    ABOUT,
    PDF,
    SEEING,
    TEXT,
    Told,
    check_file,
    check_images,
    data_url,
)
from pydantic import BaseModel
from sound_cells import CITED, CITING, HEIGHT, SEARCHED, SPOKEN, check_sounds, check_wav, sound_part

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


seeing = client.with_options(base_url=SEEING_URL)


def told_of(part: dict[str, object]) -> Told:
    messages = [{"role": "user", "content": [{"type": "text", "text": ABOUT}, part]}]
    made = seeing.chat.completions.create(model=SEEING, messages=messages, temperature=0)
    return Told(made.choices[0].message.content, made.usage.prompt_tokens)


def images() -> None:
    def ask(path: Path, **more: str) -> Told:
        return told_of({"type": "image_url", "image_url": {"url": data_url(path), **more}})

    check_images(ask)
    # So small a picture is the same in either detail.
    check_images(lambda path: ask(path, detail="low"))


@works("PDF and text, in the request or uploaded")
def files() -> None:
    def ask(**file: str) -> Told:
        return told_of({"type": "file", "file": file})

    def uploaded(path: Path) -> Told:
        return ask(file_id=seeing.files.create(file=path, purpose="user_data").id)

    for path in PDF, TEXT:
        check_file(lambda path: ask(file_data=data_url(path), filename=path.name), path)
        check_file(uploaded, path)


def sound_in() -> None:
    check_sounds(lambda path: told_of(sound_part(path)))


def sound_out() -> None:
    fields = asked(SUM, **SPOKEN)
    audio = client.chat.completions.create(**fields).choices[0].message.audio
    assert "12" in audio.transcript
    check_wav(base64.b64decode(audio.data))
    said = {"role": "assistant", "audio": {"id": audio.id}}
    later = fields["messages"] + [said, {"role": "user", "content": LONG_SUM}]
    again = client.chat.completions.create(**fields | {"messages": later})
    assert again.choices[0].message.audio.id != audio.id

    fields["audio"] = {"voice": "alloy", "format": "pcm16"}
    whole = client.chat.completions.create(**fields).choices[0].message.audio
    deltas = [
        chunk.choices[0].delta for chunk in client.chat.completions.create(**fields, stream=True)
    ]
    told = [delta.audio for delta in deltas if getattr(delta, "audio", None)]
    assert "".join(piece.get("data", "") for piece in told) == whole.data


def citations() -> None:
    fields = {"model": SEEING, "messages": [{"role": "user", "content": HEIGHT}], **SEARCHED}
    message = seeing.chat.completions.create(**fields, extra_body=CITING).choices[0].message
    (told,) = message.annotations
    assert told.url_citation.model_dump() == CITED
    assert message.content[told.url_citation.start_index :] == "[1]"


@works("as `reasoning_content`, which its types do not name")
def thoughts() -> None:
    made = client.chat.completions.create(**asked(LONG_SUM))
    message = made.choices[0].message
    assert THOUGHT in message.reasoning_content
    assert THOUGHT not in message.content
    assert made.usage.completion_tokens_details.reasoning_tokens > 2
    chunks = client.chat.completions.create(**asked(LONG_SUM), stream=True)
    pieces = [getattr(chunk.choices[0].delta, "reasoning_content", "") for chunk in chunks]
    assert THOUGHT in "".join(pieces)
    assert sum(map(bool, pieces)) > 2


def refusals() -> None:
    fields = asked(PERSON, response_format=Person, extra_body=NO_JSON)
    message = client.chat.completions.parse(**fields).choices[0].message
    assert message.refusal
    assert message.parsed is None
    with client.chat.completions.stream(**fields) as streamed:
        events = list(streamed)
    pieces = [event.delta for event in events if event.type == "refusal.delta"]
    (done,) = [event for event in events if event.type == "refusal.done"]
    assert done.refusal == "".join(pieces) != ""


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
    refusals,
)
