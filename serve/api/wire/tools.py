"""Tools of a request on the wire: definitions, choices, and the older `functions`."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from annotated_types import MaxLen, MinLen
from pydantic import AfterValidator, Tag

from serve.api.wire.faults import TAG, echo, fault
from serve.api.wire.json_schema import JsonSchema
from serve.api.wire.most import Most
from serve.api.wire.no_effect import CacheMark
from serve.api.wire.strict import Strict
from serve.api.wire.validators import kind, tag_of, word_or_object

# More would fill any prompt; the API's original takes as many.
MOST_TOOLS = 128
# Of a tool: the API's original takes as many characters.
LONGEST_NAME = 64

_NAME = re.compile(r"[A-Za-z0-9_-]+")


def _plain(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise fault(
            "invalid_value",
            f"Invalid name: {echo(name)}. Use the letters a-z and A-Z, digits, '_' and '-'.",
        )
    return name


def _of_objects(schema: dict[str, Any]) -> dict[str, Any]:
    given = schema.get("type", "object")
    kinds: list[object] = given if isinstance(given, list) else [given]
    if "object" not in kinds:
        raise fault(
            "invalid_value",
            f"Invalid schema: its 'type' is {echo(given)}, but the arguments of a function are an "
            f"object. Use 'type': 'object' and put the rest below 'properties'.",
            at="type",
        )
    return schema


Name = Annotated[str, MinLen(1), MaxLen(LONGEST_NAME), AfterValidator(_plain)]
_Parameters = Annotated[JsonSchema, AfterValidator(_of_objects)]


class FunctionDefinition(Strict):
    """A function. Without `parameters` it takes no arguments."""

    name: Name
    description: str | None = None
    parameters: _Parameters | None = None
    strict: bool | None = None
    cache_control: CacheMark = None


class FunctionToolDefinition(Strict):
    """A tool that takes a JSON object."""

    type: Literal["function"]
    function: FunctionDefinition
    cache_control: CacheMark = None


class CustomTextFormat(Strict):
    """Any text."""

    type: Literal["text"]


class GrammarDefinition(Strict):
    """A grammar of a custom tool's input."""

    definition: Annotated[str, MinLen(1)]
    syntax: Literal["lark", "regex"]


class CustomGrammarFormat(Strict):
    """Text that follows a grammar."""

    type: Literal["grammar"]
    grammar: GrammarDefinition


CustomFormat = Annotated[
    Annotated[CustomTextFormat, Tag(TAG + "text")]
    | Annotated[CustomGrammarFormat, Tag(TAG + "grammar")],
    tag_of("type"),
    kind("type", ["text", "grammar"]),
]


class CustomDefinition(Strict):
    """A custom tool. Without `format` it takes any text."""

    name: Name
    description: str | None = None
    format: CustomFormat | None = None


class CustomToolDefinition(Strict):
    """A tool that takes text."""

    type: Literal["custom"]
    custom: CustomDefinition
    cache_control: CacheMark = None


ToolDefinition = Annotated[
    Annotated[FunctionToolDefinition, Tag(TAG + "function")]
    | Annotated[CustomToolDefinition, Tag(TAG + "custom")],
    tag_of("type"),
    kind("type", ["function", "custom"]),
]


class LegacyFunction(Strict):
    """A function in the older field `functions`."""

    name: Name
    description: str | None = None
    parameters: _Parameters | None = None


class ToolName(Strict):
    """Names one of the request's tools."""

    name: Annotated[str, MaxLen(LONGEST_NAME)]


class NamedFunction(Strict):
    """One function tool."""

    type: Literal["function"]
    function: ToolName

    @property
    def named(self) -> str:
        """The tool's name."""
        return self.function.name


class NamedCustom(Strict):
    """One custom tool."""

    type: Literal["custom"]
    custom: ToolName

    @property
    def named(self) -> str:
        """The tool's name."""
        return self.custom.name


NamedTool = Annotated[
    Annotated[NamedFunction, Tag(TAG + "function")] | Annotated[NamedCustom, Tag(TAG + "custom")],
    tag_of("type"),
    kind("type", ["function", "custom"]),
]


