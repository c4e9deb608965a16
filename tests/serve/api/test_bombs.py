"""Grammars meant to do harm are refused or harmless, and other streams never notice."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support import bombs
from support.real_house import RealHouse, random_engine, real_house

TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.content[:99] }}<|im_end|>{% endfor %}"
CONTROLS = ("<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>")
# Those that do no harm where nothing else than bytes can be said, and are followed.
FOLLOWED = {
    *("nested quantifiers", "overlapping alternatives", "100,000 repetitions"),
    *("100,000 repetitions of a group", "counting backwards", "counting backwards, far"),
    *("unicode classes", "exponential ways", "deep recursion", "300 terminals at once"),
    *("arrays of a 1,000 arrays", "a long string", "recursion by many ways"),
}


def body(**fields: Any) -> dict[str, Any]:
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 150}
    return {**asked, "temperature": 2, "seed": 1, **fields}


def by_format(schema: Any) -> tuple[dict[str, Any], str]:
    wanted = {"name": "bomb", "schema": schema, "strict": True}
    fields = {"response_format": {"type": "json_schema", "json_schema": wanted}}
    return fields, "response_format.json_schema.schema"


def by_function(schema: Any) -> tuple[dict[str, Any], str]:
    nested = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    if "$defs" in schema:
        nested |= {"$defs": schema["$defs"]}
        nested["properties"] = {"a": {"$ref": schema["$ref"]}}
    tool = {"name": "f", "parameters": nested, "strict": True}
    fields = {"tools": [{"type": "function", "function": tool}], "tool_choice": "required"}
    return fields, "tools[0].function.parameters"


def by_custom(syntax: str, definition: str) -> tuple[dict[str, Any], str]:
    grammar = {"syntax": syntax, "definition": definition}
    tool = {"name": "f", "format": {"type": "grammar", "grammar": grammar}}
    fields = {"tools": [{"type": "custom", "custom": tool}], "tool_choice": "required"}
    return fields, "tools[0].custom.format.grammar.definition"


BOMBS = [
    *((name, *by_format(schema)) for name, schema in bombs.SCHEMAS.items()),
    *((name, *by_function(schema)) for name, schema in bombs.SCHEMAS.items()),
    *((name, *by_custom("regex", source)) for name, source in bombs.REGEXES.items()),
    *((name, *by_custom("lark", source)) for name, source in bombs.LARKS.items()),
]


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    engine = random_engine(256 + len(CONTROLS))
    yield engine
    engine.stop()


@asynccontextmanager
async def disturbed(engine: Any, make_tokenizer: Any, **settings: Any) -> AsyncIterator[RealHouse]:
    """A house in which two streams run over and over, and say the same each time."""
    tokenizer = make_tokenizer((), CONTROLS)
    ends = frozenset({tokenizer.controls["<|im_end|>"]})
    async with real_house(
        engine, tokenizer, TEMPLATE, ends, tool_format="hermes", **settings
    ) as house:
        asked = body(n=2, seed=5, stream=True, ignore_eos=True)
        alone = await house.choices(asked)
        over, runs = asyncio.Event(), 0

        async def stream() -> int:
            runs = 0
            while not over.is_set():
                assert await house.choices(asked) == alone
                runs += 1
            return runs

        streaming = asyncio.create_task(stream())
        yield house
        over.set()
        runs = await streaming
        assert runs


async def set_off(house: RealHouse, fields: dict[str, Any], param: str, *, stream: bool) -> str:
    """What becomes of a bomb: `refused`, `given up`, or a finish_reason."""
    response = await house.post(body(**fields, stream=stream))
    data = (await response.get_data()).decode()
    if response.status_code == 200 and not stream:
        return json.loads(data)["choices"][0]["finish_reason"]
    last = json.loads(data.removesuffix("data: [DONE]\n\n").rstrip().split("data: ")[-1])
    if "error" not in last:
        return last["choices"][0]["finish_reason"]
    error = last["error"]
    assert error["code"] == "invalid_value"
    if error["message"].startswith("The answer was given up: "):
        assert error["param"] == param.partition("[")[0].partition(".")[0]
        assert "cannot be followed any further" in error["message"]
        return "given up"
    assert response.status_code == 400
    assert error["param"].startswith(param) or error["param"] == "tools"
    return "refused"


async def test_bombs_are_refused_or_harmless(engine: Any, make_tokenizer: Any) -> None:
    """A refusal comes before there is a stream; what is followed is followed in one too."""
    async with disturbed(engine, make_tokenizer, schema_in_prompt=False) as house:
        for name, fields, param in BOMBS:
            for stream in (False, True) if name in FOLLOWED else (False,):
                outcome = await set_off(house, fields, param, stream=stream)
                assert (outcome != "refused") == (name in FOLLOWED), (name, param, outcome)
                assert await house.choices(body(max_tokens=3))
    assert engine.stats.running == 0


async def test_what_is_given_up_on_the_way_takes_nothing_with_it(
    engine: Any, make_tokenizer: Any
) -> None:
    """Ways that grow with the length of the answer, which no trial foresees."""
    fields, param = by_custom("lark", bombs.LARKS["exponential ways"])
    outcomes = set()
    async with disturbed(engine, make_tokenizer) as house:
        for stream in (False, True):
            asked = {**fields, "max_tokens": 400}
            asked["logit_bias"] = {str(ord("a")): 100}
            outcomes.add(await set_off(house, asked, param, stream=stream))
            fields["tools"][0]["custom"]["name"] += "g"
    assert outcomes <= {"given up", "refused"}
    assert "given up" in outcomes


@pytest.mark.parametrize("levels", [70, 5_000])
async def test_deep_and_large_bodies_are_refused(
    engine: Any, make_tokenizer: Any, levels: int
) -> None:
    large = {"enum": ["x" * 1_000] * 10_000}
    async with disturbed(engine, make_tokenizer, max_body_bytes=2**25) as house:
        for wrapped in (by_format, by_function):
            fields, _ = wrapped(large)
            refused = await house.post(body(**fields))
            error = (await refused.get_json())["error"]
            assert (refused.status_code, error["code"]) == (400, "invalid_value")
            assert "make it smaller" in error["message"]
            text = json.dumps(body(**wrapped({"type": "LEAF"})[0]))
            deep = '{"items":' * levels + "{}" + "}" * levels
            text = text.replace('{"type": "LEAF"}', deep)
            refused = await house.client.post(
                "/v1/chat/completions", data=text, headers={"Content-Type": "application/json"}
            )
            assert refused.status_code == 400, await refused.get_data()


async def test_tools_that_are_dear_together_are_refused(engine: Any, make_tokenizer: Any) -> None:
    """128 functions, each of which could be compiled alone, share one request's time."""
    tools = [
        {
            "type": "function",
            "function": {
                "name": f"f{number}",
                "strict": True,
                "parameters": {
                    "type": "object",
                    "properties": {
                        "n": {"type": "integer", "multipleOf": 9_973 + number},
                    },
                },
            },
        }
        for number in range(128)
    ]
    async with disturbed(engine, make_tokenizer, grammar_seconds=0.5) as house:
        refused = await house.post(body(tools=tools))
        error = (await refused.get_json())["error"]
    assert refused.status_code == 400, error
    assert error["param"].startswith("tools[")
    assert "too much time" in error["message"]
