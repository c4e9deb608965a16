"""Mistral: a JSON list after `[TOOL_CALLS]`, or since 2025 name and arguments for each call.

Version 11 of its tokenizers has an id between the two, version 13 has not.
"""

from collections.abc import Sequence

from serve.text.calls.format import ShapedFormat, Write
from serve.text.calls.history import (
    Definition,
    Message,
    TemplateInput,
    plain_calls,
    with_objects,
    with_short_ids,
)
from serve.text.calls.shape import CallId, CallShape, Marker

_TOOL_CALLS = Marker("[TOOL_CALLS]")

_LIST = CallShape(
    trigger=_TOOL_CALLS,
    opening=(" [",),
    head='{"name": "',
    separator=('", "arguments": ',),
    tail="}",
    between=(", ",),
    closing=("]",),
    custom_separator=('"}\n',),
)
_IDS = CallShape(
    trigger=_TOOL_CALLS,
    head="",
    separator=(Marker("[CALL_ID]"), CallId(), Marker("[ARGS]")),
    between=(_TOOL_CALLS,),
    custom_separator=(Marker("[CALL_ID]"), CallId(), Marker("[ARGS]")),
)
_ARGS = CallShape(
    trigger=_TOOL_CALLS,
    head="",
    separator=(Marker("[ARGS]"),),
    between=(_TOOL_CALLS,),
    custom_separator=(Marker("[ARGS]"),),
)


def _history(messages: Sequence[Message], tools: Sequence[Definition], _: Write) -> TemplateInput:
    short = with_short_ids(with_objects(plain_calls(messages)))
    return TemplateInput(short, tools or None)


MISTRAL = ShapedFormat(
    "mistral",
    (_LIST,),
    'This tool takes plain text. To call it write [TOOL_CALLS] [{"name": "NAME"} and, from the '
    "next line on, the text.",
    _history,
)
MISTRAL_IDS = ShapedFormat(
    "mistral-ids",
    (_IDS,),
    "This tool takes plain text. To call it write [TOOL_CALLS]NAME[CALL_ID], nine letters and "
    "digits, [ARGS] and then the text.",
    _history,
)
MISTRAL_ARGS = ShapedFormat(
    "mistral-args",
    (_ARGS,),
    "This tool takes plain text. To call it write [TOOL_CALLS]NAME[ARGS] and then the text.",
    _history,
)
