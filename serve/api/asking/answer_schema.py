"""What a request asks its answers to be, as one JSON schema, whichever form says so."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serve.api.wire.errors import ApiError, invalid
from serve.api.wire.faults import path_of
from serve.api.wire.response_format import JsonObjectFormat, JsonSchemaFormat, TextFormat
from serve.grammar.schema import SchemaError

_COMPACT = (",", ":")


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
