"""LiteLLM's `completion`."""

import base64
import json
from pathlib import Path

import litellm
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
    kind,
)
from sound_cells import CITED, CITING, HEIGHT, SEARCHED, SPOKEN, check_sounds, check_wav, sound_part

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


seeing = {**server, "model": f"openai/{SEEING}", "api_base": SEEING_URL}


def told_of(part: dict[str, object]) -> Told:
    messages = [{"role": "user", "content": [{"type": "text", "text": ABOUT}, part]}]
    made = completion(messages=messages, temperature=0, **seeing)
    return Told(made.choices[0].message.content, made.usage.prompt_tokens)


def images() -> None:
    def ask(path: Path, **more: str) -> Told:
        return told_of({"type": "image_url", "image_url": {"url": data_url(path), **more}})

    check_images(ask)
    check_images(lambda path: ask(path, detail="low", format=kind(path)))


@works("PDF and text, in the request or uploaded; it calls one without name `my_file.pdf`")
def files() -> None:
    def ask(**file: str) -> Told:
        return told_of({"type": "file", "file": file})

    def uploaded(path: Path) -> Told:
        to = {"custom_llm_provider": "openai", "api_base": SEEING_URL, "api_key": "none"}
        made = litellm.create_file(file=path.open("rb"), purpose="user_data", **to)
        return ask(file_id=made.id, format=kind(path))

    for path in PDF, TEXT:
        check_file(lambda path: ask(file_data=data_url(path), filename=path.name), path)
        check_file(uploaded, path)
    check_file(lambda path: ask(file_data=data_url(path)), PDF, "my_file.pdf")


def sound_in() -> None:
    check_sounds(lambda path: told_of(sound_part(path)))


def sound_out() -> None:
    audio = ask(SUM, **SPOKEN).choices[0].message.audio
    assert "12" in audio.transcript
    check_wav(base64.b64decode(audio.data))
    pcm16 = SPOKEN | {"audio": {"voice": "alloy", "format": "pcm16"}}
    whole = ask(SUM, **pcm16).choices[0].message.audio
    deltas = [chunk.choices[0].delta for chunk in ask(SUM, **pcm16, stream=True)]
    told = [delta.audio for delta in deltas if getattr(delta, "audio", None)]
    assert "".join(piece.get("data", "") for piece in told) == whole.data


def citations() -> None:
    asked = {"messages": [{"role": "user", "content": HEIGHT}], "extra_body": CITING}
    message = completion(**asked, **SEARCHED, **seeing).choices[0].message
    assert [each["url_citation"] for each in message.annotations] == [CITED]
    deltas = [
        chunk.choices[0].delta for chunk in completion(**asked, **SEARCHED, **seeing, stream=True)
    ]
    (streamed,) = [delta.annotations for delta in deltas if getattr(delta, "annotations", None)]
    assert [each["url_citation"] for each in streamed] == [CITED]


def thoughts() -> None:
    made = ask(LONG_SUM)
    message = made.choices[0].message
    assert THOUGHT in message.reasoning_content
    assert THOUGHT not in message.content
    assert made.usage.completion_tokens_details.reasoning_tokens > 2
    deltas = [chunk.choices[0].delta for chunk in ask(LONG_SUM, stream=True)]
    pieces = [getattr(delta, "reasoning_content", None) or "" for delta in deltas]
    assert THOUGHT in "".join(pieces)
    assert sum(map(bool, pieces)) > 2


@works("in `provider_specific_fields`; of a streamed one LiteLLM drops it")
def refusals() -> None:
    fields = {"response_format": Person, "extra_body": NO_JSON}
    message = ask(PERSON, **fields).choices[0].message
    assert message.content is None
    assert message.provider_specific_fields["refusal"]
    chunks = list(ask(PERSON, **fields, stream=True))
    assert not any(getattr(chunk.choices[0].delta, "refusal", None) for chunk in chunks)


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
