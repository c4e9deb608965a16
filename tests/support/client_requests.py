"""Requests as clients and other servers' habits make them, and what each comes to.

A row is a fragment of a request's body. It is answered like another one without it, perhaps with
fields named that change nothing; or it shows in the prompt; or it is refused.
"""

from dataclasses import dataclass
from typing import Any

Fields = dict[str, Any]

USER: Fields = {"role": "user", "content": "Hi"}
AGAIN: Fields = {"role": "user", "content": "And?"}
CALL: Fields = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
OTHER: Fields = {**CALL, "id": "c2"}
CUSTOM: Fields = {"id": "c3", "type": "custom", "custom": {"name": "g", "input": "x"}}
F: Fields = {"type": "function", "function": {"name": "f"}}
EPHEMERAL: Fields = {"type": "ephemeral"}
CITATION: Fields = {
    "type": "url_citation",
    "url_citation": {"start_index": 0, "end_index": 2, "title": "A", "url": "https://a.example"},
}
DETAIL: Fields = {"type": "reasoning.text", "text": "Hm.", "format": "unknown", "index": 0}
BLOCK: Fields = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
IMAGE: Fields = {"type": "image_url", "image_url": {"url": "https://a.example/a.png"}}

TYPE, MISSING, UNKNOWN = "invalid_type", "missing_required_parameter", "unknown_parameter"
VALUE, LATER, EMPTY = "invalid_value", "unsupported_parameter", "empty_array"


@dataclass(frozen=True)
class Row:
    """One request.

    Attributes:
        name: who sends it, or when.
        sent: fields of the body, beside the usual ones.
        like: the fields of a request that is answered in the same way.
        no_effect: what the response's header names.
        thinks: the template takes thoughts.
        shows: what the prompt has of it, where there is no request like it.
        refused: `param` and `code`.
    """

    name: str
    sent: Fields
    like: Fields | None = None
    no_effect: str = ""
    thinks: bool = False
    shows: str = ""
    refused: tuple[str, str] | None = None


def _text(text: str, **fields: Any) -> Fields:
    return {"type": "text", "text": text, **fields}


def _between(*messages: Fields) -> Fields:
    return {"messages": [USER, *messages, AGAIN]}


def _answered(**fields: Any) -> Fields:
    """A conversation whose second message is the assistant's."""
    return _between({"role": "assistant", **fields})


def _result(**fields: Any) -> Fields:
    """A conversation whose third message is a call's result."""
    call = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    return _between(call, {"role": "tool", "tool_call_id": "c1", **fields})


def _called(**fields: Any) -> Fields:
    return _answered(content=None, tool_calls=[{**CALL, **fields}])


def _functioned(**fields: Any) -> Fields:
    return _answered(content=None, tool_calls=[{**CALL, "function": CALL["function"] | fields}])


def _defined(**fields: Any) -> Fields:
    return {"tools": [{"type": "function", "function": {"name": "f", **fields}}]}


_HI, _CALLED, _SEVEN = _answered(content="Hi"), _called(), _result(content="7")
_EMPTY = _answered(content="")


def _echo(name: str, no_effect: str = "", /, **fields: Any) -> Row:
    """An answer `Hi` that is sent back with more in it."""
    named = ", ".join(f"messages[1].{field}" for field in no_effect.split())
    return Row(name, _answered(**{"content": "Hi"} | fields), _HI, named)


def _no_echo(name: str, param: str, code: str, /, **fields: Any) -> Row:
    sent = _answered(**{"content": "Hi"} | fields)
    return Row(name, sent, refused=(f"messages[1].{param}", code))


def _idle(name: str, sent: Fields, /, **like: Any) -> Row:
    """Fields that ask for nothing."""
    return Row(name, sent, like)


def _not(name: str, param: str, code: str, sent: Fields, /) -> Row:
    return Row(name, sent, refused=(param, code))


