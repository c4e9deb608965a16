"""The forms of `response_format`."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Tag

from serve.api.wire.faults import TAG, fault
from serve.api.wire.json_schema import JsonSchema
from serve.api.wire.strict import Strict
from serve.api.wire.validators import kind, tag_of

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _plain_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise fault(
            "invalid_value",
            "A name has 1 to 64 characters, each a letter a to z or A to Z, a digit, '_' or '-'.",
        )
    return value


class TextFormat(Strict):
    """Plain text."""

    type: Literal["text"]


class JsonObjectFormat(Strict):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchemaSpec(Strict):
    """A schema, and what it is called. Without `strict` what cannot be enforced is left."""

    name: Annotated[str, AfterValidator(_plain_name)]
    description: str | None = None
    definition: JsonSchema | None = Field(default=None, alias="schema")
    strict: bool | None = None


class JsonSchemaFormat(Strict):
    """JSON that a schema describes."""

    type: Literal["json_schema"]
    json_schema: JsonSchemaSpec


ResponseFormat = Annotated[
    Annotated[TextFormat, Tag(TAG + "text")]
    | Annotated[JsonObjectFormat, Tag(TAG + "json_object")]
    | Annotated[JsonSchemaFormat, Tag(TAG + "json_schema")],
    tag_of("type"),
    kind("type", ["text", "json_object", "json_schema"]),
]
