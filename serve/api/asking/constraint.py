"""What an answer must follow, compiled: tools, form, banned words and thoughts, or all together.

Knows nothing of how a family writes calls, nor of how grammars are compiled.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from serve.api.asking.answer_form import AnswerForm, AnswerText
from serve.api.asking.answer_schema import AnswerSchema
from serve.api.asking.asked_tools import NO_TOOLS, AskedTools
from serve.api.asking.reasoning import AskedThoughts
from serve.api.wire.errors import ApiError, invalid
from serve.api.wire.faults import path_of
from serve.engine.types import Constraint
from serve.grammar.after_thoughts import ThoughtMarkers, held_after_thoughts
from serve.grammar.banned_words import WordBans
from serve.grammar.compiler import Compilation, Grammar, GrammarCompiler, check_size
from serve.grammar.custom import check_ebnf, check_lark, check_regex
from serve.grammar.library import GrammarError
from serve.grammar.schema import SchemaError, check_schema_size, compile_schema, enforceable
from serve.grammar.together import Together
from serve.text.calls.format import CallFormat
from serve.text.calls.gpt_oss import WITHOUT_THOUGHTS
from serve.text.calls.grammar import Rules, inner_json, inner_lark, inner_regex
from serve.text.calls.tools import CustomTool, Tool
from serve.text.refusals import RULE

# What all schemas and grammars of a request may have together, in largest ones.
MOST_GRAMMARS = 8
_NO_THOUGHTS = AskedThoughts("answering")


def check_sizes(form: AnswerForm | None, tools: AskedTools | None, most: int) -> None:
    """Refuse schemas and grammars for their size alone; quick, whatever is in them.

    The rest is for the compiler to say. Call it before they are rendered.

    Raises:
        ApiError: 400, at the schema or grammar that has more than `most` bytes, or with which
            they have more than `MOST_GRAMMARS` of the largest together.
    """
    left = MOST_GRAMMARS * most
    match form:
        case AnswerSchema(schema=schema):
            try:
                left -= check_schema_size(schema, most)
            except SchemaError as error:
                raise form.refused(error) from error
        case AnswerText(source=source):
            try:
                left -= check_size(source, most)
            except GrammarError as error:
                raise form.refused(error) from error
        case None:
            pass
    if tools is None:
        return
    for tool, place in zip(tools.tools, tools.places, strict=True):
        try:
            if isinstance(tool, CustomTool):
                left -= check_size(tool.lark or tool.regex or "", most)
            else:
                left -= check_schema_size(tool.schema, most)
        except GrammarError as error:
            raise _refused(tool, error, place) from error
        if left < 0:
            raise invalid(
                "invalid_value",
                f"Invalid '{place}': with it the request's schemas and grammars have more than "
                f"{MOST_GRAMMARS * most:,} bytes together; send fewer, or smaller ones.",
                place,
            )


@dataclass(frozen=True, slots=True)
class Constraints:
    """Compiles what answers of one model must follow.

    Attributes:
        grammars: compiles, on threads of its own.
        call_format: how the model writes calls.
        controls: spelling → id of the tokenizer's control tokens.
        bans: what keeps words out of answers.
        markers: of the model's thoughts, where they have any.
        in_channels: answers are read as messages on channels, also those without calls.
    """

    grammars: GrammarCompiler
    call_format: CallFormat
    controls: Mapping[str, int]
    bans: WordBans
    markers: ThoughtMarkers | None = None
    in_channels: bool = False

    async def compiled(
        self,
        form: AnswerForm | None,
        tools: AskedTools | None,
        bad_words: Sequence[str] = (),
        thoughts: AskedThoughts = _NO_THOUGHTS,
    ) -> Constraint | None:
        """What holds answers to what is asked; None where any text will do.

        Args:
            form: what an answer without calls must be, if not just text.
            tools: all are checked, also those that may not be called.
            bad_words: what no answer may contain.
            thoughts: what may be thought before all that.

        Raises:
            ApiError: 400, at the schema or grammar that cannot be followed.
        """
        call_format = self.call_format
        if self.in_channels and (form is not None or thoughts.none):
            # Whatever the answer is to be, it stands in a message of its own.
            tools = tools or NO_TOOLS
            call_format = WITHOUT_THOUGHTS if thoughts.none else call_format
        found = None
        if form is not None or tools is not None or bad_words:
            job = partial(
                self._compiled,
                form=form,
                tools=tools,
                bad_words=bad_words,
                call_format=call_format,
            )
            found = await asyncio.wrap_future(self.grammars.soon(job))
        return held_after_thoughts(self.markers, thoughts.beginning, thoughts.budget, found)

    def _compiled(
        self,
        compilation: Compilation,
        form: AnswerForm | None,
        tools: AskedTools | None,
        bad_words: Sequence[str],
        call_format: CallFormat,
    ) -> Constraint | None:
        if tools is not None:
            found = self._with_calls(compilation, tools, form, call_format)
        else:
            found = None if form is None else _alone(compilation, form)
        return self.bans.constraint(bad_words, found) if bad_words else found

    def _with_calls(
        self,
        compilation: Compilation,
        asked: AskedTools,
        form: AnswerForm | None,
        call_format: CallFormat,
    ) -> Constraint:
        checked = {
            tool.name: _checked(compilation, tool, place)
            for tool, place in zip(asked.tools, asked.places, strict=True)
        }
        content = None if form is None else _content(compilation, form)
        called = [checked[tool.name] for tool in asked.callable]
        param = "functions" if asked.legacy else "tools"
        try:
            # Once as it is asked for, and once as any JSON whose numbers end.
            text, beside = (
                call_format.grammar(
                    [tool[way] for tool in called],
                    asked.choice,
                    self.controls,
                    content and content[way],
                )
                for way in (0, 1)
            )
            return _together(compilation, text, beside)
        except ValueError as error:
            raise invalid(
                "invalid_value", f"The tools cannot be offered together: {error}.", param
            ) from error


def _checked(compilation: Compilation, tool: Tool, place: str) -> tuple[Tool, Tool]:
    """The tool as it is enforced, and as one of which only numbers have to end."""
    try:
        if isinstance(tool, CustomTool):
            if tool.lark is not None:
                check_lark(compilation, tool.lark)
            elif tool.regex is not None:
                check_regex(compilation, tool.regex)
            return tool, tool
        if tool.schema is None:
            return tool, tool
        enforced = enforceable(compilation, tool.schema, strict=tool.strict)
    except GrammarError as error:
        raise _refused(tool, error, place) from error
    any_object = enforced.digits.any_json("object")
    return replace(tool, schema=enforced.schema), replace(tool, lark=any_object)


def _alone(compilation: Compilation, form: AnswerForm) -> Constraint:
    """What holds answers to a form, where there are no calls."""
    if isinstance(form, AnswerText):
        return _text(compilation, form)[0]
    if form.may_refuse:
        return _or_refusal(compilation, form)
    try:
        return compile_schema(compilation, form.schema, strict=form.strict)
    except SchemaError as error:
        raise form.refused(error) from error


def _or_refusal(compilation: Compilation, form: AnswerSchema) -> Constraint:
    """What holds answers to a schema, or to saying why they do not follow it."""
    rules = [Rules(), Rules()]
    exact, beside = (
        each.grammar([each.rule(body)])
        for each, body in zip(rules, _content(compilation, form), strict=True)
    )
    try:
        return _together(compilation, exact, beside)
    except GrammarError as error:
        raise form.refused(SchemaError((), str(error))) from error


def _together(compilation: Compilation, exact: str, beside: str) -> Constraint:
    """Two grammars in Lark that both hold; the second allows any spelling."""
    constraint = compilation.compile(Grammar.lark(exact))
    if beside == exact:
        return constraint
    return Together(constraint, compilation.compile(Grammar.lark(beside, any_spelling=True)))


def _content(compilation: Compilation, form: AnswerForm) -> tuple[str, str]:
    """The rule body of an answer of that form, JSON without white space; and of any JSON.

    Each is also one of a refusal, where there may be some.

    What is no JSON has no numbers to bound: twice the same.
    """
    if isinstance(form, AnswerText):
        body = _text(compilation, form)[1]
        return body, body
    try:
        enforced = enforceable(compilation, form.schema, strict=form.strict)
    except SchemaError as error:
        raise form.refused(error) from error
    options = {"whitespace_flexible": False, "coerce_one_of": not form.strict}
    options |= enforced.schema.get("x-guidance", {})
    exact = "%json " + json.dumps({**enforced.schema, "x-guidance": options})
    bodies = exact, inner_json(enforced.digits.any_json())
    if form.may_refuse:
        bodies = f"({bodies[0]} | {RULE})", f"({bodies[1]} | {RULE})"
    return bodies


def _text(compilation: Compilation, form: AnswerText) -> tuple[Constraint, str]:
    """What holds answers to a grammar, and the same as a rule body."""
    try:
        match form.syntax:
            case "regex":
                return check_regex(compilation, form.source), inner_regex(form.source)
            case "lark":
                return check_lark(compilation, form.source), inner_lark(form.source)
            case "ebnf":
                constraint, lark = check_ebnf(compilation, form.source)
                return constraint, inner_lark(lark)
    except GrammarError as error:
        raise form.refused(error) from error


def _refused(tool: Tool, error: GrammarError, place: str) -> ApiError:
    if not isinstance(error, SchemaError):
        message = f"Invalid grammar for custom tool '{tool.name}': {error}."
        return invalid("invalid_value", message, place)
    where = f" at '{path_of(error.path)}'" if error.path else ""
    path = path_of((*place.split("."), *error.path))
    message = f"Invalid schema for function '{tool.name}'{where}: {error}."
    return invalid("invalid_value", message, path)
