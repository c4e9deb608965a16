"""Grammars of whole answers, in llguidance's dialect of Lark.

The text of an answer cannot hold what the parser would take for the beginning of a call: from
there on the grammar wants the name of an allowed tool and arguments after its schema.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import cast

from serve.text.calls.shape import CallId, CallShape, Marker, Part, is_control, loosely, spelling
from serve.text.calls.tools import Choice, CustomTool, FunctionTool, Tool

Controls = Mapping[str, int]

# How models are shown JSON, and so write it: `json.dumps` puts a space after commas and colons.
_SPACING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_NO_ARGUMENTS = {"type": "object", "properties": {}, "additionalProperties": False}
# How a user's grammar begins where it stands inside another.
_OF_USERS = "%lark {"
_ANY_TEXT = "/(?s:.*)/"
_SPACE = r"[ \t\r\n]*"


def literal(text: str) -> str:
    """A Lark string."""
    return json.dumps(text)


def written(part: Part, controls: Controls) -> str:
    """A part as the grammar has it; empty for no characters.

    A control token is named by its id: spellings such as `[TOOL_CALLS]` have no form of their own.
    """
    if isinstance(part, CallId):
        return "/[a-zA-Z0-9]{9}/"
    if is_control(part, controls):
        return f"<[{controls[spelling(part)]}]>"
    return literal(spelling(part)) if spelling(part) else ""


def ending(text: str, end: str) -> str:
    """A terminal: what `text` matches if it does not contain `end`, and then `end`.

    One terminal rather than two: a lexer takes as much as it can for the first.
    """
    return f"({text} & ~/(?s:.*){_escaped(end)}(?s:.*)/) {literal(end)}"


def nested(lark: str) -> str:
    """The rule body of a whole grammar in Lark."""
    return f"%lark {{\n{lark}\n}}"


def function_arguments(tool: FunctionTool) -> str:
    """The rule body of a function's arguments.

    Raises:
        ValueError: the schema does not take objects.
    """
    if tool.lark is not None:
        return inner_lark(tool.lark)
    schema = dict(_NO_ARGUMENTS if tool.schema is None else tool.schema)
    kinds = schema.get("type", "object")
    if "object" not in (kinds if isinstance(kinds, list) else [kinds]):
        raise ValueError(
            f"the parameters of {tool.name!r} have the type {kinds!r}; arguments are an object"
        )
    own = cast("Mapping[str, object]", schema.get("x-guidance", {}))
    options = {**own, **_SPACING, **({} if tool.strict else {"lenient": True})}
    return "%json " + json.dumps({**schema, "type": "object", "x-guidance": options})


def custom_input(tool: CustomTool, end: str) -> str:
    """The rule body of a custom tool's input and what ends it, `end` in ordinary characters.

    A Lark grammar stands inside as it is: it has to have passed a check of its own.
    """
    if tool.lark is not None:
        return inner_lark(tool.lark)
    text = _ANY_TEXT if tool.regex is None else inner_regex(tool.regex)
    return ending(text, end) if end else text


def inner_lark(source: str) -> str:
    """A rule body of what a user's grammar, which has passed a check of its own, describes."""
    return f"{_OF_USERS}\n{source}\n}}"


def inner_json(source: str) -> str:
    """A rule body of what a grammar of ours describes, which is JSON."""
    return f"({inner_lark(source)})"


def inner_regex(source: str) -> str:
    """A user's regular expression as a terminal. Two slashes would begin a comment in Lark."""
    spelled = {"/": r"\/", "\n": r"\n", "\\\n": r"\n"}
    body = re.sub(
        r"\\.|/|\n", lambda match: spelled.get(match[0], match[0]), source, flags=re.DOTALL
    )
    return f"/(?:{body})/"


