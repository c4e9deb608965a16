"""The shapes of stored completions: what lists are asked by, and what is told.

Stored answers are written as they were sent; the tests hold what is told against these shapes.
"""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, MaxLen
from pydantic import BaseModel, BeforeValidator, ConfigDict

from serve.api.wire.metadata import Metadata
from serve.api.wire.names import message_id
from serve.api.wire.response import ChatCompletion
from serve.api.wire.strict import Strict
from serve.api.wire.validators import from_text, one_of

LONGEST_CURSOR = 128
# The API's own.
_PAGE = 20
_LONGEST_PAGE = 100

Cursor = Annotated[str, MaxLen(LONGEST_CURSOR)]
Order = Annotated[Literal["asc", "desc"], one_of(["asc", "desc"])]


class MessageQuery(Strict):
    """Which of a completion's messages are asked for."""

    after: Cursor | None = None
    limit: Annotated[int, BeforeValidator(from_text), Ge(1), Le(_LONGEST_PAGE)] = _PAGE
    order: Order = "asc"


class CompletionQuery(MessageQuery):
    """Which completions are asked for."""

    model: Annotated[str, MaxLen(1_024)] | None = None
    metadata: Metadata | None = None


class CompletionUpdate(Strict):
    """The body of a change: all that can be changed."""

    metadata: Metadata | None


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class StoredChatCompletion(ChatCompletion):
    """A completion with what was asked for; null is what the request did not say."""

    request_id: str
    metadata: dict[str, str]
    tools: list[Any] | None
    tool_choice: Any
    seed: int | None
    temperature: float | None
    top_p: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    response_format: dict[str, Any] | None
    input_user: str | None


class _List(_Told):
    object: Literal["list"]
    first_id: str | None
    last_id: str | None
    has_more: bool


class StoredChatCompletionList(_List):
    """A page of stored completions."""

    data: list[StoredChatCompletion]


class StoredMessage(BaseModel):
    """A message as it was sent, with its name; its parts are apart from its text."""

    model_config = ConfigDict(extra="allow", strict=True)

    id: str
    role: str
    content: str | None
    name: str | None
    refusal: str | None
    content_parts: list[dict[str, Any]] | None


class StoredMessageList(_List):
    """A page of a completion's messages."""

    data: list[StoredMessage]


class DeletedChatCompletion(_Told):
    """A completion that is no longer there."""

    id: str
    object: Literal["chat.completion.deleted"]
    deleted: Literal[True]


def stored_completion(answer: str, fields: str, metadata: str) -> str:
    """The object of a stored completion, of three in JSON that are not read for it."""
    return f'{answer[:-1]},{fields[1:-1]},"metadata":{metadata}}}'


def stored_message(completion_id: str, place: int, body: str) -> str:
    """A message with its name, of one in JSON that is not read for it."""
    return f'{{"id":"{message_id(completion_id, place)}",{body[1:]}'


def listed(objects: Sequence[str], ids: Sequence[str], *, has_more: bool) -> str:
    """A page of a list, of its objects in JSON and their names."""
    ends = {
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
        "has_more": has_more,
    }
    told = json.dumps(ends, separators=(",", ":"))
    return f'{{"object":"list","data":[{",".join(objects)}],{told[1:]}'
