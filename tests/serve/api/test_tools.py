"""Tools over HTTP, on models of random weights that cooperate in nothing."""

import asyncio
import json
import random
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from lark import Lark
from lark.exceptions import LarkError
from support.families import FAMILIES, HERMES, VOCABULARY, Family, Running
from support.real_house import random_engine

SCHEMAS = {
    "search": {
        "type": "object",
        "properties": {
            "query": {"type": "string", "maxLength": 4},
            "limit": {"type": "integer", "minimum": 1, "maximum": 99},
        },
        "required": ["query"],
        "additionalProperties": False,
    },
    "paint": {
        "type": "object",
        "properties": {
            "where": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2},
            "clé": {"enum": ["é", None, 1]},
        },
        "required": ["where", "clé"],
        "additionalProperties": False,
    },
    "stop": None,
}
LARK = 'start: "(" item ("," item)* ")"\nitem: /[a-c]/ | start | "}"\n// nothing more }\n'
REGEX = r"[0-9]{2}/[a-cé]+"
# Of `tool_choice`: how many there are in `forms_of_tool_choice`.
FORMS = 8


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    """One for all families: it knows ids only. With a row for two choices of every form."""
    engine = random_engine(VOCABULARY, rows=2 * FORMS)
    yield engine
    engine.stop()


@pytest.fixture(params=FAMILIES, ids=lambda family: family.tool_format)
def running(request: pytest.FixtureRequest, make_tokenizer: Any, engine: Any) -> Running:
    return Running.of(request.param, make_tokenizer, engine)


@pytest.fixture
def hermes(make_tokenizer: Any, engine: Any) -> Running:
    return Running.of(HERMES, make_tokenizer, engine)


def function(name: str, *, strict: bool = True) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "strict": strict}
    if SCHEMAS[name] is not None:
        made["parameters"] = SCHEMAS[name]
    return {"type": "function", "function": made}


def custom(name: str, **grammar: str) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name}
    if grammar:
        ((syntax, definition),) = grammar.items()
        made["format"] = {
            "type": "grammar",
            "grammar": {"syntax": syntax, "definition": definition},
        }
    return {"type": "custom", "custom": made}


CUSTOMS = (custom("nest", lark=LARK), custom("rx", regex=REGEX), custom("say"))


def random_tools(generator: random.Random, strict: bool) -> list[dict[str, Any]]:
    tools = [*(function(name, strict=strict) for name in SCHEMAS), *CUSTOMS]
    return generator.sample(tools, len(tools))


def named(tool: dict[str, Any]) -> dict[str, Any]:
    kind = tool["type"]
    return {"type": kind, kind: {"name": tool[kind]["name"]}}


def name_of(tool: dict[str, Any]) -> str:
    return tool[tool["type"]]["name"]


def body(**fields: Any) -> dict[str, Any]:
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 120}
    return {**asked, "temperature": 2, **fields}


def forms_of_tool_choice(generator: random.Random, tools: list[dict[str, Any]]) -> list[Any]:
    some = [named(tool) for tool in generator.sample(tools, 2)]
    functions = [tool for tool in tools if tool["type"] == "function"]
    customs = [tool for tool in tools if tool["type"] == "custom"]
    return [
        None,
        "auto",
        "required",
        "none",
        named(generator.choice(functions)),
        named(generator.choice(customs)),
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": some}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": some}},
    ]


def check_call(call: dict[str, Any]) -> str:
    """A finished call is one that its tool takes; its name."""
    assert re.fullmatch(r"call_[0-9A-Za-z]{24}", call["id"])
    said = call[call["type"]]
    if call["type"] == "function":
        arguments = json.loads(said["arguments"])
        nothing = {"type": "object", "additionalProperties": False}
        jsonschema.validate(arguments, SCHEMAS[said["name"]] or nothing)
    elif said["name"] == "nest":
        Lark(LARK).parse(said["input"])
    elif said["name"] == "rx":
        assert re.fullmatch(REGEX, said["input"])
    return said["name"]


def check_choice(asked: dict[str, Any], choice: dict[str, Any], *, several: bool) -> None:
    """What the request asks for holds in an answer."""
    message, reason = choice["message"], choice["finish_reason"]
    calls = message.get("tool_calls", [])
    wanted = asked["tool_choice"]
    allowed = {name_of(tool) for tool in asked["tools"]}
    mode = "required" if isinstance(wanted, dict) else wanted or "auto"
    if isinstance(wanted, dict) and wanted["type"] == "allowed_tools":
        mode = wanted["allowed_tools"]["mode"]
        allowed = {name_of(tool) for tool in wanted["allowed_tools"]["tools"]}
    elif isinstance(wanted, dict):
        allowed = {name_of(wanted)}
        assert len(calls) <= 1
    if not (several and asked["parallel_tool_calls"] is not False):
        assert len(calls) <= 1
    assert reason == "length" or reason == ("tool_calls" if calls else "stop")
    finished = calls if reason != "length" else calls[:-1]
    assert {check_call(call) for call in finished} <= allowed
    assert {call[call["type"]]["name"] for call in calls} <= allowed
    if mode == "none":
        assert not calls
        assert message["content"] is not None
    if mode == "required":
        assert message["content"] is None
        assert calls or reason == "length"


