"""Phi-4-mini: a JSON list, between its own tokens or after the word `functools`."""

import json
from collections.abc import Sequence

from serve.text.calls.format import ShapedFormat, Write
from serve.text.calls.history import (
    Definition,
    Message,
    TemplateInput,
    as_text,
    call_list,
    of_user,
    plain_calls,
    with_system,
)
from serve.text.calls.shape import CallShape, Marker

_HELPER = "You are a helpful assistant with some tools."

_TOKENS = CallShape(
    trigger=Marker("<|tool_call|>"),
    opening=("[",),
    head='{"name": "',
    separator=('", "arguments": ',),
    tail="}",
    between=(", ",),
    closing=("]", Marker("<|/tool_call|>")),
    custom_separator=('"}\n',),
    custom_end=Marker("<|/tool_call|>"),
)
_WORD = CallShape(
    trigger="functools[",
    head='{"name": "',
    separator=('", "arguments": ',),
    tail="}",
    between=(", ",),
    closing=("]",),
    custom_separator=('"}\n',),
)


def _in_tokens(
    messages: Sequence[Message], tools: Sequence[Definition], write: Write
) -> TemplateInput:
    begin, end = write("<|tool_call|>"), write("<|/tool_call|>")
    told = as_text(
        plain_calls(messages),
        lambda calls: f"{begin}{call_list(calls)}{end}",
        # The published template writes a message's role between bars: this one is a token.
        lambda _, words: {"role": "tool_response", "content": words},
    )
    if tools:
        # The published template shows what the system message has under `tools`, as text.
        functions = [tool["function"] for tool in tools]
        opening = with_system(told, _HELPER if told[0].get("role") != "system" else "")
        told = [{**opening[0], "tools": json.dumps(functions, ensure_ascii=False)}, *opening[1:]]
    return TemplateInput(told, tools or None)


def _in_words(messages: Sequence[Message], tools: Sequence[Definition], _: Write) -> TemplateInput:
    told = as_text(
        plain_calls(messages),
        lambda calls: f"functools{call_list(calls)}",
        lambda name, words: of_user(
            json.dumps({"name": name, "result": words}, ensure_ascii=False)
        ),
    )
    return TemplateInput(told, tools or None)


PHI4_MINI = ShapedFormat(
    "phi4-mini",
    (_TOKENS,),
    'This tool takes plain text. To call it write <|tool_call|>[{"name": "NAME"}, from the next '
    "line on the text, and at its end <|/tool_call|>.",
    _in_tokens,
)
FUNCTOOLS = ShapedFormat(
    "functools",
    (_WORD,),
    'This tool takes plain text. To call it write functools[{"name": "NAME"} and, from the next '
    "line on, the text.",
    _in_words,
)
