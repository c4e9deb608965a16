"""Requests and answers under a content filter, plain and streamed."""

import json
from typing import Any

import pytest

from serve.engine.types import TokenEvent
from serve.filter.content_filter import ContentFilter
from serve.filter.rules import Category

CUT = Category("rude", ("fool", "old fool"))
BLOCK = Category("keys", (), (r"\bsk-[0-9]{4,8}\b",), frozenset({"output"}), blocks=True)
FILTER = ContentFilter([CUT, BLOCK])

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"at": "fool"}}\n</tool_call>'


async def streamed(house: Any, body: Any) -> list[Any]:
    response = await house.post({**body, "stream": True})
    lines = (await response.get_data()).decode().split("\n\n")
    assert lines[-2] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


def told(chunks: list[Any], member: str = "content") -> str:
    return "".join(chunk["choices"][0]["delta"].get(member) or "" for chunk in chunks)


def entries(choice: Any) -> str:
    tokens = (choice["logprobs"] or {}).get("content") or []
    return b"".join(bytes(each["bytes"]) for each in tokens).decode()


async def sample(house: Any, category: str, side: str) -> float | None:
    labels = {"category": category, "side": side}
    return house.metrics.registry.get_sample_value("parlance_content_filter_matches_total", labels)


async def test_a_cut_answer_ends_before_the_match(
    make_house: Any, answering: Any, ask: Any
) -> None:
    house = make_house(plan=answering("You are no fool. Or are you?"), content_filter=FILTER)
    asked = ask(logprobs=True)
    body = await (await house.post(asked)).get_json()
    (choice,) = body["choices"]
    assert choice["message"]["content"] == "You are no "
    assert choice["finish_reason"] == "content_filter"
    assert entries(choice) == "You are no "
    assert body["usage"]["completion_tokens"] == len("You are no ")
    assert house.engine.generations[-1].cancels[0] == 0
    chunks = await streamed(house, asked)
    assert told(chunks) == "You are no "
    assert "".join(entries(chunk["choices"][0]) for chunk in chunks) == "You are no "
    assert chunks[-1]["choices"][0]["finish_reason"] == "content_filter"
    assert await sample(house, "rude", "output") == 2


async def test_a_blocked_answer_tells_nothing_that_is_not_told_yet(
    make_house: Any, answering: Any, ask: Any
) -> None:
    house = make_house(plan=answering("The key is sk-12345."), content_filter=FILTER)
    (choice,) = (await (await house.post(ask(logprobs=True))).get_json())["choices"]
    assert choice["message"]["content"] is None
    assert choice["logprobs"] == {"content": [], "refusal": None}
    assert choice["finish_reason"] == "content_filter"
    chunks = await streamed(house, ask())
    assert told(chunks) == "The key is "
    assert chunks[-1]["choices"][0]["finish_reason"] == "content_filter"