_ECHOES = [
    _echo("our own answer", refusal=None, annotations=[]),
    _echo("openai: model_dump()", refusal=None, annotations=[], audio=None, function_call=None,
          tool_calls=None),
    _echo("openai: model_dump() of another server's answer", refusal=None, annotations=None,
          audio=None, function_call=None, tool_calls=None),
    _echo("openai: to_dict()", refusal=None, annotations=[]),
    _echo("openai: parse() without a schema", refusal=None, parsed=None),
    _echo("openai: parse()", "parsed", refusal=None, parsed={"answer": "Hi"}),
    _echo("openai: parse() to a number", "parsed", parsed=0),
    _echo("openai: parse() to a list", "parsed", parsed=[1, 2]),
    _echo("LiteLLM: model_dump()", tool_calls=None, function_call=None,
          provider_specific_fields=None),
    _echo("LiteLLM: nothing specific", provider_specific_fields={}),
    _echo("LiteLLM: something specific", "provider_specific_fields",
          provider_specific_fields={"refusal": None}),
    _echo("LiteLLM: Anthropic's thoughts", "reasoning_content thinking_blocks",
          reasoning_content="Hm.", thinking_blocks=[BLOCK]),
    _echo("LiteLLM: no blocks", thinking_blocks=None, reasoning_content=None),
    _echo("LiteLLM: empty blocks", thinking_blocks=[]),
    _echo("DeepSeek: model_dump()", "reasoning_content", reasoning_content="Hm.", refusal=None,
          annotations=None, audio=None, function_call=None, tool_calls=None),
    _echo("vLLM: no thoughts", reasoning_content=None, tool_calls=[]),
    _echo("vLLM: thoughts under both names", "reasoning_content reasoning",
          reasoning_content="Hm.", reasoning="Hm."),
    _echo("vLLM: no thoughts under either name", reasoning_content=None, reasoning=None),
    _echo("SGLang: no calls, no thoughts", reasoning_content="", tool_calls=None),
    _echo("Vercel AI SDK: thoughts", "reasoning_content", reasoning_content="Hm."),
    _echo("OpenRouter: thoughts", "reasoning reasoning_details", refusal=None, reasoning="Hm.",
          reasoning_details=[DETAIL]),
    _echo("OpenRouter: no thoughts", reasoning=None, reasoning_details=[]),
    _echo("Cline: details alone", "reasoning_details", reasoning_details=[DETAIL]),
    _echo("encrypted details", "reasoning_details",
          reasoning_details=[{"type": "reasoning.encrypted", "data": "eA==", "id": None}]),
    _echo("Groq: thoughts", "reasoning", reasoning="Hm."),
    _echo("gpt-oss' own name for thoughts", "thinking", thinking="Hm."),
    _echo("no thoughts under gpt-oss' name", thinking=None),
    _echo("search: one citation", "annotations", annotations=[CITATION]),
    _echo("search: two citations", "annotations", annotations=[CITATION, CITATION]),
    _echo("search: a citation with more in it", "annotations",
          annotations=[{**CITATION, "url_citation": {"url": "x", "content": "y"}}]),
    _echo("LangChain: name of an agent left out", name=None),
    _echo("content as parts", content=[_text("Hi")]),
    _echo("content as parts with annotations", "content[0].annotations",
          content=[_text("Hi", annotations=[CITATION])]),
    _echo("content as parts without annotations", content=[_text("Hi", annotations=[])]),
    Row("an empty answer", _answered(content="", refusal=None), _EMPTY),
    Row("an answer cut off amid its thoughts", _answered(content=None, reasoning_content="Hm."),
        _EMPTY, "messages[1].reasoning_content"),
    Row("the same with empty content", _answered(content="", reasoning="Hm."), _EMPTY,
        "messages[1].reasoning"),
    Row("a refusal sent back", _answered(content=None, refusal="No", annotations=[], audio=None),
        _answered(content="No")),
    _no_echo("a field of nobody's", "foo", UNKNOWN, foo=1),
    _no_echo("a field of nobody's, null", "foo", UNKNOWN, foo=None),
    _no_echo("a UI's own id", "id", UNKNOWN, id="m1"),
    _no_echo("a UI's time", "createdAt", UNKNOWN, createdAt="2026-01-01"),
    _no_echo("Mistral: prefix", "prefix", UNKNOWN, prefix=True),
    _no_echo("pictures in an answer", "images", UNKNOWN, images=[]),
    _no_echo("a choice instead of its message", "finish_reason", UNKNOWN, finish_reason="stop"),
    _no_echo("an answer that was spoken", "audio", LATER, content=None, audio={"id": "a1"}),
    _no_echo("an answer that was spoken, and its words", "audio", VALUE, audio={"id": "a1"}),
    _no_echo("thoughts in parts", "reasoning_content", TYPE, reasoning_content=[_text("Hm.")]),
    _no_echo("thoughts as an object", "reasoning", TYPE, reasoning={"effort": "low"}),
    _no_echo("thinking as Anthropic sets it", "thinking", TYPE, thinking={"type": "enabled"}),
    _no_echo("details as text", "reasoning_details", TYPE, reasoning_details="Hm."),
    _no_echo("details as texts", "reasoning_details[0]", TYPE, reasoning_details=["Hm."]),
    _no_echo("blocks as text", "thinking_blocks", TYPE, thinking_blocks="Hm."),
    _no_echo("specific fields as a list", "provider_specific_fields", TYPE,
             provider_specific_fields=[]),
    _no_echo("annotations as text", "annotations", TYPE, annotations="A"),
    _no_echo("annotations as an object", "annotations", TYPE, annotations=CITATION),
    _no_echo("annotations without a type", "annotations[0].type", MISSING, annotations=[{}]),
    _no_echo("annotations of a file", "annotations[1].type", VALUE,
             annotations=[CITATION, {"type": "file_citation"}]),
    _no_echo("annotations without end", "annotations", "array_above_max_length",
             annotations=[CITATION] * 1_025),
    _no_echo("details with too much in them", "reasoning_details[0]",
             "object_above_max_properties", reasoning_details=[dict.fromkeys(map(str, range(65)))]),
    _no_echo("thoughts as a part", "content[0].type", VALUE, content=[BLOCK]),
    _no_echo("a part with a field of nobody's", "content[0].foo", UNKNOWN,
             content=[_text("Hi", foo=1)]),
    _no_echo("nothing", "content", MISSING, content=None),
    _no_echo("no parts and no calls", "content", MISSING, content=[], tool_calls=[]),
    _no_echo("no content, and thoughts that are empty", "content", MISSING, content=None,
             reasoning_content="", reasoning=None),
    _no_echo("no content beside blocks", "content", MISSING, content=None,
             thinking_blocks=[BLOCK]),
]  # fmt: skip

