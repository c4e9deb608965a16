"""Calls and results of earlier turns, from the API's form to what templates expect.

Each function does one thing; a family's module puts together what its templates need. Knows
nothing of how a template writes them.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from serve.text.calls.arguments import object_or_text
from serve.text.calls.tools import CustomTool, Tool
from serve.thought_fields import THOUGHTS

Message = Mapping[str, object]
Call = Mapping[str, object]
Definition = Mapping[str, object]

_INPUT_SCHEMA = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
}


@dataclass(frozen=True, slots=True)
class TemplateInput:
    """What a template is rendered with.

    Attributes:
        messages: the conversation.
        tools: what the template shows of the tools; None where the messages say it.
        own: character of the messages or tools → the control token that it stands for.
    """

    messages: Sequence[Message]
    tools: Sequence[Definition] | None
    own: Mapping[str, str] = field(default_factory=dict[str, str])


def tool_definitions(tools: Sequence[Tool], custom_hint: str) -> list[Definition]:
    """Tools as templates show them, who know functions only.

    A custom tool is a function with one string, whose description says how it is called.
    """
    return [
        {"type": "function", "function": _custom(tool, custom_hint)}
        if isinstance(tool, CustomTool)
        else {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": dict(tool.schema or {"type": "object", "properties": {}}),
            },
        }
        for tool in tools
    ]


def _custom(tool: CustomTool, hint: str) -> dict[str, object]:
    language = ""
    if tool.lark is not None:
        language = f"The text follows this Lark grammar:\n{tool.lark}"
    elif tool.regex is not None:
        language = f"The text matches this regular expression: {tool.regex}"
    said = filter(None, (tool.description, hint.replace("NAME", tool.name), language))
    return {"name": tool.name, "description": "\n".join(said), "parameters": _INPUT_SCHEMA}


def plain_calls(messages: Sequence[Message]) -> list[Message]:
    """Every kind of call and result as `tool_calls` of functions and messages of the role `tool`.

    `function_call` and the role `function` are answered in order; a custom tool's input becomes
    the argument `input`; a result gets the `name` that was called; no message has an empty list
    of calls, and an absent content is an empty string.
    """
    told: list[Message] = []
    names: dict[object, str] = {}
    for number, message in enumerate(messages):
        fields = dict(message)
        if fields.get("content") is None:
            fields["content"] = ""
        calls = [_as_function(call) for call in _calls(fields)]
        legacy = cast("Mapping[str, object] | None", fields.pop("function_call", None))
        if legacy:
            calls.append({"id": f"call_{number}", "type": "function", "function": dict(legacy)})
        names |= {call["id"]: name_of(call) for call in calls}
        fields.pop("tool_calls", None)
        if calls:
            fields["tool_calls"] = calls
        if fields.get("role") == "function":
            answered = [id_ for id_, name in names.items() if name == fields.get("name")]
            fields |= {"role": "tool", "tool_call_id": answered[-1] if answered else ""}
        if fields.get("role") == "tool" and (name := names.get(fields.get("tool_call_id"))):
            fields["name"] = name
        told.append(fields)
    return told


def _as_function(call: Call) -> Call:
    if call.get("type") != "custom":
        return call
    custom = cast("Mapping[str, object]", call["custom"])
    arguments = json.dumps({"input": custom["input"]}, ensure_ascii=False)
    return {
        "id": call["id"],
        "type": "function",
        "function": {"name": custom["name"], "arguments": arguments},
    }


def _calls(message: Message) -> list[Call]:
    return list(cast("Sequence[Call] | None", message.get("tool_calls")) or ())


def name_of(call: Call) -> str:
    """The name that a call of a function calls."""
    return str(cast("Mapping[str, object]", call["function"])["name"])


def arguments_of(call: Call) -> str:
    """The JSON text of a call's arguments."""
    arguments = cast("Mapping[str, object]", call["function"])["arguments"]
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def call_object(call: Call, arguments_key: str = "arguments") -> str:
    """A call as the JSON object that most families write."""
    return f'{{"name": {json.dumps(name_of(call))}, "{arguments_key}": {arguments_of(call)}}}'


def call_list(calls: Sequence[Call]) -> str:
    """Calls as a JSON list."""
    return f"[{', '.join(map(call_object, calls))}]"


