"""Llama 3.1 and later: a JSON object is the whole answer, or follows `<|python_tag|>`."""

from collections.abc import Sequence

from serve.text.calls.format import ShapedFormat, Write
from serve.text.calls.history import (
    Definition,
    Message,
    TemplateInput,
    one_call_each,
    plain_calls,
    with_objects,
)
from serve.text.calls.shape import CallShape, Marker

_BARE = CallShape(
    trigger='{"name"',
    head=': "',
    separator=('", "parameters": ',),
    tail="}",
    custom_separator=('"}\n',),
    at_start=True,
)
_TAGGED = CallShape(
    trigger=Marker("<|python_tag|>"),
    head='{"name": "',
    separator=('", "parameters": ',),
    tail="}",
    custom_separator=('"}\n',),
    control_only=True,
)

_CUSTOM_HINT = (
    'This tool takes plain text. To call it respond with {"name": "NAME"} and, from the next '
    "line on, the text."
)


def _history(messages: Sequence[Message], tools: Sequence[Definition], _: Write) -> TemplateInput:
    # The published templates raise on a message with two calls.
    single = one_call_each(with_objects(plain_calls(messages)))
    return TemplateInput(single, tools or None)


LLAMA3 = ShapedFormat("llama3", (_BARE, _TAGGED), _CUSTOM_HINT, _history)
