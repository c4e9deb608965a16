"""`--refusals`: strict answers that may be a sentence instead, drawn from what may follow."""

import json
import random
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel
from support.schemas import validate

from serve.engine.types import GenerationRequest, TokenEvent
from serve.filter.content_filter import ContentFilter
from serve.filter.rules import Category
from serve.text.refusals import INSTRUCTIONS, MARKER

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
SAID = f"{MARKER}I must not tell."
CLOSING = frozenset(b'"}.')


def form(schema: Any = PERSON, *, strict: bool = True) -> dict[str, Any]:
    spec = {"name": "person", "schema": schema, "strict": strict}
    return {"type": "json_schema", "json_schema": spec}


def drawn(request: GenerationRequest) -> list[Sequence[TokenEvent]]:
    """An answer of bytes, each drawn from those that may follow; seeded by the request."""
    constraint = request.constraint
    assert constraint is not None
    rng, matcher = random.Random(request.sampling.seed), constraint.matcher()
    (end,) = request.end_ids
    words = np.zeros(-(-259 // 32), np.uint32)
    steps: list[Sequence[TokenEvent]] = []
    while not matcher.finished and len(steps) < request.max_tokens:
        matcher.fill(words)
        bits = np.unpackbits(words.view(np.uint8), bitorder="little")
        allowed = [token for token in (*range(256), end) if bits[token]]
        closing = [token for token in allowed if token in CLOSING or token == end]
        token = rng.choice(closing if closing and rng.random() < 0.2 else allowed)
        if token == end:
            break
        matcher.accept(token)
        steps.append([TokenEvent(0, token)])
    return [*steps, [TokenEvent(0, None, "stop")]]


async def plain(house: Any, asked: Any) -> Any:
    response = await house.post(asked)
    assert response.status_code == 200, await response.get_data()
    return await response.get_json()


async def streamed(house: Any, asked: Any) -> dict[str, Any]:
    """The choice that a stream's chunks add up to."""
    data = await (await house.post({**asked, "stream": True})).get_data()
    lines = [line.removeprefix("data: ") for line in data.decode().split("\n\n")[:-2]]
    message: dict[str, Any] = {"content": None, "refusal": None}
    logprobs: dict[str, Any] = {"content": [], "refusal": []}
    reason = None
    for (choice,) in (json.loads(line)["choices"] for line in lines):
        for member in message:
            if (more := choice["delta"].get(member)) is not None:
                message[member] = (message[member] or "") + more
            logprobs[member] += (choice["logprobs"] or {}).get(member) or []
        reason = choice["finish_reason"] or reason
    return {"message": message, "logprobs": logprobs, "finish_reason": reason}


@pytest.mark.parametrize("tools", [None, [WEATHER]])
async def test_strict_answers_are_valid_or_refusals_plain_and_streamed(
    make_house: Any, ask: Any, tools: Any
) -> None:
    house = make_house(plan=drawn, settings={"refusals": True})
    refusals = 0
    for seed in range(200 if tools is None else 40):
        asked = ask(
            response_format=form(), seed=seed, logprobs=True, tools=tools, tool_choice="none"
        )
        if tools is None:
            asked |= {"tool_choice": None, "tools": None}
        (choice,) = (await plain(house, asked))["choices"]
        message = choice["message"]
        if message["refusal"] is None:
            validate(PERSON, message["content"])
            told = "content"
        else:
            assert message["content"] is None
            assert 0 < len(message["refusal"]) <= 400
            assert min(message["refusal"]) >= " "
            refusals += 1
            told = "refusal"
        entries = choice["logprobs"][told]
        assert b"".join(bytes(each["bytes"]) for each in entries).decode() == message[told]
        again = await streamed(house, asked)
        assert again["message"] == {name: message[name] for name in ("content", "refusal")}
        assert again["logprobs"][told] == entries
        assert again["finish_reason"] == choice["finish_reason"] == "stop"
    assert refusals > 10


class Person(BaseModel):
    name: str
    age: int


async def test_the_official_client_shows_the_refusal(
    make_house: Any, answering: Any, ask: Any
) -> None:
    house = make_house(plan=answering(SAID), settings={"refusals": True})
    transport = httpx.ASGITransport(house.app)
    asked = {**ask(logprobs=True), "response_format": Person}
    async with (
        httpx.AsyncClient(transport=transport) as http,
        AsyncOpenAI(base_url="http://house/v1", api_key="none", http_client=http) as client,
    ):
        completion = await client.chat.completions.parse(**asked)
        async with client.chat.completions.stream(**asked) as stream:
            kinds = [event.type async for event in stream]
            streamed_one = await stream.get_final_completion()
    for each in (completion, streamed_one):
        (choice,) = each.choices
        assert (choice.message.refusal, choice.message.parsed) == ("I must not tell.", None)
        assert choice.message.content is None
        assert choice.logprobs is not None
        assert not choice.logprobs.content
        told = [entry.token for entry in choice.logprobs.refusal or ()]
        assert "".join(told) == "I must not tell."
    assert completion.usage is not None
    assert completion.usage.completion_tokens == len(SAID)
    assert {"refusal.delta", "refusal.done", "logprobs.refusal.done"} <= set(kinds)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (MARKER[:5], ("content", MARKER[:5])),
        ("Refuse", ("content", "Refuse")),
        (MARKER + "No.", ("refusal", "No.")),
        ('{"name":"Refusal: ","age":1}', ("content", '{"name":"Refusal: ","age":1}')),
    ],
)
async def test_only_a_whole_marker_at_the_beginning_is_one(
    make_house: Any, answering: Any, ask: Any, answer: str, told: tuple[str, str]
) -> None:
    house = make_house(plan=answering(answer), settings={"refusals": True})
    asked = ask(response_format=form())
    (choice,) = (await plain(house, asked))["choices"]
    member, text = told
    assert choice["message"][member] == text
    assert (await streamed(house, asked))["message"][member] == text


