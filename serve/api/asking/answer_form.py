"""What a request asks its answers to be, as one form, whichever field says so."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from serve.api.asking.answer_schema import AnswerSchema, answer_schema, unnamed_schema
from serve.api.asking.json_body import parse_object
from serve.api.wire.errors import ApiError, invalid
from serve.api.wire.request import ChatRequest
from serve.api.wire.response_format import JsonObjectFormat
from serve.grammar.custom import one_of
from serve.grammar.ebnf import is_ebnf
from serve.grammar.library import GrammarError

_CALLED = {"lark": "Lark grammar", "ebnf": "EBNF grammar", "regex": "regular expression"}


@dataclass(frozen=True, slots=True)
class AnswerText:
    """What an answer must be that is not JSON.

    Attributes:
        syntax: of the source.
        source: a grammar, or a regular expression.
        param: the request's field that has it.
        instructions: the same in words, for the model; empty where it is not told.
    """

    syntax: Literal["lark", "ebnf", "regex"]
    source: str
    param: str
    instructions: str = ""

    def refused(self, error: GrammarError) -> ApiError:
        """The answer to a request whose grammar is refused."""
        message = f"Invalid {_CALLED[self.syntax]}: {error}."
        return invalid("invalid_value", message, self.param)


AnswerForm = AnswerSchema | AnswerText


def answer_form(wire: ChatRequest, max_json_depth: int) -> AnswerForm | None:
    """What a request asks its answers to be, if not just text.

    Args:
        wire: the request.
        max_json_depth: of a schema that is sent as text.

    Raises:
        ApiError: 400; such a text is no JSON object.
    """
    asked = wire.structured_outputs
    if asked is None:
        found = _form(
            "guided_",
            wire.guided_json,
            wire.guided_regex,
            wire.guided_choice,
            wire.guided_grammar,
            max_json_depth,
        )
        return found or answer_schema(wire.response_format)
    prefix = "structured_outputs."
    if asked.json_object:
        any_object = answer_schema(JsonObjectFormat(type="json_object"))
        return any_object and replace(any_object, param=f"{prefix}json_object")
    return _form(prefix, asked.definition, asked.regex, asked.choice, asked.grammar, max_json_depth)


def _form(
    prefix: str,
    schema: dict[str, Any] | str | None,
    regex: str | None,
    choice: Sequence[str] | None,
    grammar: str | None,
    max_json_depth: int,
) -> AnswerForm | None:
    """The one that there is."""
    if schema is not None:
        param = f"{prefix}json"
        read = _read(schema, max_json_depth, param) if isinstance(schema, str) else schema
        return unnamed_schema(read, param)
    if regex is not None:
        return AnswerText("regex", regex, f"{prefix}regex")
    if choice is not None:
        words = "Answer with one of these texts, exactly as it stands here, and nothing else:"
        told = "\n".join([words, *choice])
        return AnswerText("regex", one_of(choice), f"{prefix}choice", told)
    if grammar is not None:
        return AnswerText("ebnf" if is_ebnf(grammar) else "lark", grammar, f"{prefix}grammar")
    return None


def _read(text: str, max_depth: int, param: str) -> dict[str, Any]:
    try:
        return parse_object(text.encode(), max_depth)
    except ApiError as error:
        # What comes first says that it was the body.
        reason = error.message.partition(": ")[2]
        message = f"Invalid '{param}': its text is no JSON object: {reason}"
        raise invalid("invalid_value", message, param) from error
