"""Instructor, in three of its modes."""

from functools import partial

from cells import (
    ANNA,
    BASE_URL,
    LONG_SUM,
    PERSON,
    PERSON_AS_JSON,
    SEEING_URL,
    THOUGHT,
    refused,
    report,
    works,
)
from instructor import Audio, Image, Instructor, Mode
from instructor.processing.multimodal import PDF
from media_cells import ABOUT, SEEING, Told, check_file, check_images
from media_cells import PDF as ANNA_PDF
from sound_cells import CITED, HEIGHT, SEARCHED, check_sounds

# isort: split
# docs:begin
from typing import Literal

import instructor
from pydantic import BaseModel, Field


class Person(BaseModel):
    name: Literal["Anna", "Ben"]
    age: int = Field(ge=0, le=120)


client = instructor.from_provider(
    "openai/parlance-bundled",
    base_url=BASE_URL,
    api_key="none",
)
person = client.create(
    response_model=Person,
    messages=[{"role": "user", "content": "Anna is 30 years old."}],
)
print(person)
# docs:end

EXTRACT = [{"role": "user", "content": PERSON}]


def in_mode(mode: Mode) -> Instructor:
    return instructor.from_provider(
        "openai/parlance-bundled", base_url=BASE_URL, api_key="none", mode=mode
    )


@works("by `create_partial`")
def stream() -> None:
    *early, last = client.create_partial(response_model=Person, messages=EXTRACT)
    assert early
    assert last.model_dump() == ANNA.model_dump()


def usage() -> None:
    _, made = client.create_with_completion(response_model=Person, messages=EXTRACT)
    assert made.usage.total_tokens == made.usage.prompt_tokens + made.usage.completion_tokens > 2


@works("in its own `InstructorRetryException`")
def errors() -> None:
    def call() -> object:
        return client.create(response_model=Person, messages=EXTRACT, temperature=3)

    assert "temperature" in refused(instructor.core.InstructorRetryException, call)


@works("in the modes `TOOLS`, its default, and `JSON_SCHEMA`")
def structured_output() -> None:
    for asked in client, in_mode(Mode.TOOLS), in_mode(Mode.JSON_SCHEMA):
        found = asked.create(response_model=Person, messages=EXTRACT)
        assert found.model_dump() == ANNA.model_dump()


def json_mode() -> None:
    messages = [{"role": "user", "content": PERSON_AS_JSON}]
    found = in_mode(Mode.JSON).create(response_model=Person, messages=messages)
    assert found.model_dump() == ANNA.model_dump()


seeing = instructor.from_provider(
    f"openai/{SEEING}", base_url=SEEING_URL, api_key="none", mode=Mode.JSON_SCHEMA
)
sent: dict[str, object] = {}


@partial(seeing.on, "completion:kwargs")
def keep(*, messages: object, **fields: object) -> None:
    sent.update(fields)


class Words(BaseModel):
    words: str = Field(max_length=6)


def told_of(media: Image | PDF | Audio) -> Told:
    messages = [{"role": "user", "content": [ABOUT, media]}]
    asked = {"response_model": Words, "messages": messages, "temperature": 0}
    _, made = seeing.create_with_completion(**asked)
    return Told(made.choices[0].message.content, made.usage.prompt_tokens)


@works("as an `Image`, in the mode `JSON_SCHEMA`")
def images() -> None:
    check_images(lambda path: told_of(Image.from_path(path)), sent)


@works("PDF, as a `PDF`, in the mode `JSON_SCHEMA`")
def files() -> None:
    check_file(lambda path: told_of(PDF.from_path(path)), ANNA_PDF, fields=sent)


@works("as an `Audio`, in the mode `JSON_SCHEMA`")
def sound_in() -> None:
    check_sounds(lambda path: told_of(Audio.from_path(path)), sent)


@works("in the completion of `create_with_completion`, in the mode `JSON_SCHEMA`")
def citations() -> None:
    class Source(BaseModel):
        number: Literal["[1]"]

    question = [{"role": "user", "content": HEIGHT}]
    asked = {"response_model": Source, "messages": question, **SEARCHED}
    _, made = seeing.create_with_completion(**asked)
    (told,) = made.choices[0].message.annotations
    assert told.url_citation.url == CITED["url"]


@works("in the completion of `create_with_completion`, in the mode `JSON_SCHEMA`")
def thoughts() -> None:
    class Sum(BaseModel):
        total: int

    question = [{"role": "user", "content": LONG_SUM}]
    asked = in_mode(Mode.JSON_SCHEMA)
    found, made = asked.create_with_completion(response_model=Sum, messages=question)
    assert found.total == 42
    assert THOUGHT in made.choices[0].message.reasoning_content


report(
    stream,
    usage,
    errors,
    structured_output,
    json_mode,
    images,
    files,
    sound_in,
    citations,
    thoughts,
)