async def test_a_refusal_that_is_cut_off_before_its_sentence_says_nothing(
    make_house: Any, answering: Any, ask: Any
) -> None:
    house = make_house(plan=answering(SAID), settings={"refusals": True})
    asked = ask(response_format=form(), max_completion_tokens=len(MARKER))
    (choice,) = (await plain(house, asked))["choices"]
    told = {"content": None, "refusal": None}
    assert choice["message"] == {"role": "assistant", **told, "annotations": []}
    assert choice["finish_reason"] == "length"
    assert (await streamed(house, asked))["message"] == told


async def test_the_model_is_told_of_refusals_where_it_is_shown_the_schema(
    make_house: Any, ask: Any
) -> None:
    for settings, fields, is_told in [
        ({"refusals": True}, {}, True),
        ({"refusals": True, "schema_in_prompt": False}, {}, False),
        ({"refusals": True}, {"strict": False}, False),
        ({}, {}, False),
    ]:
        house = make_house(settings=settings)
        await plain(house, ask(response_format=form(**fields)))
        assert (INSTRUCTIONS in house.tokenizer.spell(house.engine.request.prompt)) == is_told


@pytest.mark.parametrize(
    ("settings", "fields"),
    [
        ({}, {"response_format": form()}),
        ({"refusals": True}, {"response_format": form(strict=False)}),
        ({"refusals": True}, {"response_format": {"type": "json_object"}}),
        ({"refusals": True}, {"guided_json": PERSON}),
        ({"refusals": True}, {"response_format": {"type": "text"}}),
    ],
)
async def test_elsewhere_what_looks_like_one_is_content(
    make_house: Any, answering: Any, ask: Any, settings: Any, fields: Any
) -> None:
    house = make_house(plan=answering(SAID), settings=settings)
    (choice,) = (await plain(house, ask(**fields)))["choices"]
    assert (choice["message"]["content"], choice["message"]["refusal"]) == (SAID, None)
    constraint = house.engine.request.constraint
    assert constraint is None or not constraint.matcher().allows(list(b"Refusal"))


async def test_a_refusal_is_filtered_as_content_is(
    make_house: Any, answering: Any, ask: Any
) -> None:
    house = make_house(
        plan=answering(SAID),
        settings={"refusals": True},
        content_filter=ContentFilter([Category("c", ("must",))]),
    )
    asked = ask(response_format=form())
    (choice,) = (await plain(house, asked))["choices"]
    assert (choice["message"]["refusal"], choice["finish_reason"]) == ("I ", "content_filter")
    assert (await streamed(house, asked))["message"]["refusal"] == "I "


async def test_a_stored_refusal_is_kept(storing: Any, answering: Any, ask: Any) -> None:
    house = storing({"refusals": True}, plan=answering(SAID))
    await house.app.startup()
    try:
        body = await plain(house, ask(response_format=form(), store=True))
        kept = await (await house.get(f"/v1/chat/completions/{body['id']}")).get_json()
    finally:
        await house.app.shutdown()
    assert kept["choices"][0]["message"]["refusal"] == "I must not tell."
