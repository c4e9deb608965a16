"""Hermes, Qwen 2.5 and Qwen3: one JSON object between tags for each call."""

from collections.abc import Sequence

from serve.text.calls.format import ShapedFormat, Write
from serve.text.calls.history import Definition, Message, TemplateInput, plain_calls, with_objects
from serve.text.calls.shape import CallShape, Marker

SHAPE = CallShape(
    trigger=Marker("<tool_call>"),
    opening=("\n",),
    head='{"name": "',
    separator=('", "arguments": ',),
    tail="}",
    between=("\n", Marker("</tool_call>"), "\n", Marker("<tool_call>"), "\n"),
    closing=("\n", Marker("</tool_call>")),
    custom_separator=('"}\n',),
    custom_end=Marker("</tool_call>"),
)

CUSTOM_HINT = (
    'This tool takes plain text. To call it write <tool_call>, on the next line {"name": "NAME"}, '
    "from the next line on the text, and on a line after it </tool_call>."
)


def _history(messages: Sequence[Message], tools: Sequence[Definition], _: Write) -> TemplateInput:
    return TemplateInput(with_objects(plain_calls(messages)), tools or None)


HERMES = ShapedFormat("hermes", (SHAPE,), CUSTOM_HINT, _history)