_THOUGHTS = [
    Row(f"a model that thinks: {name}", _answered(**{"content": "Hi"} | fields),
        no_effect=no_effect, thinks=True, shows=shows)
    for name, fields, no_effect, shows in [
        ("DeepSeek's name", {"reasoning_content": "Hm."}, "", "assistant||Hi|<Hm.>;"),
        ("OpenRouter's name", {"reasoning": "Hm."}, "", "assistant||Hi|<Hm.>;"),
        ("gpt-oss' name", {"thinking": "Hm."}, "", "assistant||Hi|<Hm.>;"),
        ("two names, one text", {"reasoning_content": "Hm.", "reasoning": "Hm."}, "",
         "assistant||Hi|<Hm.>;"),
        ("two names, two texts", {"reasoning": "Oh.", "reasoning_content": "Hm."},
         "messages[1].reasoning", "assistant||Hi|<Hm.>;"),
        ("three names", {"reasoning": "Oh.", "thinking": "Ah.", "reasoning_content": ""},
         "messages[1].thinking", "assistant||Hi|<Oh.>;"),
        ("null", {"reasoning_content": None}, "", "assistant||Hi|;"),
        ("empty", {"reasoning_content": ""}, "", "assistant||Hi|;"),
        ("spellings are text", {"reasoning_content": "<|im_end|>"}, "",
         "assistant||Hi|<<|im_end|>>;"),
        ("beside details", {"reasoning": "Hm.", "reasoning_details": [DETAIL]},
         "messages[1].reasoning_details", "assistant||Hi|<Hm.>;"),
        ("beside blocks", {"reasoning_content": "Hm.", "thinking_blocks": [BLOCK]},
         "messages[1].thinking_blocks", "assistant||Hi|<Hm.>;"),
        ("before a call", {"content": None, "reasoning_content": "Hm.", "tool_calls": [CALL]}, "",
         '"function": {"name": "f", "arguments": {"a": 1}}}]<Hm.>;'),
        ("cut off", {"content": None, "reasoning_content": "Hm."}, "", "assistant|||<Hm.>;"),
    ]
]  # fmt: skip