class Rules:
    """A grammar under construction: rules under names of their own."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}

    def rule(self, body: str) -> str:
        """Add a rule, if there is none of that body; its name."""
        return self._add("r", body)

    def terminal(self, body: str) -> str:
        """Add a terminal, if there is none of that body; its name."""
        return self._add("T", body)

    def _add(self, letter: str, body: str) -> str:
        return self._names.setdefault((letter, body), f"{letter}{len(self._names)}")

    def grammar(self, starts: Sequence[str]) -> str:
        """The whole, where an answer is one of `starts`."""
        lines = [f"{name}: {body}" for (_, body), name in self._names.items()]
        return "\n".join([f"start: {' | '.join(starts)}", *lines]) + "\n"


def answer_grammar(
    shapes: Sequence[CallShape],
    tools: Sequence[Tool],
    choice: Choice,
    controls: Controls,
    content: str | None = None,
) -> str:
    """The grammar of an answer whose calls have one of `shapes`, the first being the usual one.

    Args:
        shapes: ways to write a call.
        tools: those that may be called; `allowed_tools` has been applied.
        choice: whether a call is wanted, of which tool, and how many.
        controls: spelling → id of the tokenizer's control tokens.
        content: the body of an answer without a call, which then is all that may stand
            beside calls; None for any text. See `CallFormat.grammar`.

    Raises:
        ValueError: the choice does not fit the tools, a schema takes no objects, or what follows
            the content's grammar could be taken for calls.
    """
    allowed = choice.allowed(tools)
    shapes = [shape for shape in shapes if shape.usable(controls)]
    rules = Rules()
    if choice.mode == "required":
        run = _run(shapes[0], allowed, choice, controls, rules)
        return rules.grammar([f"{written(shapes[0].trigger, controls)} {run}"])
    text = _text(content or _ANY_TEXT, shapes, controls)
    if content is None or content.startswith("/"):
        starts = [rules.terminal(text)]
    else:
        starts = [rules.rule(content)]
    if choice.mode == "auto":
        in_words = not all(is_control(shape.trigger, controls) for shape in shapes)
        if content is not None and content.startswith(_OF_USERS) and in_words:
            raise ValueError(
                "the grammar of the answer could say what begins a call; send a regular "
                "expression or a JSON schema instead of it, or leave out the tools"
            )
        for shape in shapes:
            run = _run(shape, allowed, choice, controls, rules)
            trigger = written(shape.trigger, controls)
            if content is not None or shape.at_start:
                starts.append(f"{trigger} {run}")
            elif is_control(shape.trigger, controls):
                starts.append(f"{starts[0]} {trigger} {run}")
            else:
                starts.append(f"{rules.terminal(f'({text}) {trigger}')} {run}")
    return rules.grammar(starts)


def _text(text: str, shapes: Sequence[CallShape], controls: Controls) -> str:
    """The terminal of such text that holds no trigger. Control tokens are never text."""
    terms = [text]
    for shape in shapes:
        if is_control(shape.trigger, controls):
            continue
        before = _SPACE if shape.at_start else "(?s:.*)"
        terms.append(f"~/{before}{_loosened(shape.trigger)}(?s:.*)/")
    return " & ".join(terms)


def _run(
    shape: CallShape, tools: Sequence[Tool], choice: Choice, controls: Controls, rules: Rules
) -> str:
    """A rule for what follows the trigger."""

    def sequence(parts: Sequence[Part]) -> str:
        return " ".join(filter(None, (written(part, controls) for part in parts)))

    functions = [
        rules.rule(
            f"{sequence((shape.head + tool.name, *shape.separator))} "
            f"{rules.rule(function_arguments(tool))} {sequence((shape.tail,))}"
        )
        for tool in tools
        if isinstance(tool, FunctionTool)
    ]
    customs = [
        rules.rule(
            f"{sequence((shape.head + tool.name, *shape.custom_separator))} "
            f"{_input(shape, tool, controls, rules)}"
        )
        for tool in tools
        if isinstance(tool, CustomTool)
    ]
    several = choice.several and shape.between is not None
    function, custom = (
        rules.rule(" | ".join(rows)) if rows else "" for rows in (functions, customs)
    )
    between = sequence(shape.between or ())
    row = f"{function} ({between} {function})*" if several else function
    runs = [f"{row} {sequence(shape.closing)}"] if functions else []
    runs += [custom] if customs else []
    runs += [f"{row} {between} {custom}"] if functions and customs and several else []
    return f"{sequence(shape.opening)} {rules.rule(' | '.join(runs))}"


def _input(shape: CallShape, tool: CustomTool, controls: Controls, rules: Rules) -> str:
    end = shape.input_end(controls, free=tool.lark is None)
    control = end is not None and is_control(end, controls)
    body = custom_input(tool, "" if end is None or control else spelling(end))
    name = rules.terminal(body) if tool.lark is None else rules.rule(body)
    return f"{name} {written(end, controls)}" if end is not None and control else name


def _escaped(text: str) -> str:
    """A regular expression for `text`, fit to stand between slashes."""
    spelled = {"\n": r"\n", "/": r"\/"}
    return "".join(spelled.get(character) or re.escape(character) for character in text)


def _loosened(part: str | Marker) -> str:
    """A regular expression for all that the parser takes for `part`."""
    pieces = loosely(part)
    return "".join(_SPACE if piece is None else _escaped(piece) for piece in pieces).removeprefix(
        _SPACE
    )
