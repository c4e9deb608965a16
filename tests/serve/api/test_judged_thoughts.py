"""Refusals and filters where the model thinks before it answers."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from support.moderation_server import moderation_server

from serve.engine.types import TokenEvent
from serve.filter.content_filter import ContentFilter
from serve.filter.moderation_settings import ModerationSettings
from serve.filter.rules import Category

TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"
TAGS = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}{#</think>#}"
CHANNELS = "{#<|channel|><|message|>#}{{ '<|start|>assistant' }}"
HARMONY = ("<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>")
SCHEMA = {"type": "object", "properties": {"a": {"enum": [1]}}, "additionalProperties": False}
FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
FILTER = ContentFilter([Category("rude", ("fool",))])
IN_TAGS = (TURNS + TAGS, ("<think>", "</think>"), "<think>{}</think>{}")
ANALYSIS, FINAL = "<|channel|>analysis<|message|>{}<|end|>", "<|channel|>final<|message|>{}"
IN_CHANNELS = (TURNS + CHANNELS, HARMONY, f"{ANALYSIS}<|start|>assistant{FINAL}")
WISE, RUDE = "A friend asks.", "A fool asks."


@pytest.fixture(params=[IN_TAGS, IN_CHANNELS], ids=["tags", "channels"])
def saying(request: pytest.FixtureRequest, make_house: Any) -> Callable[..., Any]:
    """Makes a house whose model thinks this and then says that; keywords are settings."""
    template, controls, answer = request.param

    def make(thought: str, text: str, **settings: Any) -> Any:
        house = make_house(
            template=template,
            controls=controls,
            settings={"show_reasoning": True, **settings},
            vocab_size=2000,
            content_filter=FILTER,
        )
        known = house.tokenizer.controls
        found = re.findall(
            "|".join(map(re.escape, known)) + "|.", answer.format(thought, text), re.DOTALL
        )
        tokens = [
            token
            for piece in found
            for token in ([known[piece]] if piece in known else piece.encode())
        ]
        events = [*(TokenEvent(0, token) for token in tokens), TokenEvent(0, None, "stop")]
        house.engine.plan = lambda _: [[event] for event in events]
        return house

    return make


async def choice(house: Any, asked: Any) -> Any:
    body = await (await house.post(asked)).get_json()
    return body["choices"][0]


async def deltas(house: Any, asked: Any) -> list[Any]:
    response = await house.post({**asked, "stream": True})
    lines = (await response.get_data()).decode().split("\n\n")[:-2]
    return [json.loads(line.removeprefix("data: "))["choices"][0]["delta"] for line in lines]


async def test_a_refusal_comes_after_the_thoughts(saying: Any, ask: Any) -> None:
    house = saying(WISE, "Refusal: I must not.", refusals=True)
    told = await choice(house, ask(response_format=FORM))
    assert (told["message"]["content"], told["message"]["refusal"]) == (None, "I must not.")
    assert told["message"]["reasoning_content"] == WISE


async def test_what_follows_the_thoughts_is_judged(saying: Any, ask: Any) -> None:
    told = await choice(saying(WISE, "You are a fool."), ask(logprobs=True))
    assert (told["message"]["content"], told["finish_reason"]) == ("You are a ", "content_filter")
    assert told["message"]["reasoning_content"] == WISE
    entries = [bytes(entry["bytes"]) for entry in told["logprobs"]["content"]]
    assert b"".join(entries) == b"You are a "


async def test_thoughts_are_judged_where_they_are_told(saying: Any, ask: Any) -> None:
    house = saying(RUDE, "Well.")
    told = await choice(house, ask(logprobs=True))
    assert (told["message"]["content"], told["finish_reason"]) == ("", "content_filter")
    assert (told["message"]["reasoning_content"], told["logprobs"]["content"]) == ("A ", [])
    streamed = await deltas(house, ask())
    assert "".join(each.get("reasoning_content", "") for each in streamed) == "A "
    assert "".join(each.get("content") or "" for each in streamed) == ""
    assert house.engine.generations[-1].cancels[0] == 0


async def test_thoughts_that_end_amid_a_match_are_judged_before_the_content(
    saying: Any, ask: Any
) -> None:
    told = await choice(saying("I am a fool", "Well."), ask())
    assert (told["message"]["content"], told["finish_reason"]) == ("", "content_filter")
    assert told["message"]["reasoning_content"] == "I am a "
    # What only may have become one is told, and before the content.
    streamed = await deltas(saying("I am a foo", "Well."), ask())
    pieces = [each.get("reasoning_content") or each.get("content") for each in streamed]
    assert "".join(filter(None, pieces)) == "I am a fooWell."


async def test_thoughts_that_nobody_is_told_of_may_say_anything(saying: Any, ask: Any) -> None:
    told = await choice(saying(RUDE, "Well.", show_reasoning=False), ask())
    assert (told["message"]["content"], told["finish_reason"]) == ("Well.", "stop")


@pytest.mark.parametrize("shown", [True, False])
async def test_a_moderation_server_is_asked_about_thoughts_that_are_told(
    saying: Any,
    ask: Any,
    shown: bool,
) -> None:
    with moderation_server() as judge:
        moderation = ModerationSettings(judge.url)
        house = saying("A bad idea.", "Well.", show_reasoning=shown, moderation=moderation)
        await house.app.startup()
        told = await choice(house, ask())
        await house.app.shutdown()
        assert told["message"]["content"] == ("" if shown else "Well.")
        assert told["message"].get("reasoning_content") is None
        assert told["finish_reason"] == ("content_filter" if shown else "stop")
        assert judge.asked[-1] == ["A bad idea.Well." if shown else "Well."]
