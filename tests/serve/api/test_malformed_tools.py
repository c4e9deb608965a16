"""The table of tools and histories that are wrong, and what each is answered."""

from typing import Any

import pytest

USER = {"role": "user", "content": "Hi"}
TYPE, MISSING, UNKNOWN, VALUE = (
    "invalid_type",
    "missing_required_parameter",
    "unknown_parameter",
    "invalid_value",
)
EMPTY, LONG, LONG_LIST = "empty_string", "string_above_max_length", "array_above_max_length"
F = {"type": "function", "function": {"name": "f"}}
C = {"type": "custom", "custom": {"name": "c"}}
NAMED = "tool_choice.function.name"
ALLOWED = "tool_choice.allowed_tools"


def tool(value: Any, param: str, code: str, say: str = "") -> tuple[dict[str, Any], str, str, str]:
    return {"tools": [F, value]}, f"tools[1]{param}", code, say


def function(param: str, code: str, say: str = "", /, **fields: Any) -> Any:
    value = {"type": "function", "function": {"name": "g", **fields}}
    return tool(value, f".function{param}", code, say)


def schema(value: Any, param: str, say: str, *, strict: bool = True) -> Any:
    return function(f".parameters{param}", VALUE, say, parameters=value, strict=strict)


def custom(param: str, code: str, say: str = "", /, **fields: Any) -> Any:
    return tool({"type": "custom", "custom": {"name": "g", **fields}}, f".custom{param}", code, say)


def grammar(syntax: str, definition: str, say: str) -> Any:
    wanted = {"type": "grammar", "grammar": {"syntax": syntax, "definition": definition}}
    return custom(".format.grammar.definition", VALUE, say, format=wanted)


def choice(value: Any, param: str, code: str, say: str = "") -> Any:
    return {"tools": [F, C], "tool_choice": value}, param, code, say


def allowed(value: Any, param: str, code: str, say: str = "") -> Any:
    wanted = {"type": "allowed_tools", "allowed_tools": value}
    return choice(wanted, f"{ALLOWED}{param}", code, say)


def properties(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields}


def history(*messages: Any, at: str, code: str, say: str = "") -> Any:
    return {"messages": [USER, *messages]}, at, code, say


def said(*ids: str) -> dict[str, Any]:
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    return {"role": "assistant", "tool_calls": [{**call, "id": id_} for id_ in ids]}


