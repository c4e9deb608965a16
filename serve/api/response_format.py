"""`response_format`: its forms on the wire, and what they ask of an answer."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, Tag

from serve.api.checks import kind, tag_of
from serve.api.errors import ApiError, invalid
from serve.api.faults import TAG, fault, path_of
from serve.api.messages import Strict
from serve.grammar.schema import SchemaError

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_COMPACT = (",", ":")


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
    definition: dict[str, Any] | None = Field(default=None, alias="schema")
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


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """What an answer must be.

    Attributes:
        schema: JSON schema.
        strict: refuse what cannot be enforced.
        param: the request's field that has it.
        instructions: the same in words, for the model.
    """

    schema: Mapping[str, Any]
    strict: bool
    param: str
    instructions: str

    def refused(self, error: SchemaError) -> ApiError:
        """The answer to a request whose schema is refused."""
        message = f"Invalid schema: {error}."
        if error.path:
            message = f"Invalid schema at '{path_of(error.path)}': {error}."
        return invalid("invalid_value", message, path_of((*self.param.split("."), *error.path)))


def answer_schema(
    wire: TextFormat | JsonObjectFormat | JsonSchemaFormat | None,
) -> AnswerSchema | None:
    """What a request asks its answers to be, if not just text."""
    match wire:
        case JsonObjectFormat():
            words = "Answer with one JSON object on one line, and nothing else."
            return AnswerSchema({"type": "object"}, True, "response_format", words)
        case JsonSchemaFormat(json_schema=spec):
            schema = spec.definition or {}
            words = (
                "Answer with JSON on one line, without spaces between its tokens, that is valid "
                f"under the JSON schema '{spec.name}', and nothing else."
            )
            lines = [words, *([spec.description] if spec.description else [])]
            lines.append(json.dumps(schema, ensure_ascii=False, separators=_COMPACT))
            param = "response_format.json_schema.schema"
            return AnswerSchema(schema, bool(spec.strict), param, "\n".join(lines))
        case _:
            return None
