"""The messages of a conversation as clients send them."""

from collections.abc import Sequence
from typing import Annotated, Literal

from annotated_types import Ge, MaxLen, MinLen
from pydantic import BeforeValidator, Tag, model_validator

from serve.api.wire.audio import AudioPart, SpokenAnswer
from serve.api.wire.faults import TAG, echo, fault
from serve.api.wire.media import FilePart, ImagePart
from serve.api.wire.most import Most
from serve.api.wire.no_effect import (
    Annotations,
    CacheMark,
    EchoedList,
    EchoedObject,
    EchoedValue,
)
from serve.api.wire.strict import Strict
from serve.api.wire.validators import empty_is_none, kind, string_or_array, tag_of
from serve.thought_fields import THOUGHTS

# The API's original takes as many.
MOST_MESSAGES = 2_048
# Parts are joined; a client that sends more could have joined them itself.
MOST_PARTS = 1_024
# Twice as many as a request may have tools.
MOST_CALLS = 256
# Who speaks, or which tool was called: a word or a few, which the template shows.
LONGEST_NAME = 256
# Some clients keep a few kilobytes of their own in the id of a call. Ids are only compared.
LONGEST_CALL_ID = 16_384

_Name = Annotated[str, MaxLen(LONGEST_NAME)]
_CallId = Annotated[str, MaxLen(LONGEST_CALL_ID)]


class TextPart(Strict):
    """A piece of text."""

    type: Literal["text"]
    text: str
    cache_control: CacheMark = None
    annotations: Annotations = None


class RefusalPart(Strict):
    """A piece of text in which an assistant declined."""

    type: Literal["refusal"]
    refusal: str


class FunctionSpec(Strict):
    """The function of a call, with its arguments as the model wrote them."""

    name: _Name
    arguments: str
    parsed_arguments: EchoedValue = None
    provider_specific_fields: EchoedObject = None


class _ToolCall(Strict):
    """A call; its place among the others may be told too, as streams tell it."""

    id: _CallId
    index: Annotated[int, Ge(0)] | None = None
    extra_content: EchoedObject = None
    provider_specific_fields: EchoedObject = None


class FunctionToolCall(_ToolCall):
    """An assistant's call of a function tool."""

    type: Literal["function"]
    function: FunctionSpec

    @property
    def named(self) -> str:
        """The tool that is called."""
        return self.function.name


class CustomSpec(Strict):
    """The custom tool of a call, with its input."""

    name: _Name
    input: str


class CustomToolCall(_ToolCall):
    """An assistant's call of a custom tool."""

    type: Literal["custom"]
    custom: CustomSpec

    @property
    def named(self) -> str:
        """The tool that is called."""
        return self.custom.name


# What is read as text, without any other kind of content.
TextOnlyPart = Annotated[TextPart, kind("type", ["text"], ["image_url", "input_audio", "file"])]
_Content = Annotated[
    Annotated[str, Tag(TAG + "string")]
    | Annotated[list[TextOnlyPart], MinLen(1), Most(MOST_PARTS), Tag(TAG + "array")],
    *string_or_array("content parts"),
]
_UserPart = Annotated[
    Annotated[TextPart, Tag(TAG + "text")]
    | Annotated[ImagePart, Tag(TAG + "image_url")]
    | Annotated[AudioPart, Tag(TAG + "input_audio")]
    | Annotated[FilePart, Tag(TAG + "file")],
    tag_of("type"),
    kind("type", ["text", "image_url", "input_audio", "file"]),
]
_UserContent = Annotated[
    Annotated[str, Tag(TAG + "string")]
    | Annotated[list[_UserPart], MinLen(1), Most(MOST_PARTS), Tag(TAG + "array")],
    *string_or_array("content parts"),
]
_AssistantPart = Annotated[
    Annotated[TextPart, Tag(TAG + "text")] | Annotated[RefusalPart, Tag(TAG + "refusal")],
    tag_of("type"),
    kind("type", ["text", "refusal"]),
]
_AssistantContent = Annotated[
    Annotated[str, Tag(TAG + "string")]
    | Annotated[list[_AssistantPart], Most(MOST_PARTS), Tag(TAG + "array")],
    *string_or_array("content parts"),
]
# Of a tool that has nothing to say.
_Result = Annotated[
    Annotated[
        Annotated[str, Tag(TAG + "string")]
        | Annotated[list[TextOnlyPart], Most(MOST_PARTS), Tag(TAG + "array")],
        *string_or_array("content parts"),
    ]
    | None,
    BeforeValidator(empty_is_none),
]
_Call = Annotated[
    Annotated[FunctionToolCall, Tag(TAG + "function")]
    | Annotated[CustomToolCall, Tag(TAG + "custom")],
    tag_of("type"),
    kind("type", ["function", "custom"]),
]


