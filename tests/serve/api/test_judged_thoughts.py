"""Refusals and filters where the model thinks before it answers."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from serve.engine.types import TokenEvent
from serve.filter.content_filter import ContentFilter
from serve.filter.rules import Category

TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"
TAGS = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}{#</think>#}"
CHANNELS = "{#<|channel|><|message|>#}{{ '<|start|>assistant' }}"
HARMONY = ("<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>")
SCHEMA = {"type": "object", "properties": {"a": {"enum": [1]}}, "additionalProperties": False}
FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
FILTER = ContentFilter([Category("rude", ("fool",))])
ANALYSIS = "<|channel|>analysis<|message|>A fool asks.<|end|>"
IN_TAGS = (TURNS + TAGS, ("<think>", "</think>"), "<think>A fool asks.</think>{}")
IN_CHANNELS = (
    TURNS + CHANNELS,
    HARMONY,
    f"{ANALYSIS}<|start|>assistant<|channel|>final<|message|>{{}}",
)


@pytest.fixture(params=[IN_TAGS, IN_CHANNELS], ids=["tags", "channels"])
def saying(request: pytest.FixtureRequest, make_house: Any) -> Callable[..., Any]:
    """Makes a house whose model thinks first and then says this; keywords are settings."""
    template, controls, answer = request.param

    def make(text: str, **settings: Any) -> Any:
        house = make_house(
            template=template,
            controls=controls,
            settings={"show_reasoning": True, **settings},
            vocab_size=2000,
            content_filter=FILTER,
        )
        known = house.tokenizer.controls
        found = re.findall("|".join(map(re.escape, known)) + "|.", answer.format(text), re.DOTALL)
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


async def test_a_refusal_comes_after_the_thoughts(saying: Any, ask: Any) -> None:
    house = saying("Refusal: I must not.", refusals=True)
    told = await choice(house, ask(response_format=FORM))
    assert (told["message"]["content"], told["message"]["refusal"]) == (None, "I must not.")
    assert told["message"]["reasoning_content"] == "A fool asks."


async def test_thoughts_are_not_judged_but_what_follows_is(saying: Any, ask: Any) -> None:
    told = await choice(saying("You are a fool."), ask(logprobs=True))
    assert (told["message"]["content"], told["finish_reason"]) == ("You are a ", "content_filter")
    assert told["message"]["reasoning_content"] == "A fool asks."
    entries = [bytes(entry["bytes"]) for entry in told["logprobs"]["content"]]
    assert b"".join(entries) == b"You are a "
