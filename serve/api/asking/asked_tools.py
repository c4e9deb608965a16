"""What a request asks of tools, whichever fields it uses: one form for all of them.

Knows nothing of grammars or of prompts; `serve.text.calls` has the form's own words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from serve.api.wire.request import ChatRequest
from serve.api.wire.tools import (
    AllowedToolsChoice,
    CustomGrammarFormat,
    CustomToolDefinition,
    FunctionToolDefinition,
    LegacyFunction,
    NamedCustom,
    NamedFunction,
    ToolName,
    name_of,
)
from serve.text.calls.tools import Choice, CustomTool, FunctionTool, Tool


@dataclass(frozen=True, slots=True)
class AskedTools:
    """A request's tools and what may be done with them.

    Attributes:
        tools: all of them, in the request's order.
        callable: those that may be called; none where calls are ruled out.
        choice: whether one must be, and how many.
        places: the field that has each tool's schema or grammar, in the order of `tools`.
        legacy: the request uses `functions`, so its answer has `function_call`.
    """

    tools: tuple[Tool, ...]
    callable: tuple[Tool, ...]
    choice: Choice
    places: tuple[str, ...]
    legacy: bool = False


NO_TOOLS = AskedTools((), (), Choice("none"), ())


def asked_tools(wire: ChatRequest) -> AskedTools | None:
    """What a request asks of tools; None where it has none."""
    if wire.functions is not None:
        return _asked_functions(wire.functions, wire.function_call)
    if wire.tools is None:
        return None
    tools = tuple(map(_tool, wire.tools))
    places = tuple(
        f"tools[{index}].function.parameters"
        if isinstance(tool, FunctionToolDefinition)
        else f"tools[{index}].custom.format.grammar.definition"
        for index, tool in enumerate(wire.tools)
    )
    parallel = wire.parallel_tool_calls is not False
    allowed = {name_of(tool) for tool in wire.tools}
    match wire.tool_choice:
        case "none":
            allowed, choice = set[str](), Choice("none")
        case "required":
            choice = Choice("required", parallel=parallel)
        case NamedFunction() | NamedCustom() as named:
            allowed, choice = {named.named}, Choice("required", named.named)
        case AllowedToolsChoice(allowed_tools=some):
            allowed = {named.named for named in some.tools}
            choice = Choice(some.mode, parallel=parallel)
        case _:
            choice = Choice("auto", parallel=parallel)
    return AskedTools(tools, tuple(t for t in tools if t.name in allowed), choice, places)


def _asked_functions(
    functions: Sequence[LegacyFunction], choice: str | ToolName | None
) -> AskedTools:
    tools = tuple(
        FunctionTool(each.name, each.parameters, description=each.description or "")
        for each in functions
    )
    places = tuple(f"functions[{index}].parameters" for index in range(len(functions)))
    match choice:
        case "none":
            return AskedTools(tools, (), Choice("none"), places, legacy=True)
        case ToolName(name=name):
            only = tuple(tool for tool in tools if tool.name == name)
            return AskedTools(tools, only, Choice("required", name), places, legacy=True)
        case _:
            return AskedTools(tools, tools, Choice(parallel=False), places, legacy=True)


def _tool(wire: FunctionToolDefinition | CustomToolDefinition) -> Tool:
    if isinstance(wire, FunctionToolDefinition):
        function = wire.function
        return FunctionTool(
            function.name,
            function.parameters,
            strict=bool(function.strict),
            description=function.description or "",
        )
    custom = wire.custom
    described = custom.description or ""
    if not isinstance(custom.format, CustomGrammarFormat):
        return CustomTool(custom.name, description=described)
    grammar = custom.format.grammar
    if grammar.syntax == "lark":
        return CustomTool(custom.name, lark=grammar.definition, description=described)
    return CustomTool(custom.name, regex=grammar.definition, description=described)
