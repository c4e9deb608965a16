"""Predicted output: what reaches the engine, and how its drafts are counted."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from serve.engine.types import GenerationRequest, TokenEvent

Plan = Callable[[GenerationRequest], Any]


def predicting(content: Any, **fields: Any) -> dict[str, Any]:
    return {"prediction": {"type": "content", "content": content}, **fields}


def parts(*texts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text} for text in texts]


def drafting(plan: Plan, *rejected: int) -> Plan:
    """The plan, whose answers' letters were predicted in words of four, but for each one's last.

    Args:
        plan: one token a step for each choice.
        rejected: drafts refused with each choice's first, second … step.
    """

    def drafted(request: GenerationRequest) -> list[list[TokenEvent]]:
        steps: list[list[TokenEvent]] = []
        said: dict[int, list[TokenEvent]] = {}
        for event in (event for step in plan(request) for event in step):
            said.setdefault(event.choice, []).append(event)
        for events in said.values():
            for step, start in enumerate(range(0, len(events), 4)):
                *first, last = events[start : start + 4]
                refused = rejected[step] if step < len(rejected) else 0
                steps.append(
                    [replace(e, predicted=True) for e in first]
                    + [replace(last, mispredicted=refused)]
                )
        return steps

    return drafted


async def usage_of(house: Any, body: dict[str, Any], read_stream: Any = None) -> dict[str, Any]:
    response = await house.post(body)
    data = await response.get_data()
    assert response.status_code == 200, data
    if not body.get("stream"):
        return json.loads(data)["usage"]
    *_, usage, _ = read_stream(data)
    return usage["usage"]


def counts(usage: dict[str, Any]) -> tuple[int, int, int]:
    """Accepted, rejected and all tokens; the whole is their sum with the prompt's."""
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    details = usage["completion_tokens_details"]
    return (
        details["accepted_prediction_tokens"],
        details["rejected_prediction_tokens"],
        usage["completion_tokens"],
    )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # "Good", " day", " to ", "you!", and the end of the turn.
        ({}, (12, 5, 16 + 5)),
        # The end of the bound has no draft of its own.
        ({"max_tokens": 6}, (4, 5, 6 + 5)),
        # What a stop string takes away is in no answer; what is refused later is not waited for.
        ({"stop": " to"}, (6, 5, 8 + 5)),
        ({"stop": "oo"}, (1, 0, 1)),
        ({"n": 2}, (12 + 3, 5 + 5, 16 + 5 + 4 + 5)),
        ({"logprobs": True}, (12, 5, 16 + 5)),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, (12, 5, 16 + 5)),
    ],
    ids=["alone", "cut", "stop", "stop at once", "n", "logprobs", "tools"],
)
async def test_usage_counts_what_was_drafted(
    make_house: Any,
    answering: Any,
    ask: Any,
    read_stream: Any,
    stream: bool,
    fields: dict[str, Any],
    expected: tuple[int, int, int],
) -> None:
    house = make_house(plan=drafting(answering("Good day to you!", "Bye!"), 3, 2))
    streamed = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    body = ask(**predicting("Good night to you!", **fields, **streamed))
    assert counts(await usage_of(house, body, read_stream)) == expected


async def test_nothing_is_counted_where_nothing_was_drafted(house: Any, ask: Any) -> None:
    assert counts(await usage_of(house, ask(**predicting("Hello!")))) == (0, 0, 6)


async def test_the_log_has_what_usage_has(
    make_house: Any, answering: Any, ask: Any, caplog: pytest.LogCaptureFixture
) -> None:
    house = make_house(plan=drafting(answering("Good day"), 3))
    with caplog.at_level("INFO", "parlance.access"):
        usage = await usage_of(house, ask(**predicting("Good night")))
    assert f"completion_tokens={usage['completion_tokens']} " in caplog.text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Good day", "Good day"),
        (parts("Good ", "", "day"), "Good day"),
        # What spells a control token is text, and no space is added.
        ("<|im_end|>", "<|im_end|>"),
        (" é", " é"),
    ],
)
async def test_the_text_reaches_the_engine(house: Any, ask: Any, content: Any, text: str) -> None:
    await house.post(ask(**predicting(content)))
    assert house.engine.request.prediction == list(text.encode())
    assert house.tokenizer.spell(house.engine.request.prompt).endswith("assistant\n")


async def test_without_a_prediction_there_is_none(house: Any, ask: Any) -> None:
    await house.post(ask(prediction=None))
    assert list(house.engine.request.prediction) == []


async def test_it_is_spelled_as_words_within_a_prompt_are(make_house: Any, ask: Any) -> None:
    house = make_house()
    calls: list[tuple[str, bool]] = []
    encode = house.tokenizer.encode

    def noting(text: str, *, at_start: bool = True) -> list[int]:
        calls.append((text, at_start))
        return encode(text, at_start=at_start)

    house.tokenizer.encode = noting
    await house.post(ask(**predicting("Good day")))
    assert ("Good day", False) in calls


async def test_what_the_context_cannot_hold_is_cut(make_house: Any, ask: Any) -> None:
    house = make_house(context_length=100)
    await house.post(ask(**predicting("ab" * 50_000, max_tokens=3)))
    request = house.engine.request
    # An answer may begin anywhere in it: the bound on the answer's tokens is none on it.
    assert len(request.prompt) + len(request.prediction) == 100


async def test_a_mark_of_another_servers_is_named(house: Any, ask: Any) -> None:
    marked = [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]
    response = await house.post(ask(**predicting(marked)))
    assert response.headers["x-parlance-no-effect"] == "prediction.content[0].cache_control"


async def test_a_refusal_of_no_text_says_what_to_do(house: Any, ask: Any) -> None:
    error = (await (await house.post(ask(**predicting(parts("", ""))))).get_json())["error"]
    assert "leave 'prediction' out" in error["message"]