_CALLS = [
    Row("content left out beside calls", _answered(tool_calls=[CALL]), _CALLED),
    Row("empty content beside calls", _answered(content="", tool_calls=[CALL]), _CALLED),
    Row("rig: no parts beside calls", _answered(content=[], tool_calls=[CALL]), _CALLED),
    Row("an empty part beside calls", _answered(content=[_text("")], tool_calls=[CALL]), _CALLED),
    Row("openai: calls, model_dump()", _answered(content=None, refusal=None, annotations=[],
        audio=None, function_call=None, tool_calls=[CALL]), _CALLED),
    Row("openai: calls out of a stream", _called(index=0), _CALLED),
    Row("their place unknown", _called(index=None), _CALLED),
    Row("two calls out of a stream",
        _answered(tool_calls=[{**CALL, "index": 0}, {**OTHER, "index": 1}]),
        _answered(tool_calls=[CALL, OTHER])),
    Row("calls whose places are not theirs",
        _answered(tool_calls=[{**CALL, "index": 1}, {**OTHER, "index": 0}]),
        _answered(tool_calls=[CALL, OTHER]),
        "messages[1].tool_calls[0].index, messages[1].tool_calls[1].index"),
    Row("places counted from one", _called(index=1), _CALLED, "messages[1].tool_calls[0].index"),
    Row("openai: parse() without arguments' model", _functioned(parsed_arguments=None), _CALLED),
    Row("openai: parse() of arguments", _functioned(parsed_arguments={"a": 1}), _CALLED,
        "messages[1].tool_calls[0].function.parsed_arguments"),
    Row("Gemini: a signature", _called(extra_content={"google": {"thought_signature": "eA=="}}),
        _CALLED, "messages[1].tool_calls[0].extra_content"),
    Row("Gemini: no signature", _called(extra_content=None), _CALLED),
    Row("LiteLLM: a call's specific fields", _called(provider_specific_fields={"a": "b"}), _CALLED,
        "messages[1].tool_calls[0].provider_specific_fields"),
    Row("LiteLLM: a function's specific fields", _functioned(provider_specific_fields={"a": "b"}),
        _CALLED, "messages[1].tool_calls[0].function.provider_specific_fields"),
    Row("LiteLLM: no specific fields",
        _functioned(provider_specific_fields=None) | {"user": None}, _CALLED),
    Row("a custom tool's call out of a stream", _answered(tool_calls=[{**CUSTOM, "index": 0}]),
        _answered(tool_calls=[CUSTOM])),
    Row("the older form, model_dump()", _answered(content=None, tool_calls=None,
        function_call=CALL["function"]), _answered(function_call=CALL["function"])),
    Row("the older form, no calls", _answered(content="", tool_calls=[],
        function_call=CALL["function"]), _answered(function_call=CALL["function"])),
    Row("LiteLLM: the older form's specific fields",
        _answered(function_call={**CALL["function"], "provider_specific_fields": {"a": "b"}}),
        _answered(function_call=CALL["function"]),
        "messages[1].function_call.provider_specific_fields"),
    Row("thoughts before a call", _answered(content=None, tool_calls=[CALL], reasoning="Hm."),
        _CALLED, "messages[1].reasoning"),
    Row("empty arguments", _functioned(arguments=""), _functioned(arguments="{}")),
    Row("arguments in pieces that were lost", _functioned(arguments='{"a"'),
        shows='"arguments": "{\\"a\\""}}]'),
    _not("a place that is none", "messages[1].tool_calls[0].index", "integer_below_min_value",
         _called(index=-1)),
    _not("a place as text", "messages[1].tool_calls[0].index", TYPE, _called(index="0")),
    _not("a field of nobody's in a call", "messages[1].tool_calls[0].foo", UNKNOWN,
         _called(foo=1)),
    _not("a field of nobody's in a function", "messages[1].tool_calls[0].function.foo", UNKNOWN,
         _functioned(foo=1)),
    _not("arguments as an object", "messages[1].tool_calls[0].function.arguments", TYPE,
         _functioned(arguments={"a": 1})),
    _not("a call without an id", "messages[1].tool_calls[0].id", TYPE, _called(id=None)),
    _not("a signature as text", "messages[1].tool_calls[0].extra_content", TYPE,
         _called(extra_content="eA==")),
    _not("calls as an object", "messages[1].tool_calls", TYPE, _answered(tool_calls={})),
    _not("no call in the older form either", "messages[1].content", MISSING,
         _answered(tool_calls=[], function_call=None)),
]  # fmt: skip

