"""Thoughts of a model of random weights at temperature 2: budgets, forms, calls, every token."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.families import CHATML, VOCABULARY
from support.real_house import RealHouse, random_engine, real_house

from serve.api.answering.choices import Answer
from serve.engine.types import TokenEvent
from serve.text.thoughts.detect import MISTRAL, THINK
from serve.text.thoughts.format import ThoughtFormat

CONTROLS = (*CHATML, "<tool_call>", "</tool_call>")
WHITE_SPACE = b" \t\n\r\v\f"
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.content[:9] }}<|im_end|>{% endfor %}"
    "{% if opened %}OPENING\n{% endif %}"
)
BUDGETS = {"minimal": 0, "low": 1, "medium": 5, "high": 11, "xhigh": 17}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "boolean"}, "b": {"enum": ["é", 1]}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
TOOL = {"type": "function", "function": {"name": "f", "strict": True, "parameters": SCHEMA}}


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    engine = random_engine(VOCABULARY, rows=16)
    yield engine
    engine.stop()


@pytest.fixture(params=[THINK, MISTRAL], ids=lambda format_: format_.name)
def format_(request: pytest.FixtureRequest) -> ThoughtFormat:
    return request.param


@pytest.fixture
def tokenizer(make_tokenizer: Any, format_: ThoughtFormat) -> Any:
    return make_tokenizer((), (format_.opening, format_.closing, *CONTROLS))


def tags(tokenizer: Any) -> list[int]:
    """The tokens that open and close thoughts."""
    return list(tokenizer.controls.values())[:2]


@pytest.fixture
async def house(engine: Any, tokenizer: Any, format_: ThoughtFormat) -> AsyncIterator[RealHouse]:
    ends = frozenset({tokenizer.controls["<|im_end|>"]})
    settings: dict[str, Any] = {
        "tool_format": "hermes",
        "reasoning_format": format_.name,
        "reasoning_budgets": BUDGETS,
        "show_reasoning": True,
    }
    template = TEMPLATE.replace("OPENING", format_.opening)
    async with real_house(engine, tokenizer, template, ends, **settings) as house:
        yield house


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[int, int], list[int]]:
    """The tokens that the engine tells, by answer and choice."""
    tokens: dict[tuple[int, int], list[int]] = defaultdict(list)
    feed = Answer.feed

    def recorded(answer: Answer, batch: Sequence[TokenEvent]) -> Any:
        for event in batch:
            tokens[id(answer), event.choice] += [] if event.token is None else [event.token]
        # Kept alive, so that no other gets its id.
        kept.append(answer)
        return feed(answer, batch)

    kept: list[Answer] = []
    monkeypatch.setattr(Answer, "feed", recorded)
    return tokens


def body(tokenizer: Any, seed: int, *, opened: bool, **fields: Any) -> dict[str, Any]:
    """A request whose answers like to open thoughts, to close them, and to end."""
    opening, closing = tags(tokenizer)
    bias = {str(tokenizer.controls[name]): 3 for name in ("<|im_end|>", "<tool_call>")}
    bias |= {str(opening): 6, str(closing): 2}
    return {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 2,
        "max_tokens": 70,
        "n": 10,
        "seed": seed,
        "logit_bias": {**bias, **{str(ord(each)): 2 for each in '"}{'}},
        "chat_template_kwargs": {"opened": opened},
        **fields,
    }


def thought_of(tokens: Sequence[int], tokenizer: Any, *, opened: bool) -> int:
    """Tokens between the markers, told from ids alone."""
    opening, closing = tags(tokenizer)
    said = list(tokens)
    if not opened:
        begun = said.index(opening) if opening in said else len(said)
        # Of ids past the vocabulary there are no words.
        before = [token for token in said[:begun] if token < tokenizer.vocab_size]
        if opening not in said or any(token >= 256 or token not in WHITE_SPACE for token in before):
            return 0
        said = said[begun + 1 :]
    return said.index(closing) if closing in said else len(said)


@pytest.mark.parametrize("opened", [True, False], ids=["opened", "undecided"])
@pytest.mark.parametrize("level", BUDGETS)
async def test_budgets_hold_to_the_token(
    house: RealHouse, tokenizer: Any, sampled: dict[Any, list[int]], level: str, opened: bool
) -> None:
    asked = [
        body(tokenizer, seed, opened=opened, reasoning_effort=level, max_tokens=30)
        for seed in range(10)
    ]
    responses = await asyncio.gather(*map(house.post, asked))
    usages = [(await response.get_json())["usage"] for response in responses]
    thought = [thought_of(tokens, tokenizer, opened=opened) for tokens in sampled.values()]
    assert len(thought) == 100
    assert max(thought) == BUDGETS[level]
    told = sum(usage["completion_tokens_details"]["reasoning_tokens"] for usage in usages)
    assert told == sum(thought)
    assert sum(usage["completion_tokens"] for usage in usages) == sum(map(len, sampled.values()))


@pytest.mark.parametrize("opened", [True, False], ids=["opened", "undecided"])
async def test_none_thinks_nothing(
    house: RealHouse, tokenizer: Any, sampled: dict[Any, list[int]], opened: bool
) -> None:
    opening, closing = tags(tokenizer)
    asked = [
        body(tokenizer, seed, opened=opened, reasoning_effort="none", max_tokens=30)
        for seed in range(10)
    ]
    for each in asked:
        del each["logit_bias"][str(closing)]
    responses = await asyncio.gather(*map(house.post, asked))
    for answer in [await response.get_json() for response in responses]:
        assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0
        assert not any("reasoning_content" in choice["message"] for choice in answer["choices"])
    assert len(sampled) == 100
    assert not any(opening in tokens for tokens in sampled.values())


@pytest.mark.parametrize("opened", [True, False], ids=["opened", "undecided"])
@pytest.mark.parametrize("effort", [{}, {"reasoning_effort": "medium"}], ids=["free", "bounded"])
async def test_what_is_answered_after_thoughts_is_valid(
    house: RealHouse, tokenizer: Any, effort: dict[str, Any], opened: bool
) -> None:
    validator = Draft202012Validator(SCHEMA)
    forms = [{"response_format": FORM}, {"tools": [TOOL], "tool_choice": "required"}]
    asked = [body(tokenizer, 3, opened=opened, **effort, **form) for form in forms]
    plain, called = await asyncio.gather(*map(house.choices, asked))
    finished = thought = 0
    for choice in (*plain, *called):
        message = choice["message"]
        thought += bool(message.get("reasoning_content"))
        if choice["finish_reason"] == "length":
            continue
        finished += 1
        texts = [call["function"]["arguments"] for call in message.get("tool_calls", ())]
        for text in texts or [message["content"]]:
            validator.validate(json.loads(text))
    assert finished > 4
    assert thought > 4


async def test_thoughts_that_cannot_be_closed_are_an_error(
    house: RealHouse, tokenizer: Any
) -> None:
    asked = body(tokenizer, 1, opened=True, reasoning_effort="low", n=1)
    asked["logit_bias"] = {str(tags(tokenizer)[1]): -100}
    response = await house.post(asked)
    error = (await response.get_json())["error"]
    assert (response.status_code, error["param"]) == (400, "reasoning_effort")
    assert "logit_bias bans every token" in error["message"]


async def test_a_stream_is_as_its_plain_answer(house: RealHouse, tokenizer: Any) -> None:
    """Words, calls and reasons; thoughts are told in pieces that make up the same."""
    asked = body(tokenizer, 5, opened=True, reasoning_effort="high", n=4)
    plain = await house.choices(asked)
    response = await house.post({**asked, "stream": True})
    lines = (await response.get_data()).decode().split("\n\n")
    deltas = [json.loads(line[6:])["choices"][0] for line in lines if line.startswith("data: {")]
    for index, choice in enumerate(plain):
        own = [each["delta"] for each in deltas if each["index"] == index]
        for name in ("reasoning_content", "content"):
            said = "".join(delta.get(name) or "" for delta in own)
            assert said == choice["message"].get(name, "")