def answered(id_: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": "x"}


TABLE: list[tuple[dict[str, Any], str, str, str]] = [
    # The list of tools.
    ({"tools": {}}, "tools", TYPE, "an array"),
    ({"tools": "f"}, "tools", TYPE, "an array"),
    ({"tools": [F] * 129}, "tools", LONG_LIST, "maximum length 128"),
    ({"tools": [F, F]}, "tools[1].function.name", VALUE, "a name of its own"),
    ({"tools": [F, {"type": "custom", "custom": {"name": "f"}}]}, "tools[1].custom.name", VALUE,
     "Two tools are called 'f'"),
    tool("f", "", TYPE),
    tool(None, "", TYPE),
    tool({}, ".type", MISSING),
    tool({"type": "magic"}, ".type", VALUE, "'function' and 'custom'"),
    tool({"type": 1}, ".type", TYPE),
    tool({"function": {"name": "g"}}, ".type", MISSING),
    tool({"type": "function"}, ".function", MISSING),
    tool({"type": "function", "custom": {"name": "g"}}, ".function", MISSING),
    tool({"type": "function", "function": "g"}, ".function", TYPE, "an object"),
    tool({**F, "name": "g"}, ".name", UNKNOWN),
    tool({"type": "custom"}, ".custom", MISSING),
    # Functions.
    tool({"type": "function", "function": {}}, ".function.name", MISSING),
    function(".name", TYPE, name=None),
    function(".name", EMPTY, name=""),
    function(".name", LONG, "maximum length 64", name="x" * 65),
    function(".name", VALUE, "a-z", name="get weather"),
    function(".name", VALUE, "a-z", name="é"),
    function(".name", VALUE, "a-z", name="a.b"),
    function(".name", VALUE, "a-z", name="a\n"),
    function(".description", TYPE, description=1),
    function(".strict", TYPE, strict="yes"),
    function(".strict", TYPE, strict=1),
    function(".foo", UNKNOWN, foo=1),
    function(".parameters", TYPE, "an object", parameters=[]),
    function(".parameters", TYPE, parameters="{}"),
    # Schemas of arguments.
    schema({"type": "string"}, ".type", "arguments of a function are an object"),
    schema({"type": ["string", "null"]}, ".type", "'type': 'object'"),
    schema({"type": "array"}, ".type", "object", strict=False),
    schema(properties(a=3), ".properties.a", "an object, or true or false"),
    schema(properties(a={"type": "text"}), ".properties.a.type", "boolean", strict=False),
    schema(properties(a={"minimum": "1"}), ".properties.a.minimum", "a number", strict=False),
    schema(properties(a={"enum": []}), ".properties.a.enum", "one or more", strict=False),
    schema(properties(a={"not": {"type": "null"}}), ".properties.a.not", "'strict' to false"),
    schema(properties(a={"if": {}}), ".properties.a.if", "leave it out"),
    schema(properties(a={"uniqueItems": True}), ".properties.a.uniqueItems", "leave it out"),
    schema(properties(a={"format": "colour"}), ".properties.a.format", "date-time"),
    schema(properties(a={"made_up": 1}), ".properties.a.made_up", "made_up"),
    schema(properties(a={"$ref": "#/nowhere"}), ".properties.a.$ref", "nowhere"),
    schema(properties(a={"pattern": "(ab"}), ".properties.a.pattern", "'pattern'"),
    schema({"type": "object", "required": "a"}, ".required", "an array of strings"),
    schema(properties(a={"enum": ["x" * 200_000]}), "", "make it smaller", strict=False),
    # Custom tools.
    custom(".name", VALUE, name="a b"),
    custom(".strict", UNKNOWN, strict=True),
    custom(".parameters", UNKNOWN, parameters={}),
    custom(".format", TYPE, format="text"),
    custom(".format.type", MISSING, format={}),
    custom(".format.type", VALUE, "'text' and 'grammar'", format={"type": "json"}),
    custom(".format.grammar", MISSING, format={"type": "grammar"}),
    custom(".format.grammar.syntax", MISSING,
           format={"type": "grammar", "grammar": {"definition": "x"}}),
    custom(".format.grammar.syntax", VALUE, "'lark' or 'regex'",
           format={"type": "grammar", "grammar": {"definition": "x", "syntax": "ebnf"}}),
    custom(".format.grammar.definition", MISSING,
           format={"type": "grammar", "grammar": {"syntax": "lark"}}),
    custom(".format.grammar.definition", EMPTY,
           format={"type": "grammar", "grammar": {"syntax": "lark", "definition": ""}}),
    custom(".format.definition", UNKNOWN,
           format={"type": "grammar", "definition": "x",
                   "grammar": {"syntax": "lark", "definition": "x"}}),
    # Grammars: Lark.
    grammar("lark", "hello", "line 1"),
    grammar("lark", "word: /a/", "no start rule"),
    grammar("lark", 'start: word', "line 1, column 8"),
    grammar("lark", 'start: "a', "line 1"),
    grammar("lark", 'start: "a"\nstart: "b"', "line 2"),
    grammar("lark", "start: A\nA.2: /a/", "line 2, column 6: priority"),
    grammar("lark", "%declare A\nstart: A", "line 1, column 1"),
    grammar("lark", 'start: x{"a"}\nx{y}: y', "line 2"),
    grammar("lark", "start: /a+?/", "line 1, column 11: lazy quantifiers"),
    grammar("lark", "start: /a(?=b)/", "character 2: look-around"),
    grammar("lark", "start: <|im_end|>", "control tokens"),
    grammar("lark", 'start: %json {"type": "object"}', "line 1, column 8"),
    grammar("lark", 'start[stop="x"]: /a+/', "no options"),
    grammar("lark", "start: @other", "no other grammars"),
    grammar("lark", 'start: "' + "a" * 200_000 + '"', "make it smaller"),
    # Grammars: regular expressions.
    grammar("regex", "(", "character 1"),
    grammar("regex", "[a-", "character 1"),
    grammar("regex", "a{3,2}", "character 2"),
    grammar("regex", "ab*?", "character 4: lazy quantifiers"),
    grammar("regex", "(?<!a)b", "look-around"),
    grammar("regex", r"(a)\1", "backreferences"),
    # The choice.
    choice(True, "tool_choice", TYPE, "a string or an object"),
    choice(["auto"], "tool_choice", TYPE),
    choice("any", "tool_choice", VALUE, "'required'"),
    choice("f", "tool_choice", VALUE),
    choice({}, "tool_choice.type", MISSING),
    choice({"type": "auto"}, "tool_choice.type", VALUE, "'allowed_tools'"),
    choice({"type": "function"}, "tool_choice.function", MISSING),
    choice({"type": "function", "function": {}}, NAMED, MISSING),
    choice({"type": "function", "function": {"name": "h"}}, NAMED, VALUE, "'f', 'c'"),
    choice({"type": "function", "function": {"name": "c"}}, NAMED, VALUE, "type 'custom'"),
    choice({"type": "custom", "custom": {"name": "f"}}, "tool_choice.custom.name", VALUE,
           "type 'function'"),
    choice({"type": "function", "function": {"name": "f", "strict": True}},
           "tool_choice.function.strict", UNKNOWN),
    choice({"type": "function", "name": "f"}, "tool_choice.function", MISSING),
    choice({"type": "allowed_tools"}, ALLOWED, MISSING),
    allowed({"tools": [F]}, ".mode", MISSING),
    allowed({"mode": "none", "tools": [F]}, ".mode", VALUE),
    allowed({"mode": "auto"}, ".tools", MISSING),
    allowed({"mode": "auto", "tools": []}, ".tools", "empty_array"),
    allowed({"mode": "auto", "tools": ["f"]}, ".tools[0]", TYPE),
    allowed({"mode": "auto", "tools": [{"type": "function", "function": {"name": "h"}}]},
            ".tools[0].function.name", VALUE, "no tool called 'h'"),
    allowed({"mode": "auto", "tools": [F, {"type": "function", "function": {"name": "c"}}]},
            ".tools[1].function.name", VALUE),
    ({"tools": [], "tool_choice": "required"}, "tool_choice", VALUE, "send 'tools'"),
    ({"tool_choice": "required"}, "tool_choice", VALUE, "send 'tools'"),
    ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice", VALUE, ""),
    ({"tools": [F], "parallel_tool_calls": 1}, "parallel_tool_calls", TYPE, ""),
    # The older fields.
    ({"functions": [{}]}, "functions[0].name", MISSING, ""),
    ({"functions": [F]}, "functions[0].name", MISSING, ""),
    ({"functions": [{"name": "f", "strict": True}]}, "functions[0].strict", UNKNOWN, ""),
    ({"functions": [{"name": "f"}] * 2}, "functions[1].name", VALUE, "a name of its own"),
    ({"functions": [{"name": "f", "parameters": {"type": "null"}}]},
     "functions[0].parameters.type", VALUE, ""),
    ({"functions": [{"name": "f", "parameters": {"properties": 1}}]},
     "functions[0].parameters.properties", VALUE, ""),
    ({"functions": [{"name": "f"}], "tools": [F]}, "functions", VALUE, "not both"),
    ({"functions": [{"name": "f"}], "tool_choice": "required"}, "tool_choice", VALUE, ""),
    ({"functions": [{"name": "f"}], "function_call": "required"}, "function_call", VALUE, "'auto'"),
    ({"functions": [{"name": "f"}], "function_call": {"name": "g"}}, "function_call.name", VALUE,
     "no tool called 'g'"),
    ({"functions": [{"name": "f"}], "function_call": {}}, "function_call.name", MISSING, ""),
    ({"function_call": {"name": "f"}}, "function_call", VALUE, "send 'functions'"),
    # Earlier turns; `test_malformed.py` has more.
    history(answered("a"), at="messages[1].tool_call_id", code=VALUE),
    history(said("a"), answered("b"), at="messages[2].tool_call_id", code=VALUE),
    history(said("a", "a"), at="messages[1].tool_calls[1].id", code=VALUE, say="its own"),
    history(said("a"), {"role": "tool", "content": "x"},
            at="messages[2].tool_call_id", code=MISSING),
    history(said("a"), {"role": "tool", "tool_call_id": "a"}, at="messages[2].content",
            code=MISSING),
    history({"role": "assistant", "function_call": {"name": "f"}},
            at="messages[1].function_call.arguments", code=MISSING),
    history({"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "custom": {}}]},
            at="messages[1].tool_calls[0].custom.name", code=MISSING),
]  # fmt: skip


@pytest.fixture(scope="module")
def tiny_house(make_house: Any) -> Any:
    """One for all, so that there is one process that tries grammars."""
    return make_house()


def test_the_table_is_long_enough() -> None:
    assert len(TABLE) >= 120


@pytest.mark.parametrize(("fields", "param", "code", "say"), TABLE)
async def test_is_refused(
    tiny_house: Any, ask: Any, fields: dict[str, Any], param: str, code: str, say: str
) -> None:
    response = await tiny_house.post(ask(**fields))
    error = (await response.get_json())["error"]
    assert response.status_code == 400
    assert (error["param"], error["code"]) == (param, code), error["message"]
    assert say in error["message"]
    assert not tiny_house.engine.generations