def without_ids(choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Choices as they can be compared: ids of calls are drawn anew for each answer."""
    told = json.loads(json.dumps(choices))
    for choice in told:
        for call in choice["message"].get("tool_calls", ()):
            del call["id"]
        choice["logprobs"] = choice["logprobs"] or {"content": [], "refusal": None}
    return told


def random_request(running: Running, seed: int, form: int, **fields: Any) -> dict[str, Any]:
    """A request with the tool_choice of that number."""
    generator = random.Random(seed)
    tools = random_tools(generator, fields.pop("strict"))
    choice = forms_of_tool_choice(generator, tools)[form]
    return body(tools=tools, tool_choice=choice, logit_bias=running.bias, seed=seed, **fields)


@pytest.mark.parametrize("parallel_tool_calls", [None, False])
async def test_every_form_of_the_choice_is_kept(
    running: Running, parallel_tool_calls: bool | None
) -> None:
    """Also: the stream, put together again, is the plain answer. Each family is half strict."""
    turn = FAMILIES.index(running.family) + (parallel_tool_calls is None)
    fields = {"parallel_tool_calls": parallel_tool_calls, "logprobs": True, "n": 2}
    asked = [
        random_request(running, form, form, strict=(turn + form) % 2 == 0, **fields)
        for form in range(FORMS)
    ]
    async with running.house() as house:
        plain = await asyncio.gather(*map(house.choices, asked))
        streamed = await asyncio.gather(*(house.choices({**a, "stream": True}) for a in asked))
    for each, choices, again in zip(asked, plain, streamed, strict=True):
        assert without_ids(again) == without_ids(choices)
        for choice in choices:
            check_choice(each, choice, several=running.family.several)
            text = b"".join(bytes(e["bytes"]) for e in choice["logprobs"]["content"])
            assert text.decode(errors="replace").startswith(choice["message"]["content"] or "")


@pytest.fixture(scope="module")
def wide_engine() -> Iterator[Any]:
    """For many requests at a time."""
    engine = random_engine(VOCABULARY, rows=32)
    yield engine
    engine.stop()


@pytest.mark.slow
@pytest.mark.parametrize("strict", [False, True], ids=["loose", "strict"])
@pytest.mark.parametrize("parallel_tool_calls", [None, False, True])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.tool_format)
async def test_every_form_is_kept_a_hundred_times(
    wide_engine: Any,
    make_tokenizer: Any,
    family: Family,
    parallel_tool_calls: bool | None,
    strict: bool,
) -> None:
    """Each form × parallel_tool_calls × strict is asked 100 times over all families."""
    running = Running.of(family, make_tokenizer, wide_engine)
    fields = {"parallel_tool_calls": parallel_tool_calls, "strict": strict, "max_tokens": 80}
    asked = [
        random_request(running, 1_000 + seed, form, stream=seed % 2 == 1, **fields)
        for seed in range(-(-100 // len(FAMILIES)))
        for form in range(FORMS)
    ]
    async with running.house() as house:
        answers = await asyncio.gather(*map(house.choices, asked))
    for each, choices in zip(asked, answers, strict=True):
        for choice in choices:
            check_choice(each, choice, several=family.several)


async def test_functions_are_called_in_the_older_form(running: Running) -> None:
    functions = [
        {"name": name, **({} if schema is None else {"parameters": schema})}
        for name, schema in SCHEMAS.items()
    ]
    asked = [
        body(functions=functions, function_call=choice, logit_bias=running.bias, seed=seed, n=4)
        for seed, choice in enumerate([None, "auto", "none", {"name": "paint"}])
    ]
    reasons: set[str] = set()
    async with running.house() as house:
        plain = await asyncio.gather(*map(house.choices, asked))
        streamed = await asyncio.gather(*(house.choices({**a, "stream": True}) for a in asked))
    assert streamed == plain
    for each, choice in (
        (each, choice) for each, some in zip(asked, plain, strict=True) for choice in some
    ):
        function_call = each["function_call"]
        message, reason = choice["message"], choice["finish_reason"]
        reasons.add(reason)
        assert "tool_calls" not in message
        called = message.get("function_call")
        assert reason == "length" or reason == ("function_call" if called else "stop")
        if called and reason != "length":
            jsonschema.validate(
                json.loads(called["arguments"]),
                SCHEMAS[called["name"]] or {"maxProperties": 0},
            )
        if function_call == "none":
            assert called is None
        if isinstance(function_call, dict):
            assert message["content"] is None
            assert called is None or called["name"] == "paint"
    assert "function_call" in reasons


async def test_an_answer_beside_calls_follows_the_response_format(running: Running) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    schema |= {"additionalProperties": False}
    wanted = {"name": "verdict", "schema": schema, "strict": True}
    asked = [
        body(
            tools=[function("paint")],
            response_format={"type": "json_schema", "json_schema": wanted},
            logit_bias=running.bias if seed % 2 else {},
            seed=seed,
            n=2,
        )
        for seed in range(6)
    ]
    async with running.house() as house:
        answers = await asyncio.gather(*map(house.choices, asked))
    contents, calls = [], 0
    for choice in (choice for choices in answers for choice in choices):
        message = choice["message"]
        if choice["finish_reason"] == "stop":
            jsonschema.validate(json.loads(message["content"]), schema)
            contents.append(message["content"])
        elif choice["finish_reason"] == "tool_calls":
            assert message["content"] is None
            calls += len([check_call(call) for call in message["tool_calls"]])
    assert contents or calls


async def test_a_truncated_call_says_length(hermes: Running) -> None:
    async with hermes.house() as house:
        asked = body(tools=[function("paint")], tool_choice="required", seed=1)
        (whole,) = await house.choices(asked)
        text = whole["message"]["tool_calls"][0]["function"]["arguments"]
        seen = set[str | None]()
        for bound in range(1, 80, 3):
            (cut,) = await house.choices({**asked, "max_tokens": bound})
            (streamed,) = await house.choices({**asked, "max_tokens": bound, "stream": True})
            assert without_ids([streamed]) == without_ids([cut])
            calls = cut["message"].get("tool_calls", [])
            if cut["finish_reason"] == "length":
                seen.add(calls[0]["function"]["arguments"] if calls else None)
                assert cut["message"]["content"] is None
    assert None in seen
    assert len(seen) > 5
    assert all(text.startswith(part) for part in seen if part is not None)


async def test_a_call_cut_in_its_opening_words_leaves_no_trace(running: Running) -> None:
    async with running.house() as house:
        asked = body(tools=[function("paint")], tool_choice="required", seed=1)
        seen = set[bool]()
        for bound in (*range(1, 12), 20, 40):
            (cut,) = await house.choices({**asked, "max_tokens": bound})
            (streamed,) = await house.choices({**asked, "max_tokens": bound, "stream": True})
            assert without_ids([streamed]) == without_ids([cut])
            assert cut["message"]["content"] is None
            seen.add("tool_calls" in cut["message"])
    assert False in seen


async def test_stop_strings_end_content_but_not_calls(hermes: Running) -> None:
    async with hermes.house() as house:
        quote = body(tools=[function("paint")], tool_choice="required", seed=1, stop=['"', ":"])
        (choice,) = await house.choices(quote)
        assert choice["finish_reason"] == "tool_calls"
        check_call(choice["message"]["tool_calls"][0])
        ends = set[str]()
        for seed in range(4):
            free = body(tools=[function("paint")], seed=seed, max_tokens=40)
            (choice,) = await house.choices(free)
            letters = choice["message"]["content"]
            (stopped,) = await house.choices({**free, "stop": letters[3], "logprobs": True})
            kept = stopped["message"]["content"] or ""
            assert kept == letters[: letters.index(letters[3])]
            assert len(stopped["logprobs"]["content"]) == len(kept.encode())
            ends.add(stopped["finish_reason"])
        assert ends == {"stop"}


async def test_usage_counts_the_tokens_of_calls(hermes: Running) -> None:
    async with hermes.house() as house:
        asked = body(tools=[function("stop")], tool_choice="required", seed=1)
        response = await (await house.post(asked)).get_json()
        (call,) = response["choices"][0]["message"]["tool_calls"]
        assert call["function"] == {"name": "stop", "arguments": "{}"}
        written = '\n{"name": "stop", "arguments": {}}\n'
        assert response["usage"]["completion_tokens"] == 2 + len(written)


async def test_bans_hold_in_calls_too(hermes: Running) -> None:
    banned = {str(ord(digit)): -100 for digit in "23456789"}
    async with hermes.house() as house:
        for seed in range(5):
            asked = body(tools=[function("search")], tool_choice="required", seed=seed, n=2)
            for choice in await house.choices({**asked, "logit_bias": banned}):
                for call in choice["message"]["tool_calls"]:
                    assert not re.search("[2-9]", call["function"]["arguments"])


def test_the_oracle_of_nested_brackets_can_fail() -> None:
    with pytest.raises(LarkError):
        Lark(LARK).parse("(a")