_OF_F = "tool|f|7|c1;"
_RESULTS = [
    Row("LangChain: the tool's name", _result(content="7", name="f"), _SEVEN),
    Row("LangChain: no name", _result(content="7", name=None), _SEVEN),
    Row("an empty name", _result(content="7", name=""), _SEVEN),
    Row("the name that a framework has for the tool", _result(content="7", name="MyTool.f"),
        _SEVEN, "messages[2].name"),
    Row("a name that is no tool's", _result(content="7", name="Tool result"), _SEVEN,
        "messages[2].name"),
    Row("the name reaches the template", _result(content="7", name="f"), shows=_OF_F),
    Row("the call's name reaches the template", _result(content="7", name="g"), shows=_OF_F,
        no_effect="messages[2].name"),
    Row("names of two results, changed about",
        _between({"role": "assistant", "tool_calls": [CALL, CUSTOM]},
                 {"role": "tool", "tool_call_id": "c3", "name": "f", "content": "8"},
                 {"role": "tool", "tool_call_id": "c1", "name": "f", "content": "7"}),
        shows="tool|g|8|c3;tool|f|7|c1;", no_effect="messages[2].name"),
    Row("an id that comes again is of the last call",
        _between({"role": "assistant", "tool_calls": [CALL]},
                 {"role": "tool", "tool_call_id": "c1", "name": "f", "content": "7"},
                 {"role": "assistant", "tool_calls": [{**CUSTOM, "id": "c1"}]},
                 {"role": "tool", "tool_call_id": "c1", "name": "g", "content": "8"}),
        shows="tool|g|8|c1;"),
    Row("a tool that returned nothing", _result(content=None), _result(content="")),
    Row("MCP: a result of no parts", _result(content=[]), _result(content="")),
    Row("MCP: a result of one part", _result(content=[_text("7")]), _SEVEN),
    Row("MCP: a part with annotations", _result(content=[_text("7", annotations=None)]), _SEVEN),
    Row("the older form, nothing returned",
        _between({"role": "assistant", "function_call": CALL["function"]},
                 {"role": "function", "name": "f", "content": None}),
        _between({"role": "assistant", "function_call": CALL["function"]},
                 {"role": "function", "name": "f", "content": ""})),
    _not("a result without content", "messages[2].content", MISSING, _result()),
    _not("a result as an object", "messages[2].content", TYPE, _result(content={"a": 1})),
    _not("a result as a number", "messages[2].content", TYPE, _result(content=7)),
    _not("a result with a picture", "messages[2].content[0]", LATER, _result(content=[IMAGE])),
    _not("a name as a number", "messages[2].name", TYPE, _result(content="7", name=1)),
    _not("a name without end", "messages[2].name", "string_above_max_length",
         _result(content="7", name="n" * 257)),
    _not("Anthropic: is_error", "messages[2].is_error", UNKNOWN,
         _result(content="7", is_error=False)),
    _not("a result whose call is unknown", "messages[2].tool_call_id", VALUE,
         _result(content="7", tool_call_id="c9", name="f")),
    _not("the older form without content", "messages[1].content", MISSING,
         _between({"role": "function", "name": "f"})),
    _not("a user who says null", "messages[1].content", TYPE,
         _between({"role": "user", "content": None})),
    _not("a user of no parts", "messages[1].content", EMPTY,
         _between({"role": "user", "content": []})),
    _not("a system of no parts", "messages[1].content", EMPTY,
         _between({"role": "system", "content": []})),
    Row("a user who says nothing", _between({"role": "user", "content": ""}),
        _between({"role": "user", "content": [_text("")]})),
    _not("a user's calls", "messages[1].tool_calls", UNKNOWN,
         _between({**USER, "tool_calls": []})),
    _not("a user's thoughts", "messages[1].reasoning_content", UNKNOWN,
         _between({**USER, "reasoning_content": None})),
]  # fmt: skip


def _cached(name: str, sent: Fields, like: Fields, *places: str) -> Row:
    return Row(
        f"cache_control: {name}", sent, like, ", ".join(f"{at}.cache_control" for at in places)
    )


def _uncached(name: str, mark: Any, param: str, code: str) -> Row:
    sent = {"messages": [{**USER, "cache_control": mark}]}
    return Row(f"cache_control: {name}", sent, refused=(f"messages[0].cache_control{param}", code))


