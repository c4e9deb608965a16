"""What tools and a response format together allow an answer to be, compiled.

Knows nothing of how a family writes calls, nor of how grammars are compiled.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from serve.api.errors import ApiError, invalid
from serve.api.faults import path_of
from serve.api.response_format import AnswerSchema
from serve.api.tool_request import AskedTools
from serve.engine.types import Constraint
from serve.grammar.compiler import Compilation, Grammar, check_size
from serve.grammar.custom import check_lark, check_regex
from serve.grammar.library import GrammarError
from serve.grammar.schema import SchemaError, check_schema_size, enforceable
from serve.text.calls.format import CallFormat
from serve.text.calls.tools import CustomTool, Tool


def check_sizes(asked: AskedTools, most: int) -> None:
    """Refuse tools for their size alone; quick, whatever is in them.

    Raises:
        ApiError: 400, at the schema or grammar that has more than `most` bytes.
    """
    for tool, place in zip(asked.tools, asked.places, strict=True):
        try:
            if isinstance(tool, CustomTool):
                check_size(tool.lark or tool.regex or "", most)
            else:
                check_schema_size(tool.schema, most)
        except GrammarError as error:
            raise _refused(tool, error, place) from error


@dataclass(frozen=True, slots=True)
class ToolGrammars:
    """Compiles answers that may hold calls.

    Attributes:
        call_format: how the model writes calls.
        controls: spelling → id of the tokenizer's control tokens.
    """

    call_format: CallFormat
    controls: Mapping[str, int]

    def constraint(
        self, compilation: Compilation, asked: AskedTools, schema: AnswerSchema | None
    ) -> Constraint:
        """What holds answers to what is asked. Call it on the compiler's threads.

        Args:
            compilation: of the request.
            asked: the tools; all are checked, also those that may not be called.
            schema: what an answer without calls must be, if not just text.

        Raises:
            ApiError: 400, at the schema or grammar that cannot be followed.
        """
        checked = {
            tool.name: _checked(compilation, tool, place)
            for tool, place in zip(asked.tools, asked.places, strict=True)
        }
        content = None if schema is None else _content(compilation, schema)
        tools = [checked[tool.name] for tool in asked.callable]
        param = "functions" if asked.legacy else "tools"
        try:
            text = self.call_format.grammar(tools, asked.choice, self.controls, content)
            return compilation.compile(Grammar.lark(text))
        except ValueError as error:
            raise invalid(
                "invalid_value", f"The tools cannot be offered together: {error}.", param
            ) from error


def _checked(compilation: Compilation, tool: Tool, place: str) -> Tool:
    """The tool as it is enforced."""
    try:
        if isinstance(tool, CustomTool):
            if tool.lark is not None:
                check_lark(compilation, tool.lark)
            elif tool.regex is not None:
                check_regex(compilation, tool.regex)
            return tool
        if tool.schema is None:
            return tool
        schema = enforceable(compilation, tool.schema, strict=tool.strict)
    except GrammarError as error:
        raise _refused(tool, error, place) from error
    return replace(tool, schema=schema)


def _content(compilation: Compilation, schema: AnswerSchema) -> str:
    """The rule body of an answer of that form: JSON without white space."""
    try:
        whole: Any = enforceable(compilation, schema.schema, strict=schema.strict)
    except SchemaError as error:
        raise schema.refused(error) from error
    options = {"whitespace_flexible": False, "coerce_one_of": not schema.strict}
    return "%json " + json.dumps({**whole, "x-guidance": options})


def _refused(tool: Tool, error: GrammarError, place: str) -> ApiError:
    if not isinstance(error, SchemaError):
        message = f"Invalid grammar for custom tool '{tool.name}': {error}."
        return invalid("invalid_value", message, place)
    where = f" at '{path_of(error.path)}'" if error.path else ""
    path = path_of((*place.split("."), *error.path))
    message = f"Invalid schema for function '{tool.name}'{where}: {error}."
    return invalid("invalid_value", message, path)
