"""Templates that know no tools: our own words in the system part, and Hermes' way to call.

The words are ours because nobody published any for these models; the form is the one that most
open models have seen.
"""

import json
from collections.abc import Sequence

from serve.text.calls.format import ShapedFormat, Write
from serve.text.calls.hermes import CUSTOM_HINT, SHAPE
from serve.text.calls.history import (
    Definition,
    Message,
    TemplateInput,
    as_text,
    call_object,
    of_user,
    plain_calls,
    with_system,
)

_WORDS = """\
You can call tools. Each line of this list describes one:
<tools>
{tools}
</tools>
To call one, write its name and its arguments as JSON between tags, like this:
<tool_call>
{{"name": "name of the tool", "arguments": {{"name of an argument": "its value"}}}}
</tool_call>
For several calls write several such blocks, one after the other, and nothing after them. What a \
tool answers comes back between <tool_response> and </tool_response>. Where no tool is needed, \
answer in your own words."""


def tool_lines(tools: Sequence[Definition]) -> str:
    """One line of JSON for each function."""
    return "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in tools)


def _history(
    messages: Sequence[Message], tools: Sequence[Definition], write: Write
) -> TemplateInput:
    begin, end = write("<tool_call>"), write("</tool_call>")
    told = as_text(
        plain_calls(messages),
        lambda calls: "\n".join(f"{begin}\n{call_object(call)}\n{end}" for call in calls),
        lambda _, words: of_user(f"<tool_response>\n{words}\n</tool_response>"),
    )
    words = write(_WORDS).format(tools=tool_lines(tools)) if tools else ""
    return TemplateInput(with_system(told, words), None)


GENERIC = ShapedFormat("generic", (SHAPE,), CUSTOM_HINT, _history)