_HOUR, _MARK = {"type": "ephemeral", "ttl": "1h"}, {"cache_control": EPHEMERAL}
_SYSTEM: Fields = {"role": "system", "content": "Be brief"}
_CACHE = [
    _cached("LiteLLM, of a system part",
            {"messages": [{"role": "system", "content": [_text("Be brief", **_MARK)]}, USER]},
            {"messages": [_SYSTEM, USER]}, "messages[0].content[0]"),
    _cached("Aider, of the last part",
            {"messages": [{"role": "user", "content": [_text("H"), _text("i", **_MARK)]}]},
            {}, "messages[0].content[1]"),
    _cached("of several parts",
            {"messages": [{"role": "user", "content": [_text(c, **_MARK) for c in "Hi"]}]},
            {}, "messages[0].content[0]", "messages[0].content[1]"),
    _cached("for an hour", {"messages": [{**USER, "cache_control": _HOUR}]}, {}, "messages[0]"),
    _cached("for five minutes", {"messages": [{**USER, "cache_control": {**_HOUR, "ttl": "5m"}}]},
            {}, "messages[0]"),
    _cached("for the usual time", {"messages": [{**USER, "cache_control": {**_HOUR, "ttl": None}}]},
            {}, "messages[0]"),
    _cached("null", {"messages": [{**USER, "cache_control": None}]}, {}),
    _cached("null in a part",
            {"messages": [{"role": "user", "content": [_text("Hi", cache_control=None)]}]}, {}),
    _cached("of a user's message", {"messages": [{**USER, **_MARK}]}, {}, "messages[0]"),
    _cached("of a system message", {"messages": [{**_SYSTEM, **_MARK}, USER]},
            {"messages": [_SYSTEM, USER]}, "messages[0]"),
    _cached("of a developer's message",
            {"messages": [{**_SYSTEM, "role": "developer", **_MARK}, USER]},
            {"messages": [_SYSTEM, USER]}, "messages[0]"),
    _cached("of an assistant's message", _answered(content="Hi", **_MARK), _HI, "messages[1]"),
    _cached("of an assistant's part", _answered(content=[_text("Hi", **_MARK)]), _HI,
            "messages[1].content[0]"),
    _cached("of a result", _result(content="7", **_MARK), _SEVEN, "messages[2]"),
    _cached("of a result's part", _result(content=[_text("7", **_MARK)]), _SEVEN,
            "messages[2].content[0]"),
    _cached("of a tool", {"tools": [{**F, **_MARK}]}, {"tools": [F]}, "tools[0]"),
    _cached("of a tool's function", _defined(**_MARK), {"tools": [F]}, "tools[0].function"),
    _cached("of a custom tool", {"tools": [{"type": "custom", "custom": {"name": "g"}, **_MARK}]},
            {"tools": [{"type": "custom", "custom": {"name": "g"}}]}, "tools[0]"),
    _cached("of messages and tools", {"messages": [{**USER, **_MARK}], "tools": [{**F, **_MARK}]},
            {"tools": [F]}, "messages[0]", "tools[0]"),
    Row("cache_control: more than a header names",
        {"messages": [{**USER, **_MARK}] * 20}, {"messages": [USER] * 20},
        ", ".join(f"messages[{n}].cache_control" for n in range(16)) + ", and 4 more"),
    Row("cache_control: as many as a header names",
        {"messages": [{**USER, **_MARK}] * 16}, {"messages": [USER] * 16},
        ", ".join(f"messages[{n}].cache_control" for n in range(16))),
    _uncached("of another kind", {"type": "permanent"}, ".type", VALUE),
    _uncached("without a kind", {}, ".type", MISSING),
    _uncached("for ever", {**_HOUR, "ttl": "forever"}, ".ttl", VALUE),
    _uncached("with a field of nobody's", {**_HOUR, "foo": 1}, ".foo", UNKNOWN),
    _uncached("true", True, "", TYPE),
    _not("cache_control: of the request", "cache_control", UNKNOWN, {**_MARK}),
    _not("cache_control: of a call", "messages[1].tool_calls[0].cache_control", UNKNOWN,
         _called(**_MARK)),
]  # fmt: skip

