"""The messages of a conversation as clients send them."""

from collections.abc import Sequence
from typing import Annotated, Literal

from annotated_types import MinLen
from pydantic import Tag, model_validator

from serve.api.wire.faults import TAG, echo, fault
from serve.api.wire.strict import Strict
from serve.api.wire.validators import kind, later, string_or_array, tag_of


class TextPart(Strict):
    """A piece of text."""

    type: Literal["text"]
    text: str


class RefusalPart(Strict):
    """A piece of text in which an assistant declined."""

    type: Literal["refusal"]
    refusal: str


class FunctionSpec(Strict):
    """The function of a call, with its arguments as the model wrote them."""

    name: str
    arguments: str


class FunctionToolCall(Strict):
    """An assistant's call of a function tool."""

    id: str
    type: Literal["function"]
    function: FunctionSpec


class CustomSpec(Strict):
    """The custom tool of a call, with its input."""

    name: str
    input: str


class CustomToolCall(Strict):
    """An assistant's call of a custom tool."""

    id: str
    type: Literal["custom"]
    custom: CustomSpec


_TextOnly = Annotated[TextPart, kind("type", ["text"], ["image_url", "input_audio", "file"])]
_Content = Annotated[
    Annotated[str, Tag(TAG + "string")] | Annotated[list[_TextOnly], MinLen(1), Tag(TAG + "array")],
    *string_or_array("content parts"),
]
_AssistantPart = Annotated[
    Annotated[TextPart, Tag(TAG + "text")] | Annotated[RefusalPart, Tag(TAG + "refusal")],
    tag_of("type"),
    kind("type", ["text", "refusal"]),
]
_AssistantContent = Annotated[
    Annotated[str, Tag(TAG + "string")]
    | Annotated[list[_AssistantPart], MinLen(1), Tag(TAG + "array")],
    *string_or_array("content parts"),
]
_ToolCall = Annotated[
    Annotated[FunctionToolCall, Tag(TAG + "function")]
    | Annotated[CustomToolCall, Tag(TAG + "custom")],
    tag_of("type"),
    kind("type", ["function", "custom"]),
]


class DeveloperMessage(Strict):
    """Instructions; the same as `system` where the model's template knows only that."""

    role: Literal["developer"]
    content: _Content
    name: str | None = None


class SystemMessage(Strict):
    """Instructions."""

    role: Literal["system"]
    content: _Content
    name: str | None = None


class UserMessage(Strict):
    """What the user says."""

    role: Literal["user"]
    content: _Content
    name: str | None = None


class AssistantMessage(Strict):
    """What the model said before. `annotations` and `audio` are taken as answers carry them."""

    role: Literal["assistant"]
    content: _AssistantContent | None = None
    refusal: str | None = None
    name: str | None = None
    tool_calls: Annotated[list[_ToolCall], MinLen(1)] | None = None
    function_call: FunctionSpec | None = None
    annotations: Annotated[object, *later([])] = None
    audio: Annotated[object, *later()] = None

    @model_validator(mode="after")
    def _says_something(self) -> "AssistantMessage":
        if isinstance(self.content, list):
            refusals = sum(isinstance(part, RefusalPart) for part in self.content)
            if refusals and len(self.content) > 1:
                raise fault(
                    "invalid_value",
                    "An assistant's content has one or more parts of type 'text', or exactly "
                    "one of type 'refusal'.",
                    at="content",
                )
        if (self.content, self.refusal, self.tool_calls, self.function_call) == (None,) * 4:
            raise fault("missing_required_parameter", at="content")
        return self


class ToolMessage(Strict):
    """The result of one of the assistant's calls."""

    role: Literal["tool"]
    content: _Content
    tool_call_id: str


class FunctionMessage(Strict):
    """The result of the assistant's `function_call`; the older form of `tool`."""

    role: Literal["function"]
    content: str
    name: str


ROLES = ("developer", "system", "user", "assistant", "tool", "function")

Message = Annotated[
    Annotated[DeveloperMessage, Tag(TAG + "developer")]
    | Annotated[SystemMessage, Tag(TAG + "system")]
    | Annotated[UserMessage, Tag(TAG + "user")]
    | Annotated[AssistantMessage, Tag(TAG + "assistant")]
    | Annotated[ToolMessage, Tag(TAG + "tool")]
    | Annotated[FunctionMessage, Tag(TAG + "function")],
    tag_of("role"),
    kind("role", ROLES),
]


def check_tool_answers(messages: Sequence[Message]) -> None:
    """Every `tool` message answers a call of an assistant's message before it.

    Raises:
        PydanticCustomError: one does not, or it cannot be told which it answers.
    """
    calls: set[str] = set()
    for index, message in enumerate(messages):
        if isinstance(message, AssistantMessage):
            ids = [call.id for call in message.tool_calls or ()]
            for place, id_ in enumerate(ids):
                if id_ in ids[:place]:
                    raise fault(
                        "invalid_value",
                        f"Two calls of one message have the id {echo(id_)}: give each its own, so "
                        f"that results can name the call that they answer.",
                        at=f"messages[{index}].tool_calls[{place}].id",
                    )
            calls.update(ids)
        elif isinstance(message, ToolMessage) and message.tool_call_id not in calls:
            raise fault(
                "invalid_value",
                "A message with role 'tool' must answer a tool call of an assistant's message "
                "before it: there is none with this 'tool_call_id'.",
                at=f"messages[{index}].tool_call_id",
            )
