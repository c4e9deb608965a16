"""Gemma 3, which has no tokens and no template for tools: JSON in a block of `tool_code`.

Its makers publish the object's keys (`name` and `parameters`) and the block separately, and say
that the prompt decides; the words here ask for the two together, so that an answer which is JSON
of another kind stays an answer.
"""

from collections.abc import Sequence

from serve.text.calls.format import ShapedFormat, Write
from serve.text.calls.generic import tool_lines
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
from serve.text.calls.shape import CallShape

_SHAPE = CallShape(
    trigger="```tool_code\n",
    head='{"name": "',
    separator=('", "parameters": ',),
    tail="}",
    between=("\n",),
    closing=("\n```",),
    custom_separator=('"}\n',),
    custom_end="```",
)

_WORDS = """\
You have access to functions, one on each line:
{tools}
If you decide to call functions, write a block like this, one line for each call, and nothing \
after it:
```tool_code
{{"name": "function name", "parameters": {{"name of an argument": "its value"}}}}
```
What they return comes back in a block of tool_output. Where no function is needed, answer in \
your own words."""


def _history(messages: Sequence[Message], tools: Sequence[Definition], _: Write) -> TemplateInput:
    told = as_text(
        plain_calls(messages),
        lambda calls: "\n".join(
            ("```tool_code", *(call_object(call, "parameters") for call in calls), "```")
        ),
        lambda _, words: of_user(f"```tool_output\n{words}\n```"),
    )
    words = _WORDS.format(tools=tool_lines(tools)) if tools else ""
    return TemplateInput(with_system(told, words), None)


GEMMA3 = ShapedFormat(
    "gemma3",
    (_SHAPE,),
    'This function takes plain text. To call it write in the block {"name": "NAME"}, from the next '
    "line on the text, and on a line after it ```.",
    _history,
)