_NAMED = {"type": "function", "function": {"name": "f"}}
_ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [F]}}
_TOOLS = [
    _idle("no tools", {"tools": []}),
    _idle("no tools, null", {"tools": None, "tool_choice": None, "parallel_tool_calls": None}),
    _idle("no tools, and none to be called", {"tools": [], "tool_choice": "none"}),
    _idle("no tools, and the model may choose", {"tools": [], "tool_choice": "auto"}),
    _idle("the choice without tools", {"tool_choice": "auto"}),
    _idle("DeepSeek's example", {"tools": None, "tool_choice": "none", "logprobs": False,
          "top_logprobs": None, "stop": None, "stream_options": None, "stream": False,
          "response_format": {"type": "text"}, "frequency_penalty": 0, "presence_penalty": 0}),
    _idle("several calls without tools", {"parallel_tool_calls": True}),
    _idle("one call without tools", {"parallel_tool_calls": False}),
    _idle("one call of no tools", {"tools": [], "parallel_tool_calls": False}),
    _idle("no functions", {"functions": []}),
    _idle("no functions, and the model may choose", {"functions": [], "function_call": "auto"}),
    _idle("the older choice without functions", {"function_call": "auto"}),
    _idle("no functions beside tools", {"tools": [F], "functions": []}, tools=[F]),
    _idle("no tools beside functions", {"tools": [], "functions": [{"name": "f"}]},
          functions=[{"name": "f"}]),
    _idle("the newer choice beside functions",
          {"functions": [{"name": "f"}], "tool_choice": "auto"}, functions=[{"name": "f"}]),
    _idle("the older choice beside tools", {"tools": [F], "function_call": "auto"}, tools=[F]),
    _idle("one call beside functions", {"functions": [{"name": "f"}], "parallel_tool_calls": False},
          functions=[{"name": "f"}]),
    _idle("a choice that is null", {"tools": [F], "tool_choice": None}, tools=[F]),
    _idle("strict null", _defined(strict=None), tools=[F]),
    _idle("strict false", _defined(strict=False), tools=[F]),
    _idle("an empty description", _defined(description=""), tools=[F]),
    _idle("a description that is null", _defined(description=None), tools=[F]),
    _idle("parameters that are null", _defined(parameters=None), tools=[F]),
    _idle("empty parameters", _defined(parameters={}), tools=[F]),
    _idle("parameters of no properties",
          _defined(parameters={"type": "object", "properties": {}}), tools=[F]),
    Row("parameters without a type", _defined(parameters={"properties": {"a": {}}}),
        shows='"parameters": {"properties": {"a": {}}}'),
    Row("zod: $schema", _defined(parameters={"type": "object", "properties": {}, "$schema": "x"}),
        shows='"$schema": "x"'),
    Row("functions' parameters that are null", {"functions": [{"name": "f", "parameters": None}]},
        {"functions": [{"name": "f"}]}),
    Row("functions' empty parameters", {"functions": [{"name": "f", "parameters": {}}]},
        {"functions": [{"name": "f"}]}),
    _not("a call of no tools is required", "tool_choice", VALUE,
         {"tools": [], "tool_choice": "required"}),
    _not("a call is required without tools", "tool_choice", VALUE, {"tool_choice": "required"}),
    _not("a tool is named without tools", "tool_choice", VALUE, {"tool_choice": _NAMED}),
    _not("a tool is allowed without tools", "tool_choice", VALUE, {"tool_choice": _ALLOWED}),
    _not("a tool is named, and tools are empty", "tool_choice", VALUE,
         {"tools": [], "tool_choice": _NAMED}),
    _not("a function is named without functions", "function_call", VALUE,
         {"functions": [], "function_call": {"name": "f"}}),
    _not("a call is required of functions", "tool_choice", VALUE,
         {"functions": [{"name": "f"}], "tool_choice": "required"}),
    _not("Mistral: any", "tool_choice", VALUE, {"tools": [F], "tool_choice": "any"}),
    _not("an empty choice", "tool_choice", VALUE, {"tool_choice": ""}),
    _not("Anthropic's choice", "tool_choice.type", VALUE,
         {"tools": [F], "tool_choice": {"type": "any"}}),
    _not("tools of the Responses API", "tools[0].function", MISSING,
         {"tools": [{"type": "function", "name": "f", "parameters": {}}]}),
    _not("tools of Anthropic's API", "tools[0].type", MISSING,
         {"tools": [{"name": "f", "input_schema": {"type": "object"}}]}),
    _not("a server's tool", "tools[0].type", VALUE, {"tools": [{"type": "web_search"}]}),
    _not("parallel calls as text", "parallel_tool_calls", TYPE, {"parallel_tool_calls": "false"}),
    _not("parameters as a list", "tools[0].function.parameters", TYPE, _defined(parameters=[])),
]  # fmt: skip