class _Message(Strict):
    """What all messages may have."""

    cache_control: CacheMark = None


class DeveloperMessage(_Message):
    """Instructions; the same as `system` where the model's template knows only that."""

    role: Literal["developer"]
    content: _Content
    name: _Name | None = None


class SystemMessage(_Message):
    """Instructions."""

    role: Literal["system"]
    content: _Content
    name: _Name | None = None


class UserMessage(_Message):
    """What the user says."""

    role: Literal["user"]
    content: _UserContent
    name: _Name | None = None


class AssistantMessage(_Message):
    """What the model said before, as this server's answers carry it, and others'."""

    role: Literal["assistant"]
    content: Annotated[_AssistantContent | None, BeforeValidator(empty_is_none)] = None
    refusal: str | None = None
    name: _Name | None = None
    tool_calls: Annotated[
        Annotated[list[_Call], Most(MOST_CALLS)] | None, BeforeValidator(empty_is_none)
    ] = None
    function_call: FunctionSpec | None = None
    annotations: Annotations = None
    audio: SpokenAnswer | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    thinking: str | None = None
    reasoning_details: EchoedList = None
    thinking_blocks: EchoedList = None
    provider_specific_fields: EchoedObject = None
    parsed: EchoedValue = None

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
        if self.audio is not None and self.content:
            raise fault(
                "invalid_value",
                "An answer that was spoken stands for its words: send 'content' or 'audio'.",
                at="audio",
            )
        said = (self.content, self.refusal, self.tool_calls, self.function_call, self.audio)
        if said == (None,) * len(said) and not self.thoughts:
            raise fault("missing_required_parameter", at="content")
        return self

    @property
    def thoughts(self) -> str:
        """What the model thought, under whichever name; of several the first."""
        return next(filter(None, (getattr(self, field) for field in THOUGHTS)), "")


class ToolMessage(_Message):
    """The result of one of the assistant's calls. The call says which tool's it is."""

    role: Literal["tool"]
    content: _Result
    tool_call_id: _CallId
    name: _Name | None = None


class FunctionMessage(_Message):
    """The result of the assistant's `function_call`; the older form of `tool`."""

    role: Literal["function"]
    content: str | None
    name: _Name


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


def check_continued(messages: Sequence[Message]) -> None:
    """The last message has words of the assistant that can be gone on from.

    Raises:
        PydanticCustomError: it has not.
    """
    last = messages[-1]
    if isinstance(last, AssistantMessage):
        texts = [last.content] if isinstance(last.content, str) else last.content or ()
        words = [part if isinstance(part, str) else getattr(part, "text", "") for part in texts]
        others = last.tool_calls or last.function_call or last.refusal
        if words and words[-1] and not others:
            return
    raise fault(
        "invalid_value",
        "With 'continue_final_message' the last message must be the assistant's, and have words "
        "in 'content' and nothing after them.",
        at=f"messages[{len(messages) - 1}]",
    )


def check_tool_answers(messages: Sequence[Message]) -> None:
    """Every `tool` message answers a call of an assistant's message before it.

    Raises:
        PydanticCustomError: one does not, or it cannot be told which it answers.
    """
    calls: set[str] = set()
    for index, message in enumerate(messages):
        if isinstance(message, AssistantMessage):
            of_message: set[str] = set()
            for place, call in enumerate(message.tool_calls or ()):
                if call.id in of_message:
                    raise fault(
                        "invalid_value",
                        f"Two calls of one message have the id {echo(call.id)}: give each its own, "
                        f"so that results can name the call that they answer.",
                        at=f"messages[{index}].tool_calls[{place}].id",
                    )
                of_message.add(call.id)
            calls |= of_message
        elif isinstance(message, ToolMessage) and message.tool_call_id not in calls:
            raise fault(
                "invalid_value",
                "A message with role 'tool' must answer a tool call of an assistant's message "
                "before it: there is none with this 'tool_call_id'.",
                at=f"messages[{index}].tool_call_id",
            )
