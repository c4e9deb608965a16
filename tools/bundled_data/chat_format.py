"""A conversation as token ids, as `chat_template.jinja` renders it, and which of them are answers.

The template is what the server renders; this is the same in a form that knows where answers
begin, and a test holds the two together. Knows nothing of batches.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from model.tokenizer import Tokenizer
from serve.api.asking.answer_schema import answer_schema
from serve.api.wire.response_format import JsonSchemaFormat, JsonSchemaSpec
from tools.bundled_data.conversations import Conversation, Message
from tools.bundled_data.judges import THOUGHT_CLOSE, THOUGHT_OPEN
from tools.bundled_data.vocabulary import MARKERS, TURN_END, TURN_START

TEMPLATE = Path(__file__).parent / "chat_template.jinja"
_MARKER = re.compile("(" + "|".join(map(re.escape, MARKERS)) + ")")


class Document(NamedTuple):
    """One conversation as ids.

    Attributes:
        ids: all of its tokens.
        answers: per token, whether it belongs to an answer to learn.
        turns: per token, the number of its message.
    """

    ids: list[int]
    answers: list[bool]
    turns: list[int]


class _Part(NamedTuple):
    """Text of a turn: the template's own `markup`, which may write markers, or a message's."""

    text: str
    markup: bool


def response_format(schema: Mapping[str, object]) -> dict[str, Any]:
    """The request's `response_format` for a schema whose title is its name."""
    bare = {key: value for key, value in schema.items() if key != "title"}
    return {
        "type": "json_schema",
        "json_schema": {"name": schema["title"], "schema": bare, "strict": True},
    }


def _instructions(schema: Mapping[str, object]) -> str:
    """What the server tells the model of a schema."""
    spec = response_format(schema)["json_schema"]
    found = answer_schema(
        JsonSchemaFormat(type="json_schema", json_schema=JsonSchemaSpec.model_validate(spec))
    )
    return "" if found is None else found.instructions


def _system(item: Conversation) -> tuple[list[_Part], int]:
    """The system turn's parts, and how many messages they stand for."""
    first = item.messages[0]
    count = int(first["role"] in ("system", "developer"))
    told = str(first["content"]) if count else ""
    if item.schema is not None:
        told = "\n\n".join(filter(None, (told, _instructions(item.schema))))
    parts = [_Part(told, markup=False)]
    if item.tools:
        parts.append(_Part(("\n\n" if told else "") + "Tools:\n<tools>\n", markup=True))
        parts += [
            _Part(json.dumps(tool, ensure_ascii=False) + "\n", markup=False) for tool in item.tools
        ]
        parts.append(
            _Part(
                '</tools>\nA call is <tool_call>\n{"name": "NAME", "arguments": {}}\n</tool_call>',
                markup=True,
            )
        )
    return (parts if told or item.tools or count else []), count


def _answer(message: Message, thought: str | None) -> list[_Part]:
    parts: list[_Part] = []
    if thought is not None:
        opened = f"{THOUGHT_OPEN}\n{thought}\n{THOUGHT_CLOSE}\n\n"
        parts.append(_Part(opened, markup=True))
    parts.append(_Part(str(message["content"]), markup=False))
    for place, call in enumerate(message.get("tool_calls", ())):
        before = "\n" if message["content"] or place else ""
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        text = f'{{"name": "{name}", "arguments": {arguments}}}'
        parts.append(_Part(f"{before}<tool_call>\n", markup=True))
        parts.append(_Part(text, markup=False))
        parts.append(_Part("\n</tool_call>", markup=True))
    return parts


class _Writer:
    """Builds a document turn by turn."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.document = Document([], [], [])

    def encode(self, parts: Sequence[_Part]) -> list[int]:
        """Ids of parts; text between markers is encoded in one piece, as the server does."""
        ids: list[int] = []
        text = ""
        for part in parts:
            for piece in _MARKER.split(part.text) if part.markup else [part.text]:
                if part.markup and piece in MARKERS:
                    ids += self._tokenizer.encode(text) if text else []
                    ids.append(self._tokenizer.controls[piece])
                    text = ""
                else:
                    text += piece
        return ids + (self._tokenizer.encode(text) if text else [])

    def turn(self, head: str, body: Sequence[_Part], number: int, *, learnt: bool) -> None:
        """One turn of a role."""
        controls = self._tokenizer.controls
        opening = [controls[TURN_START], *self._tokenizer.encode(head)]
        content = [*self.encode(body), controls[TURN_END]]
        closing = self._tokenizer.encode("\n")
        ids, answers, turns = self.document
        ids += opening + content + closing
        answers += [False] * len(opening) + [learnt] * len(content) + [False] * len(closing)
        turns += [number] * (len(ids) - len(turns))


def document(tokenizer: Tokenizer, item: Conversation) -> Document:
    """A conversation's ids.

    An answer whose thought a later turn has removed is not learnt: nothing leads to it.
    """
    writer = _Writer(tokenizer)
    parts, first = _system(item)
    if parts:
        writer.turn("system\n", parts, 0, learnt=False)
    question = max(at for at, message in enumerate(item.messages) if message["role"] == "user")
    results: list[_Part] = []
    for at, message in enumerate(item.messages[first:], first):
        if message["role"] == "tool":
            results.append(_Part("<tool_response>\n", markup=True))
            results.append(_Part(str(message["content"]), markup=False))
            results.append(_Part("\n</tool_response>", markup=True))
            if item.messages[at + 1]["role"] != "tool":
                writer.turn("user\n", results, at, learnt=False)
                results = []
            else:
                results.append(_Part("\n", markup=False))
        elif message["role"] == "assistant":
            thought = item.thoughts[at]
            shown = thought if at > question else None
            if item.closed and at == len(item.messages) - 1:
                head = f"assistant\n{THOUGHT_OPEN}\n\n{THOUGHT_CLOSE}\n\n"
                _closed(writer, head, _answer(message, None), at)
            else:
                writer.turn("assistant\n", _answer(message, shown), at, learnt=thought == shown)
        else:
            name = f" name={message['name']}" if "name" in message else ""
            writer.turn(
                f"user{name}\n", [_Part(str(message["content"]), markup=False)], at, learnt=False
            )
    return writer.document


def _closed(writer: _Writer, head: str, body: Sequence[_Part], number: int) -> None:
    """A turn whose thought the template has closed: that is part of the prompt."""
    start = len(writer.document.ids)
    writer.turn("", [_Part(head, markup=True), *body], number, learnt=True)
    opened = 1 + len(writer.encode([_Part(head, markup=True)]))
    for at in range(start, start + opened):
        writer.document.answers[at] = False