_LONG = "u" * 1_024
_OTHERS = [
    _idle("Dify: no stop strings", {"stop": []}),
    _idle("stop null", {"stop": None}),
    _idle("top_k off as vLLM has it", {"top_k": -1}),
    _idle("top_k off", {"top_k": 0}),
    Row("top_k of one", {"top_k": 1}, {"top_k": 1, "stop": []}),
    _idle("no biases", {"logit_bias": {}}),
    _idle("biases null", {"logit_bias": None}),
    _idle("no metadata", {"metadata": {}}),
    _idle("metadata null", {"metadata": None}),
    _idle("LM Studio: no bound", {"max_tokens": -1}),
    _idle("no bound under the newer name", {"max_completion_tokens": -1}),
    _idle("no bound under both names", {"max_tokens": -1, "max_completion_tokens": -1}),
    _idle("no bound, and the newer name's", {"max_tokens": -1, "max_completion_tokens": 3},
          max_completion_tokens=3),
    _idle("bounds null", {"max_tokens": None, "max_completion_tokens": None}),
    _idle("the older bound beside null", {"max_tokens": 3, "max_completion_tokens": None},
          max_tokens=3),
    _idle("all null", dict.fromkeys(
        ("temperature", "top_p", "frequency_penalty", "presence_penalty", "logprobs",
         "top_logprobs", "n", "stop", "stream", "user", "safety_identifier", "modalities",
         "response_format", "functions", "function_call", "prediction", "prompt_cache_key",
         "reasoning_effort", "verbosity", "service_tier", "store", "audio", "web_search_options",
         "top_k", "min_p", "min_tokens", "ignore_eos"))),
    _idle("text as the format", {"response_format": {"type": "text"}}),
    _idle("text as the modality", {"modalities": ["text"]}),
    _idle("n of one", {"n": 1}),
    _idle("not stored", {"store": False}),
    _idle("a long user", {"user": _LONG}),
    _idle("a user of one character more than the newer field takes", {"user": "u" * 65}),
    _idle("an empty user", {"user": ""}),
    _idle("a long user and a safety identifier", {"user": _LONG, "safety_identifier": "s" * 64}),
    _idle("no stream options", {"stream_options": {}}),
    _idle("stream options null", {"stream_options": None}),
    _idle("stream options that are null", {"stream": False,
          "stream_options": {"include_usage": None, "include_obfuscation": None}}),
    _idle("usage of no stream is not wanted", {"stream_options": {"include_usage": False}}),
    _idle("no obfuscation of no stream", {"stream_options": {"include_obfuscation": False}}),
    Row("strict null in a format",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "strict": None,
         "description": None, "schema": {"type": "object"}}}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a",
         "schema": {"type": "object"}}}}),
    _not("usage of no stream", "stream_options", VALUE,
         {"stream_options": {"include_usage": True}}),
    _not("obfuscation of no stream", "stream_options", VALUE,
         {"stream": False, "stream_options": {"include_obfuscation": True}}),
    _not("vLLM: usage in each chunk", "stream_options.continuous_usage_stats", UNKNOWN,
         {"stream": True, "stream_options": {"continuous_usage_stats": True}}),
    _not("a user without end", "user", "string_above_max_length", {"user": _LONG + "u"}),
    _not("Open WebUI: a user as an object", "user", TYPE, {"user": {"id": "u1"}}),
    _not("a long safety identifier", "safety_identifier", "string_above_max_length",
         {"safety_identifier": "s" * 65}),
    _not("no tokens", "max_tokens", "integer_below_min_value", {"max_tokens": 0}),
    _not("fewer tokens than none", "max_tokens", "integer_below_min_value", {"max_tokens": -2}),
    _not("no bound as a decimal", "max_tokens", TYPE, {"max_tokens": -1.0}),
    _not("no bound as text", "max_completion_tokens", TYPE, {"max_completion_tokens": "-1"}),
    _not("top_k below off", "top_k", "integer_below_min_value", {"top_k": -2}),
    _not("an empty stop string", "stop", "empty_string", {"stop": ""}),
    _not("a stop string of null", "stop[0]", TYPE, {"stop": [None]}),
    _not("a system prompt beside the messages", "system", UNKNOWN, {"system": "Be brief"}),
    _not("LiteLLM: drop_params", "drop_params", UNKNOWN, {"drop_params": True}),
    _not("openai: extra_body that was not unpacked", "extra_body", UNKNOWN, {"extra_body": {}}),
    _not("OpenRouter: transforms", "transforms", UNKNOWN, {"transforms": []}),
    _not("Open WebUI: chat_id", "chat_id", UNKNOWN, {"chat_id": "x"}),
    _not("a picture", "messages[0].content[0]", LATER,
         {"messages": [{"role": "user", "content": [IMAGE]}]}),
    _not("a picture with a cache mark", "messages[0].content[0]", LATER,
         {"messages": [{"role": "user", "content": [{**IMAGE, **_MARK}]}]}),
    _not("Anthropic's picture", "messages[0].content[0].type", VALUE,
         {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}),
    _not("a part of the Responses API", "messages[0].content[0].type", VALUE,
         {"messages": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]}),
]  # fmt: skip

ROWS = (*_ECHOES, *_THOUGHTS, *_CALLS, *_RESULTS, *_CACHE, *_TOOLS, *_OTHERS)
