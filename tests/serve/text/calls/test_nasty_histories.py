"""Whatever earlier turns hold, a prompt comes of it, or the conversation's own error."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import published_text as published

from serve.api.asking.asked_tools import asked_tools
from serve.api.asking.conversation import ConversationRenderer
from serve.api.wire.errors import ApiError
from serve.api.wire.request import ChatRequest
from serve.text.calls.detect import FORMATS

# Each format with a published template that is rendered with it.
TEMPLATES = {
    "hermes": ["qwen2_5", "qwen3"],
    "llama3": ["llama3"],
    "mistral": ["mistral_v3", "mistral_tekken"],
    "mistral-ids": ["mistral_tekken"],
    "mistral-args": ["mistral_tekken"],
    "gemma3": ["gemma3", "gemma2"],
    "phi4-mini": ["phi4_mini"],
    "functools": ["phi4_mini"],
    "gpt-oss": ["gpt_oss"],
    "generic": ["llama2", "olmo2"],
}

SURROGATE = "\\ud800"
DEEP = ('{"a": ' + "[" * 329 + "]" * 329 + "}", '{"a":' * 900 + "1" + "}" * 900)
ARGUMENTS = [
    "{}", "", "{", "[]", "null", '{"a": "<|im_end|>"}', f'{{"a": "{SURROGATE}"}}',
    f'{{"{SURROGATE}": {{"{SURROGATE}": 1}}}}', *DEEP, '{"a": NaN}', '{"a": 1e999}',
    f'{{"a": {"9" * 5000}}}', "\ufdd0\ue000\x00", '{"a": "\\ufdd0"}', '{"a": 1, "a": {}}',
]  # fmt: skip
WORDS = ["", "Hi", "<|im_end|>", "\ufdd0", "{{ x }} {% %} %s {}", "a\x00\u2028\U0001f388"]


def deep_schema(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"<|im_end|>": schema}}
    return schema


def call(id_: str, arguments: str, words: str, *, custom: bool) -> dict[str, Any]:
    if custom:
        return {"id": id_, "type": "custom", "custom": {"name": "c", "input": words + arguments}}
    return {"id": id_, "type": "function", "function": {"name": "f", "arguments": arguments}}


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    words, arguments = st.sampled_from(WORDS), st.sampled_from(ARGUMENTS)
    told: list[dict[str, Any]] = []
    if draw(st.booleans()):
        told.append({"role": "system", "content": draw(words)})
    told.append({"role": "user", "content": draw(words)})
    if draw(st.booleans()):
        told.append(
            {
                "role": "assistant",
                "content": draw(words | st.none()),
                "function_call": {"name": "f", "arguments": draw(arguments)},
            }
        )
        told.append({"role": "function", "name": "f", "content": draw(words)})
    ids = [f"call_{number}" for number in range(draw(st.integers(1, 2)))]
    told.append(
        {
            "role": "assistant",
            "content": draw(words | st.none()),
            "tool_calls": [
                call(id_, draw(arguments), draw(words), custom=draw(st.booleans())) for id_ in ids
            ],
        }
    )
    for id_ in ids:
        content = draw(words) if draw(st.booleans()) else [{"type": "text", "text": draw(words)}]
        told.append({"role": "tool", "tool_call_id": id_, "content": content})
    return told


TOOLS = [
    {"type": "function", "function": {"name": "f", "parameters": deep_schema(25)}},
    {"type": "custom", "custom": {"name": "c", "description": "<|im_end|>\ufdd0"}},
]


def prompt(name: str, model: str, messages: list[dict[str, Any]], *, shown: bool) -> list[int]:
    fields = {"tools": TOOLS} if shown else {}
    wire = ChatRequest.model_validate({"model": "m", "messages": messages, **fields})
    conversations = ConversationRenderer(
        published.renderer(model), FORMATS[name], schema_in_prompt=True
    )
    return conversations.prompt(wire.messages, None, asked_tools(wire))


def test_every_format_is_tried() -> None:
    assert set(TEMPLATES) == set(FORMATS)


@pytest.mark.parametrize(
    ("name", "model"), [(name, model) for name, models in TEMPLATES.items() for model in models]
)
@settings(max_examples=25, deadline=None)
@given(conversations(), st.booleans())
def test_nothing_but_the_clients_error(
    name: str, model: str, messages: list[dict[str, Any]], shown: bool
) -> None:
    fault = None
    try:
        assert prompt(name, model, messages, shown=shown)
    except ApiError as error:
        fault = error.status, error.param
    assert fault in (None, (400, "messages"))


@pytest.mark.parametrize("arguments", [f'{{"a": "{SURROGATE}"}}', DEEP[0]], ids=["half", "deep"])
@pytest.mark.parametrize("older", [False, True], ids=["tool_calls", "function_call"])
@pytest.mark.parametrize(
    "name", ["hermes", "llama3", "phi4-mini", "functools", "generic", "gemma3"]
)
def test_arguments_that_are_no_object_are_shown_as_they_are(
    name: str, older: bool, arguments: str
) -> None:
    model = TEMPLATES[name][0]
    calls = [call("call_1", arguments, "", custom=False)]
    written: dict[str, Any] = {"role": "assistant", "tool_calls": calls}
    result: dict[str, Any] = {"role": "tool", "tool_call_id": "call_1", "content": "x"}
    if older:
        written = {"role": "assistant", "function_call": {"name": "f", "arguments": arguments}}
        result = {"role": "function", "name": "f", "content": "x"}
    ids = prompt(name, model, [{"role": "user", "content": "Hi"}, written, result], shown=False)
    shown = published.spelled(model, ids)
    assert arguments in shown or json.dumps(arguments) in shown
