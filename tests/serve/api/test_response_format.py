"""`response_format` over HTTP, on a model of random weights that cooperates in nothing."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from support.engines import bridged
from support.schemas import SCHEMAS, validate
from support.tiny import TINY, tiny_model

from model.tokenizer.sentence_piece import SentencePieceTokenizer
from serve.api.settings import ApiSettings
from serve.app import create_app
from serve.config import bundled_model
from serve.engine.config import EngineConfig
from serve.engine.engine import Engine
from serve.engine.runner import Runner
from serve.engine.types import ConstraintError, EngineInfo, TokenEvent
from serve.metrics import Metrics
from serve.text.render import Renderer
from serve.text.template import ChatTemplate

CONTEXT = 1024
TOKENIZER = SentencePieceTokenizer(bundled_model() / "tokenizer.model")
END = TOKENIZER.controls["<|im_end|>"]
# Logits beyond the tokenizer's ids, as padded embeddings have them.
VOCABULARY = TOKENIZER.vocab_size + 6
# What closes strings, arrays and objects, so that answers end before the bound more often.
CLOSING = {
    str(token): 4.0
    for token in range(TOKENIZER.vocab_size)
    if (TOKENIZER.token_bytes(token) or b"x")[:1] in (b'"', b"}", b"]")
}
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["a", "b", "é"]}, "maxItems": 3},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}
# Tokens that the format does not depend on: the same text has another spelling, and no key is one.
WORDS = [
    token
    for token in range(TOKENIZER.vocab_size)
    if len(spelled := TOKENIZER.token_bytes(token) or b"") > 2
    and spelled.isalpha()
    and spelled.decode() not in PERSON["required"]
]


@pytest.fixture(scope="module", params=[False, True], ids=["fast", "deterministic"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    config = EngineConfig(
        context_length=CONTEXT,
        cache_tokens=16 * CONTEXT,
        max_rows=16,
        prefill_chunk=64,
        deterministic=request.param,
        check_integrity=True,
    )
    model = tiny_model(replace(TINY, vocab_size=VOCABULARY, context_length=CONTEXT))
    engine = Engine(Runner(model, config), config, EngineInfo(CONTEXT, VOCABULARY, "fp_test"))
    engine.start(lambda deliveries: None, lambda report: None, lambda *_: None)
    yield engine
    engine.stop()


@asynccontextmanager
async def client_of(engine: Engine, chatml: str, **settings: Any) -> AsyncIterator[Any]:
    async with bridged(engine) as bridge:
        app = create_app(
            bridge,
            Renderer(TOKENIZER, ChatTemplate(chatml)),
            TOKENIZER,
            frozenset([END]),
            ApiSettings(model_id="tiny", **settings),
            Metrics(),
        )
        yield app.test_client()


def schema_format(schema: Any, *, strict: bool = True) -> dict[str, Any]:
    return {
        "type": "json_schema",
        "json_schema": {"name": "made_up", "schema": schema, "strict": strict},
    }


def body(**fields: Any) -> dict[str, Any]:
    return {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 2,
        "logit_bias": CLOSING,
        **fields,
    }


async def answers(client: Any, asked: dict[str, Any]) -> list[tuple[str, str]]:
    """Text and finish_reason of each choice, streamed or plain."""
    response = await client.post("/v1/chat/completions", json=asked)
    data = (await response.get_data()).decode()
    assert response.status_code == 200, data
    if not asked.get("stream"):
        choices = json.loads(data)["choices"]
        return [(choice["message"]["content"], choice["finish_reason"]) for choice in choices]
    lines = [line.removeprefix("data: ") for line in data.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    texts = [""] * asked.get("n", 1)
    reasons = [""] * len(texts)
    for choice in (choice for line in lines for choice in json.loads(line)["choices"]):
        texts[choice["index"]] += choice["delta"].get("content") or ""
        reasons[choice["index"]] = choice["finish_reason"] or reasons[choice["index"]]
    return list(zip(texts, reasons, strict=True))


def check(schema: Any, answer: tuple[str, str]) -> bool:
    """Whether the answer is complete; a complete one that is not valid fails the test."""
    text, reason = answer
    assert reason in {"stop", "length"}
    if reason == "length":
        return False
    validate(schema, text)
    return True


@pytest.mark.parametrize("name", SCHEMAS)
async def test_answers_follow_the_format(
    engine: Engine, chatml: str, name: str, request: pytest.FixtureRequest
) -> None:
    """Each schema's response_format, at temperature 2: what ends with `stop` is valid.

    Every other answer is streamed, on the second engine those that are plain on the first.
    """
    schemas = SCHEMAS[name]
    first = request.node.callspec.params["engine"]
    asked = [
        body(
            response_format=schema_format(schema),
            seed=seed,
            n=2,
            max_tokens=120,
            stream=(seed + first) % 2 == 1,
        )
        for seed, schema in enumerate(schemas)
    ]
    async with client_of(engine, chatml, schema_in_prompt=False) as client:
        found = await asyncio.gather(*(answers(client, each) for each in asked))
    complete = [
        sum(check(schema, answer) for answer in choices) > 0
        for schema, choices in zip(schemas, found, strict=True)
    ]
    assert sum(complete) > 0.6 * len(schemas)
    assert engine.stats.compilations == 0


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_json_object_is_any_object(engine: Engine, chatml: str, stream: bool) -> None:
    asked = [
        body(response_format={"type": "json_object"}, seed=seed, n=2, max_tokens=60, stream=stream)
        for seed in range(8)
    ]
    async with client_of(engine, chatml) as client:
        found = [answer for each in asked for answer in await answers(client, each)]
    assert sum(check({"type": "object"}, answer) for answer in found) >= 8
    assert all(text.startswith("{") for text, _ in found)


def any_fields(rng: random.Random) -> dict[str, Any]:
    bias = CLOSING | {str(rng.choice(WORDS)): rng.choice([-100, 5]) for _ in range(3)}
    return {
        "temperature": rng.choice([0, 0.7, 1, 2]),
        "top_p": rng.choice([0, 0.5, 1]),
        "top_k": rng.choice([0, 1, 40]),
        "min_p": rng.choice([0, 0.1]),
        "frequency_penalty": rng.choice([0, 1.5]),
        "presence_penalty": rng.choice([0, -1]),
        "logit_bias": bias,
        "min_tokens": rng.choice([0, 30]),
        "ignore_eos": rng.random() < 0.3,
        "logprobs": rng.random() < 0.3,
        "n": rng.choice([1, 3]),
        "stream": rng.random() < 0.5,
        "seed": rng.randrange(2**63),
        "max_tokens": rng.choice([30, 150]),
    }


async def test_it_works_with_every_other_field(engine: Engine, chatml: str) -> None:
    rng = random.Random(1)
    asked = [body(**any_fields(rng), response_format=schema_format(PERSON)) for _ in range(60)]
    free = [body(**any_fields(rng)) for _ in range(20)]
    async with client_of(engine, chatml) as client:
        found = await asyncio.gather(*(answers(client, each) for each in [*asked, *free]))
    complete = [check(PERSON, answer) for choices in found[:60] for answer in choices]
    assert sum(complete) > 0.4 * len(complete)


async def test_a_seed_gives_the_same_answer_streamed_and_plain(engine: Engine, chatml: str) -> None:
    asked = body(response_format=schema_format(PERSON), seed=5, n=3, max_tokens=90)
    async with client_of(engine, chatml) as client:
        plain = await answers(client, asked)
        assert await answers(client, asked) == plain
        assert await answers(client, asked | {"stream": True}) == plain


async def test_log_probabilities_are_the_models_own_and_spell_the_answer(
    engine: Engine, chatml: str
) -> None:
    asked = body(
        response_format=schema_format(PERSON), seed=5, logprobs=True, top_logprobs=20, max_tokens=90
    )
    async with client_of(engine, chatml) as client:
        response = await client.post("/v1/chat/completions", json=asked)
        (choice,) = (await response.get_json())["choices"]
    entries = choice["logprobs"]["content"]
    assert b"".join(bytes(e["bytes"]) for e in entries).decode() == choice["message"]["content"]
    # A random model puts what the format needs among its likeliest tokens by chance only.
    assert any(entry["logprob"] == -9999.0 for entry in entries)


async def test_a_stop_string_may_cut_an_answer(engine: Engine, chatml: str) -> None:
    asked = body(response_format=schema_format(PERSON), seed=3, stop='","age":'[2:])
    async with client_of(engine, chatml) as client:
        ((text, reason),) = await answers(client, asked)
    assert reason == "stop"
    assert text.startswith('{"name":"')
    assert "age" not in text


async def test_an_answer_that_is_cut_off_says_length(engine: Engine, chatml: str) -> None:
    schema = {"type": "string", "minLength": 200}
    async with client_of(engine, chatml) as client:
        found = await answers(
            client, body(response_format=schema_format(schema), max_tokens=20, n=3)
        )
    assert [reason for _, reason in found] == ["length"] * 3


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_bans_that_contradict_the_format_are_an_error(
    engine: Engine, chatml: str, stream: bool
) -> None:
    opening = [
        token
        for token in range(TOKENIZER.vocab_size)
        if (TOKENIZER.token_bytes(token) or b"").startswith(b"{")
    ]
    bans = {str(token): -100 for token in opening}
    asked = body(response_format={"type": "json_object"}, logit_bias=bans, stream=stream)
    async with client_of(engine, chatml) as client:
        response = await client.post("/v1/chat/completions", json=asked)
        data = (await response.get_data()).decode()
    assert response.status_code == (200 if stream else 400)
    error = json.loads(data.split("data: ")[-1])["error"]
    assert (error["param"], error["code"]) == ("response_format", "invalid_value")
    assert "logit_bias bans every token" in error["message"]


async def test_a_bomb_is_refused_and_another_stream_goes_on(engine: Engine, chatml: str) -> None:
    bomb = {"allOf": [{"type": "string", "pattern": f".*a.{{{n}}}b.*"} for n in range(3, 25)]}
    large = {"enum": [f"value {number}" for number in range(100_000)]}
    async with client_of(engine, chatml, grammar_seconds=0.3) as client:
        stream = asyncio.create_task(
            answers(client, body(max_tokens=400, ignore_eos=True, stream=True))
        )
        for schema in (bomb, large):
            refused = await client.post(
                "/v1/chat/completions", json=body(response_format=schema_format(schema))
            )
            error = (await refused.get_json())["error"]
            assert refused.status_code == 400
            assert error["param"] == "response_format.json_schema.schema"
            assert "make it smaller" in error["message"]
        ((_, reason),) = await stream
    assert reason == "length"


async def test_a_client_that_leaves_leaves_nothing_behind(engine: Engine, chatml: str) -> None:
    async with client_of(engine, chatml) as client:
        for _ in range(3):
            asked = body(response_format=schema_format({"type": "string", "minLength": 500}))
            task = asyncio.create_task(answers(client, asked))
            await asyncio.sleep(0.3)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    # `bridged` has checked that every page is free again.
    assert engine.stats.running == 0


# --- the prompt ----------------------------------------------------------------------------


SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Who?"}


@pytest.mark.parametrize(
    ("messages", "before", "after"),
    [
        ([USER], "[[<|im_start|>]]system\n", "[[<|im_end|>]]\n[[<|im_start|>]]user\nWho?"),
        ([SYSTEM, USER], "[[<|im_start|>]]system\nBe brief.\n\n", "[[<|im_end|>]]\n"),
    ],
    ids=["no system part", "a system part"],
)
async def test_the_model_is_shown_the_schema(
    make_house: Any, ask: Any, messages: list[Any], before: str, after: str
) -> None:
    schema = {"type": "object", "description": "Größe"}
    spec = {"name": "size", "description": "What is asked for.", "schema": schema}
    wanted = {"type": "json_schema", "json_schema": spec}
    house = make_house()
    await house.post(ask(messages=messages, response_format=wanted))
    prompt = house.tokenizer.spell(house.engine.request.prompt)
    told = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
    shown = f"'size', and nothing else.\nWhat is asked for.\n{told}"
    assert before + "Answer with JSON" in prompt
    assert shown + after in prompt


async def test_a_template_without_a_system_part_gets_it_with_the_user(
    make_house: Any, ask: Any, chatml: str
) -> None:
    template = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    house = make_house(template=template + chatml)
    response = await house.post(ask(response_format={"type": "json_object"}))
    assert response.status_code == 200
    prompt = house.tokenizer.spell(house.engine.request.prompt)
    assert "user\nAnswer with one JSON object on one line, and nothing else.\n\nHi" in prompt


async def test_the_schema_can_be_kept_out_of_the_prompt(make_house: Any, ask: Any) -> None:
    house = make_house(settings={"schema_in_prompt": False})
    await house.post(ask(response_format={"type": "json_object"}))
    with_format = house.engine.request.prompt
    await house.post(ask())
    assert house.engine.request.prompt == with_format


async def test_plain_text_has_no_constraint(make_house: Any, ask: Any) -> None:
    house = make_house()
    for wanted in (None, {"type": "text"}):
        await house.post(ask(response_format=wanted))
        assert house.engine.request.constraint is None
    await house.post(ask(response_format={"type": "json_object"}))
    assert house.engine.request.constraint is not None


async def test_an_event_that_fails_is_told_after_what_came(make_house: Any, ask: Any) -> None:
    steps = [[TokenEvent(0, 72)], ConstraintError("too much")]
    house = make_house(plan=lambda request: steps)
    response = await house.post(ask(response_format={"type": "json_object"}, stream=True))
    blocks = (await response.get_data()).decode().split("\n\n")
    assert json.loads(blocks[-3].removeprefix("data: "))["choices"][0]["delta"]["content"] == "H"
    assert "too much" in json.loads(blocks[-2].removeprefix("data: "))["error"]["message"]