async def test_a_token_that_runs_into_a_match_is_not_told(make_house: Any, ask: Any) -> None:
    def plan(request: Any) -> Any:
        tokens = [*b"You", 256, *b"!"]
        return [[TokenEvent(0, token)] for token in tokens] + [[TokenEvent(0, None, "stop")]]

    house = make_house(plan=plan, pieces=[b" fool"], vocab_size=300, content_filter=FILTER)
    asked = ask(logprobs=True)
    (choice,) = (await (await house.post(asked)).get_json())["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("You ", "content_filter")
    assert entries(choice) == "You"
    chunks = await streamed(house, asked)
    assert (told(chunks), "".join(entries(chunk["choices"][0]) for chunk in chunks)) == (
        "You ",
        "You",
    )


async def test_choices_are_judged_one_by_one(make_house: Any, answering: Any, ask: Any) -> None:
    plan = answering("old friend", "old fools", "old fool")
    house = make_house(plan=plan, content_filter=FILTER)
    choices = (await (await house.post(ask(n=3))).get_json())["choices"]
    assert [(each["message"]["content"], each["finish_reason"]) for each in choices] == [
        ("old friend", "stop"),
        ("old fools", "stop"),
        ("", "content_filter"),
    ]


async def test_what_a_stop_string_removes_is_not_judged(
    make_house: Any, answering: Any, ask: Any
) -> None:
    house = make_house(plan=answering("old END fool"), content_filter=FILTER)
    (choice,) = (await (await house.post(ask(stop="END"))).get_json())["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("old ", "stop")


@pytest.mark.parametrize("text", ["no fool", "old"])
async def test_the_bound_is_told_where_nothing_is_found(
    make_house: Any, answering: Any, ask: Any, text: str
) -> None:
    house = make_house(plan=answering(text + " friend"), content_filter=FILTER)
    asked = ask(max_completion_tokens=len(text))
    (choice,) = (await (await house.post(asked)).get_json())["choices"]
    cut = text == "no fool"
    assert choice["message"]["content"] == ("no " if cut else "old")
    assert choice["finish_reason"] == ("content_filter" if cut else "length")


async def test_arguments_of_calls_are_not_judged_but_the_words_beside_them_are(
    make_house: Any, answering: Any, ask: Any
) -> None:
    house = make_house(plan=answering(f"old {CALL}", f"you fool {CALL}"), content_filter=FILTER)
    asked = ask(tools=[WEATHER], n=2, logprobs=True)
    called, cut = (await (await house.post(asked)).get_json())["choices"]
    (call,) = called["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"at": "fool"}
    assert (called["message"]["content"], called["finish_reason"]) == ("old", "tool_calls")
    assert cut["message"]["content"] == "you "
    assert cut["finish_reason"] == "content_filter"
    assert "tool_calls" not in cut["message"]
    chunks = await streamed(house, ask(tools=[WEATHER], logprobs=True))
    assert told(chunks) == "old"
    assert "".join(entries(chunk["choices"][0]) for chunk in chunks) == "old"


async def test_words_after_a_call_are_judged_with_their_log_probabilities(
    make_house: Any, answering: Any, ask: Any
) -> None:
    house = make_house(plan=answering(f"{CALL}You old fool."), content_filter=FILTER)
    asked = ask(tools=[WEATHER], logprobs=True)
    (choice,) = (await (await house.post(asked)).get_json())["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("You ", "content_filter")
    assert entries(choice).strip() == "You"
    chunks = await streamed(house, asked)
    assert "".join(entries(chunk["choices"][0]) for chunk in chunks).strip() == "You"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "user", "content": "You FOOL"}, "messages[1].content"),
        ({"role": "system", "content": "fool"}, "messages[1].content"),
        (
            {"role": "user", "content": [{"type": "text", "text": part} for part in ("fo", "ol")]},
            "messages[1].content",
        ),
        ({"role": "assistant", "content": "", "refusal": "fool"}, "messages[1].refusal"),
        (
            {"role": "assistant", "content": "", "reasoning": "A fool."},
            "messages[1].reasoning",
        ),
    ],
)
@pytest.mark.parametrize("long", [False, True])
async def test_a_request_with_a_match_is_refused_before_anything_is_generated(
    make_house: Any, ask: Any, message: Any, param: str, long: bool
) -> None:
    house = make_house(content_filter=FILTER)
    first = {"role": "user", "content": "fine, no key: sk-12345"}
    padding = {"metadata": {"a": "b"}} if not long else {"user": "x" * 1_000}
    fields = {**padding, "messages": [first, message]}
    if long:
        # Read in another process, to which the filter goes along.
        fields["messages"] += [{"role": "user", "content": "y" * 5_000}]
    response = await house.post(ask(**fields))
    error = (await response.get_json())["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "content_filter", param)
    assert "rude" in error["message"]
    assert "fool" not in error["message"].lower()
    assert await sample(house, "rude", "input") == 1
    assert house.engine.generations == []
    assert b"fool" not in house.metrics.render()


async def test_arguments_of_earlier_calls_are_no_text(make_house: Any, ask: Any) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"a":"fool"}'}}
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "foolish"},
    ]
    house = make_house(content_filter=FILTER)
    assert (await house.post(ask(messages=messages))).status_code == 200


async def test_a_stored_stream_keeps_what_was_told(storing: Any, answering: Any, ask: Any) -> None:
    house = storing(plan=answering("The key is sk-12345."), content_filter=FILTER)
    await house.app.startup()
    try:
        chunks = await streamed(house, ask(store=True))
        kept = await (await house.get(f"/v1/chat/completions/{chunks[0]['id']}")).get_json()
    finally:
        await house.app.shutdown()
    (choice,) = kept["choices"]
    assert choice["message"]["content"] == "The key is "
    assert choice["finish_reason"] == "content_filter"
