"""Numbers that schemas leave free end: in calls of every family, and in what an engine answers."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.digits import Choose, check, draw, numbers_in, random_model, significant
from support.families import CHATML, FAMILIES, HERMES, VOCABULARY, Family, Running
from support.real_house import random_engine

from serve.api.asking.answer_schema import AnswerSchema
from serve.api.asking.asked_tools import AskedTools
from serve.api.asking.constraint import Constraints
from serve.engine.types import Constraint
from serve.grammar.banned_words import WordBans
from serve.grammar.compiler import GrammarCompiler
from serve.text.calls.detect import FORMATS
from serve.text.calls.tools import Choice, FunctionTool

SCHEMAS: list[Mapping[str, Any]] = [
    {},
    {"type": "object"},
    {"properties": {"a": {"type": "array", "items": {"type": "number"}}}, "required": ["a"]},
]
TOOLS = tuple(FunctionTool(f"get_{number}", schema) for number, schema in enumerate(SCHEMAS))
OBJECT = AnswerSchema({"type": "object"}, True, "response_format", "")


def answers(
    family: Family, make_tokenizer: Any, choice: Choice, schema: AnswerSchema | None = None
) -> Iterator[str]:
    """Fifty answers of random models that like digits, and begin calls where they may."""
    tokenizer = make_tokenizer(family.pieces, CHATML + family.controls)
    size = tokenizer.vocab_size
    ends = frozenset(tokenizer.controls[name] for name in family.ends)
    grammars = GrammarCompiler(tokenizer, size, ends)
    bans = WordBans(tokenizer, size, ends)
    constraints = Constraints(grammars, FORMATS[family.tool_format], tokenizer.controls, bans)
    callable_ = () if choice.mode == "none" else TOOLS
    asked = AskedTools(TOOLS, callable_, choice, ("tools",) * len(TOOLS))
    constraint = asyncio.run(constraints.compiled(schema, asked))
    assert constraint is not None
    rng = np.random.default_rng(len(family.tool_format))
    for _ in range(50):
        yield said(constraint, random_model(rng, size, b"0123456789"), size, ends)


def said(constraint: Constraint, model: Choose, size: int, ends: frozenset[int]) -> str:
    def choose(allowed: NDArray[np.intp]) -> int:
        calls = allowed[allowed >= 256]
        calls = calls[~np.isin(calls, list(ends))]
        return int(calls[0]) if calls.size else model(allowed)

    return draw(constraint, choose, size, ends, 150)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.tool_format)
def test_in_calls_of_tools_without_a_schema(family: Family, make_tokenizer: Any) -> None:
    found: list[str] = []
    for choice in (Choice("required"), Choice("auto")):
        for text in answers(family, make_tokenizer, choice):
            start = min((at for tool in TOOLS if (at := text.find(tool.name)) >= 0), default=None)
            assert choice.mode == "auto" or start is not None, text
            # Of the first call: what stands after it may be text.
            arguments = "" if start is None else text[start + 5 :].partition("{")[2]
            found += numbers_in(arguments.partition("}")[0])
    for number in found:
        check(number)
    assert max(map(significant, found)) == 17


def test_in_answers_beside_calls(make_tokenizer: Any) -> None:
    found = [
        number
        for text in answers(HERMES, make_tokenizer, Choice("none"), OBJECT)
        for number in numbers_in(text)
    ]
    for number in found:
        check(number)
    assert found


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    engine = random_engine(VOCABULARY, rows=16)
    yield engine
    engine.stop()


FUNCTIONS = [{"name": tool.name, "parameters": tool.schema} for tool in TOOLS]
ASKED: dict[str, dict[str, Any]] = {
    "json_object": {"response_format": {"type": "json_object"}},
    "anything": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
    },
    "tools": {
        "tools": [{"type": "function", "function": each} for each in FUNCTIONS],
        "tool_choice": "required",
    },
    "functions": {"functions": FUNCTIONS, "function_call": {"name": "get_1"}},
}


@pytest.mark.parametrize("name", ASKED)
async def test_in_what_an_engine_answers(name: str, make_tokenizer: Any, engine: Any) -> None:
    """Of random weights, at temperature 2, and with a liking for digits."""
    running = Running.of(HERMES, make_tokenizer, engine)
    liked = {str(ord(digit)): 4.0 for digit in "0123456789."}
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "n": 8}
    asked |= {"temperature": 2, "max_tokens": 120, "seed": 1, "logit_bias": liked, **ASKED[name]}
    async with running.house() as house:
        choices = await house.choices(asked)
    texts: list[str] = []
    for choice in choices:
        message = choice["message"]
        calls = message.get("tool_calls") or []
        texts += [call["function"]["arguments"] for call in calls]
        texts += [message[key]["arguments"] for key in ("function_call",) if message.get(key)]
        texts += [message["content"] or ""]
    found = [number for text in texts for number in numbers_in(text)]
    for number in found:
        check(number)
    assert found
