"""JSON that a request asks its answers to be, as one schema, whichever form says so."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from serve.api.wire.errors import ApiError, invalid
from serve.api.wire.faults import path_of
from serve.api.wire.response_format import JsonObjectFormat, JsonSchemaFormat, TextFormat
from serve.grammar.schema import SchemaError
from serve.text.refusals import INSTRUCTIONS

_COMPACT = (",", ":")
_OF_FORMATS = "response_format.json_schema.schema"


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """What an answer must be.

    Attributes:
        schema: JSON schema.
        strict: refuse what cannot be enforced.
        param: the request's field that has it.
        instructions: the same in words, for the model.
        may_refuse: an answer may be a refusal instead.
    """

    schema: Mapping[str, Any]
    strict: bool
    param: str
    instructions: str
    may_refuse: bool = False

    def refusable(self) -> "AnswerSchema":
        """The same, or a refusal: only where a client knows that there are some."""
        if not self.strict or self.param != _OF_FORMATS:
            return self
        return replace(self, may_refuse=True, instructions=f"{self.instructions}\n{INSTRUCTIONS}")

    def refused(self, error: SchemaError) -> ApiError:
        """The answer to a request whose schema is refused."""
        message = f"Invalid schema: {error}."
        if error.path:
            message = f"Invalid schema at '{path_of(error.path)}': {error}."
        if "'strict'" in message and not self.param.startswith("response_format"):
            message += " A schema here is strict; one of 'response_format' says whether it is."
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
            words = _instructions(schema, f"the JSON schema '{spec.name}'", spec.description)
            return AnswerSchema(schema, bool(spec.strict), _OF_FORMATS, words)
        case _:
            return None


def unnamed_schema(schema: Mapping[str, Any], param: str) -> AnswerSchema:
    """What is asked for by a schema alone: all of it is to be enforced."""
    return AnswerSchema(schema, True, param, _instructions(schema, "this JSON schema"))


def _instructions(schema: Mapping[str, Any], called: str, description: str | None = None) -> str:
    words = (
        "Answer with JSON on one line, without spaces between its tokens, that is valid "
        f"under {called}, and nothing else."
    )
    lines = [words, *([description] if description else [])]
    return "\n".join([*lines, json.dumps(schema, ensure_ascii=False, separators=_COMPACT)])