def with_objects(messages: Sequence[Message]) -> list[Message]:
    """Arguments as objects, for templates that write them with `tojson`.

    Text that is no such object, as that of a call that was cut off, stays text.
    """

    def change(call: Call) -> Call:
        arguments = object_or_text(arguments_of(call))
        function = {"name": name_of(call), "arguments": arguments}
        return {**call, "function": function}

    return _each_call(messages, change)


def with_short_ids(messages: Sequence[Message]) -> list[Message]:
    """Ids of nine letters and digits, which is all that some templates take."""
    changed = _each_call(messages, lambda call: {**call, "id": _short(call["id"])})
    return [
        {**message, "tool_call_id": _short(message["tool_call_id"])}
        if message.get("role") == "tool" and "tool_call_id" in message
        else message
        for message in changed
    ]


def _short(id_: object) -> str:
    text = str(id_)
    if len(text) == 9 and text.isascii() and text.isalnum():
        return text
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:9]


def _each_call(messages: Sequence[Message], change: Callable[[Call], Call]) -> list[Message]:
    return [
        {**message, "tool_calls": [change(call) for call in _calls(message)]}
        if "tool_calls" in message
        else message
        for message in messages
    ]


def one_call_each(messages: Sequence[Message]) -> list[Message]:
    """Several calls of a message as messages of one call, each followed by its results.

    The first has the message's words, and what was thought before them.
    """
    parted: list[Message] = []
    taken: set[int] = set()
    for position, message in enumerate(messages):
        calls = _calls(message)
        if position in taken:
            continue
        if len(calls) < 2:
            parted.append(message)
            continue
        following = position + 1
        while following < len(messages) and messages[following].get("role") == "tool":
            following += 1
        silent = {key: value for key, value in message.items() if key not in THOUGHTS}
        for number, call in enumerate(calls):
            said = message if number == 0 else {**silent, "content": ""}
            parted.append({**said, "tool_calls": [call]})
            for result in range(position + 1, following):
                if messages[result].get("tool_call_id") == call["id"]:
                    parted.append(messages[result])
                    taken.add(result)
    return parted


def as_text(
    messages: Sequence[Message],
    write_calls: Callable[[Sequence[Call]], str],
    write_result: Callable[[str, str], Message],
) -> list[Message]:
    """Calls in the assistant's words and results in another's, for templates that know neither.

    What users say in a row becomes one message: many such templates want the roles to take turns.

    Args:
        messages: in the form of `plain_calls`.
        write_calls: the calls of one message, written.
        write_result: a result as a message, given the tool's name and its words.
    """
    told: list[Message] = []
    for message in messages:
        fields = {key: value for key, value in message.items() if key != "tool_calls"}
        if calls := _calls(message):
            fields["content"] = _joined(message["content"], write_calls(calls), "\n")
        if message.get("role") == "tool":
            name, words = str(message.get("name", "")), text_of(message["content"])
            fields = dict(write_result(name, words))
        last = told[-1] if told else {}
        if fields.get("role") == "user" and last.get("role") == "user":
            told[-1] = {**last, "content": _joined(last["content"], fields["content"], "\n")}
        else:
            told.append(fields)
    return told


def of_user(words: str) -> Message:
    """What the user says."""
    return {"role": "user", "content": words}


def with_system(messages: Sequence[Message], text: str) -> list[Message]:
    """The conversation with `text` at the end of what the system says at its beginning."""
    if not text:
        return list(messages)
    first = messages[0] if messages else {}
    if first.get("role") in ("system", "developer"):
        return [{**first, "content": _joined(first["content"], text, "\n\n")}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]


def with_system_of_user(messages: Sequence[Message]) -> list[Message]:
    """A conversation that begins with the system's words, these in what the user says first."""
    system, *rest = messages
    for position, message in enumerate(rest):
        if message.get("role") == "user":
            words = _joined(system["content"], message["content"], "\n\n")
            return [*rest[:position], {**message, "content": words}, *rest[position + 1 :]]
    return [{**system, "role": "user"}, *rest]


def text_of(content: object) -> str:
    """A message's words, if they come in parts too."""
    if isinstance(content, str):
        return content
    parts = cast("Sequence[Mapping[str, object]]", content)
    return "".join(str(part.get("text", "")) for part in parts)


def _joined(before: object, after: object, between: str) -> object:
    if isinstance(before, str) and isinstance(after, str):
        return between.join(filter(None, (before, after)))
    return [*_parts(before), *_parts(after)]


def _parts(content: object) -> list[object]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return list(cast("Sequence[object]", content))