class AllowedTools(Strict):
    """Some of the request's tools, and whether one of them must be called."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedTool], MinLen(1), Most(MOST_TOOLS)]


class AllowedToolsChoice(Strict):
    """Only some of the tools may be called."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


_MODES = ("none", "auto", "required")
# Of the choice, what holds without tools too.
_UNFORCED = (None, "none", "auto")
ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag(TAG + "word")]
    | Annotated[NamedFunction, Tag(TAG + "function")]
    | Annotated[NamedCustom, Tag(TAG + "custom")]
    | Annotated[AllowedToolsChoice, Tag(TAG + "allowed_tools")],
    *word_or_object(_MODES, "type", ["function", "custom", "allowed_tools"]),
]
FunctionCallChoice = Annotated[
    Annotated[Literal["none", "auto"], Tag(TAG + "word")]
    | Annotated[ToolName, Tag(TAG + "object")],
    *word_or_object(("none", "auto")),
]


def check_tools(
    tools: Sequence[FunctionToolDefinition | CustomToolDefinition] | None,
    choice: "str | NamedFunction | NamedCustom | AllowedToolsChoice | None",
) -> None:
    """The newer fields agree with each other.

    Raises:
        PydanticCustomError: a name that is given twice or is not there, or a call that is wanted
            without tools.
    """
    if tools is None:
        _needs(choice in _UNFORCED, "tool_choice", "tools")
        return
    places = ["function" if isinstance(t, FunctionToolDefinition) else "custom" for t in tools]
    _differ([name_of(tool) for tool in tools], [f"tools[{{}}].{place}.name" for place in places])
    kinds = dict(zip(map(name_of, tools), places, strict=True))
    if isinstance(choice, NamedFunction | NamedCustom):
        _check_named(choice, kinds, "tool_choice")
    elif isinstance(choice, AllowedToolsChoice):
        for index, named in enumerate(choice.allowed_tools.tools):
            _check_named(named, kinds, f"tool_choice.allowed_tools.tools[{index}]")


def check_functions(
    functions: Sequence[LegacyFunction] | None,
    choice: str | ToolName | None,
    *,
    with_tools: bool,
) -> None:
    """The older fields agree with each other, and stand alone.

    Raises:
        PydanticCustomError: they do not.
    """
    if functions is None:
        _needs(choice in _UNFORCED, "function_call", "functions")
        return
    if with_tools:
        raise fault(
            "invalid_value",
            "'functions' is the older form of 'tools': send one of them, not both.",
            at="functions",
        )
    names = [function.name for function in functions]
    _differ(names, ["functions[{}].name"] * len(names))
    if isinstance(choice, ToolName) and choice.name not in names:
        raise _absent(choice.name, names, "function_call.name", "functions")


def name_of(tool: FunctionToolDefinition | CustomToolDefinition) -> str:
    """What calls name a tool by."""
    return tool.function.name if isinstance(tool, FunctionToolDefinition) else tool.custom.name


def _needs(fine: bool, field: str, other: str) -> None:
    if not fine:
        raise fault(
            "invalid_value",
            f"'{field}' asks for a call, and there is nothing to call: leave it out, or send "
            f"'{other}'.",
            at=field,
        )


def _differ(names: Sequence[str], places: Sequence[str]) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise fault(
                "invalid_value",
                f"Two tools are called '{name}': give each a name of its own.",
                at=places[index].format(index),
            )


def _check_named(named: NamedFunction | NamedCustom, kinds: dict[str, str], at: str) -> None:
    at = f"{at}.{named.type}.name"
    if named.named not in kinds:
        raise _absent(named.named, list(kinds), at, "tools")
    if kinds[named.named] != named.type:
        raise fault(
            "invalid_value",
            f"'{named.named}' is a tool of type '{kinds[named.named]}', not '{named.type}': name "
            f"it as {{'type': '{kinds[named.named]}', '{kinds[named.named]}': "
            f"{{'name': '{named.named}'}}}}.",
            at=at,
        )


def _absent(name: str, names: Sequence[str], at: str, field: str) -> Exception:
    listed = ", ".join(f"'{known}'" for known in names[:8]) + (", …" if len(names) > 8 else "")
    return fault(
        "invalid_value",
        f"There is no tool called {echo(name)}: '{field}' has {listed}.",
        at=at,
    )
