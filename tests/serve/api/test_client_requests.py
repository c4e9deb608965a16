"""The table of clients' requests, and what each comes to."""

import json
from dataclasses import replace
from typing import Any

import pytest
from support.client_requests import EPHEMERAL, ROWS, USER, Fields, Row

from serve.api.asking.no_effect import without_effect
from serve.api.settings import ApiSettings
from serve.api.wire.request import ChatRequest

NO_EFFECT = "x-parlance-no-effect"

SHOW = (
    "{% for tool in tools or [] %}{{ tool | tojson }};{% endfor %}"
    "{% for m in messages %}{{ m.role }}|{{ m.name }}|{{ m.content }}|"
    "{% if m.tool_calls %}|{{ m.tool_calls | tojson }}{% endif %}"
    "{% if m.role == 'tool' %}{{ m.tool_call_id }}{% endif %}THOUGHTS;{% endfor %}"
)
THOUGHTS = "{% if m.reasoning_content %}<{{ m.reasoning_content }}>{% endif %}"


@pytest.fixture(scope="module")
def houses(make_house: Any) -> dict[bool, Any]:
    """One whose template takes thoughts, and one whose does not."""
    settings = {"tool_format": "hermes"}
    return {
        thinks: make_house(
            template=SHOW.replace("THOUGHTS", THOUGHTS if thinks else ""), settings=settings
        )
        for thinks in (False, True)
    }


async def asked(house: Any, fields: Fields) -> tuple[Any, Fields, str]:
    """What the engine is asked, what is answered, and what is named as without effect."""
    response = await house.post({"model": "tiny", "messages": [USER], "seed": 0, **fields})
    assert response.status_code == 200, await response.get_data()
    answer, request = await response.get_json(), house.engine.request
    assert answer["choices"][0]["message"]["content"] == "Hello!"[: request.max_tokens]
    # Of two answers only the names and the times differ, of two constraints the objects.
    request = replace(request, id="", constraint=None if request.constraint is None else ...)
    return request, answer | {"id": "", "created": 0}, response.headers.get(NO_EFFECT, "")


def named(rows: list[Row]) -> list[Any]:
    return [pytest.param(row, id=row.name) for row in rows]


def test_the_table_is_long_enough() -> None:
    assert len(ROWS) >= 200
    assert len({row.name for row in ROWS}) == len(ROWS)
    # Each row says one thing of three.
    assert all((row.like is None) + (not row.shows) + (row.refused is None) == 2 for row in ROWS)


@pytest.mark.parametrize("row", named([row for row in ROWS if row.like is not None]))
async def test_is_answered_like_another(houses: Any, row: Row) -> None:
    house = houses[row.thinks]
    request, answer, no_effect = await asked(house, row.sent)
    # Who asks is told apart from what is asked.
    other, usual, _ = await asked(house, row.like or {})
    assert replace(request, caller="") == replace(other, caller="")
    assert answer == usual
    assert no_effect == row.no_effect


@pytest.mark.parametrize("row", named([row for row in ROWS if row.shows]))
async def test_shows_in_the_prompt(houses: Any, row: Row) -> None:
    house = houses[row.thinks]
    request, _, no_effect = await asked(house, row.sent)
    assert row.shows in house.tokenizer.spell(request.prompt)
    assert no_effect == row.no_effect


@pytest.mark.parametrize("row", named([row for row in ROWS if row.no_effect]))
async def test_a_stream_names_what_changes_nothing_too(houses: Any, row: Row) -> None:
    sent = {"model": "tiny", "messages": [USER], "stream": True, **row.sent}
    response = await houses[row.thinks].post(sent)
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert response.headers[NO_EFFECT] == row.no_effect
    assert (await response.get_data()).endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("row", named([row for row in ROWS if row.refused]))
async def test_is_refused(houses: Any, row: Row) -> None:
    house = houses[row.thinks]
    before = len(house.engine.generations)
    response = await house.post({"model": "tiny", "messages": [USER], **row.sent})
    error = (await response.get_json())["error"]
    assert response.status_code == 400
    assert (error["param"], error["code"]) == row.refused, error["message"]
    assert NO_EFFECT not in response.headers
    assert len(house.engine.generations) == before


async def test_a_long_user_is_who_asks(house: Any, ask: Any) -> None:
    await house.post(ask(user="u" * 1_024))
    assert house.engine.request.caller == f"user {'u' * 1_024}"


@pytest.mark.parametrize("stream", [False, True])
async def test_long_bodies_name_it_too(make_house: Any, ask: Any, stream: bool) -> None:
    """They are read in another process."""
    house = make_house(context_length=8_192)
    part = {"type": "text", "text": "a" * 3_000, "cache_control": EPHEMERAL}
    messages = [{"role": "user", "content": [part, part]}]
    assert len(json.dumps(messages)) > ApiSettings("tiny").process_body_bytes
    response = await house.post(ask(messages=messages, stream=stream, max_tokens=1))
    await response.get_data()
    assert response.status_code == 200
    assert response.headers[NO_EFFECT] == (
        "messages[0].content[0].cache_control, messages[0].content[1].cache_control"
    )


def test_what_is_named_has_its_most() -> None:
    function = {"name": "f", "arguments": "{}", "provider_specific_fields": {"é\n": 1}}
    calls = [{"id": f"c{n}", "type": "function", "function": function} for n in range(256)]
    body = {"model": "tiny", "messages": [{"role": "assistant", "tool_calls": calls}] * 2_048}
    messages = ChatRequest.model_validate(body).messages
    named = without_effect(messages, (), shows_thoughts=False)
    assert named.startswith("messages[0].tool_calls[0].function.provider_specific_fields, ")
    assert named.endswith(f", and {2_048 * 256 - 16} more")
    assert named.isascii()
    assert len(named) < 1_200
