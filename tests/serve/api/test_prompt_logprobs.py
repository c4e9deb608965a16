"""Log-probabilities of prompts on the wire. The engine's are made up: `made_up_prompt_logprobs`."""

import asyncio
import json
import math
from typing import Any

import numpy as np
import pytest
from openai.types.chat import ChatCompletion as ClientsCompletion

from serve.api.answering.prompt_logprobs import PromptWriter
from serve.api.wire.response import ChatCompletion
from serve.engine.types import PromptLogprobs


async def answer(house: Any, body: Any) -> Any:
    response = await house.post(body)
    told = await response.get_json()
    assert response.status_code == 200, told
    assert response.content_type == "application/json"
    ChatCompletion.model_validate(told)
    return told


async def test_every_token_of_the_prompt_is_told(house: Any, ask: Any) -> None:
    told = (await answer(house, ask(prompt_logprobs=2)))["prompt_logprobs"]
    prompt = house.engine.request.prompt
    assert len(told) == len(prompt) == 21
    assert told[0] is None
    # u s e r \n H i …
    for token, entry in zip(prompt[1:], told[1:], strict=True):
        assert entry == {
            str(token): {
                "logprob": -0.5,
                "rank": 99,
                "decoded_token": house.tokenizer.token_text(token),
            },
            "65": {"logprob": -0.25, "rank": 1, "decoded_token": "A"},
            "66": {"logprob": -0.5, "rank": 2, "decoded_token": "B"},
        }
        assert next(iter(entry)) == str(token)
    assert house.engine.request.prompt_logprobs == 2


async def test_a_token_among_the_likeliest_is_told_once_and_has_its_place_as_rank(
    house: Any, ask: Any
) -> None:
    told = (await answer(house, ask(prompt_logprobs=20)))["prompt_logprobs"]
    place = house.engine.request.prompt.index(ord("H"))
    assert len(told[place]) == 20
    assert told[place][str(ord("H"))] == {"logprob": -0.5, "rank": 8, "decoded_token": "H"}
    assert [entry["rank"] for entry in told[place].values()] == [8, *range(1, 8), *range(9, 21)]


async def test_none_of_the_likeliest(house: Any, ask: Any) -> None:
    told = (await answer(house, ask(prompt_logprobs=0)))["prompt_logprobs"]
    assert [list(entry) for entry in told[1:]] == [
        [str(token)] for token in house.engine.request.prompt[1:]
    ]


@pytest.mark.parametrize("fields", [{}, {"prompt_logprobs": None}])
async def test_nothing_where_nobody_asked(house: Any, ask: Any, fields: Any) -> None:
    assert "prompt_logprobs" not in await answer(house, ask(**fields))
    assert house.engine.request.prompt_logprobs is None
    # Not even null, which is what a stream may ask for.
    assert (await house.post(ask(stream=True, **fields))).status_code == 200


async def test_choices_share_one_prompt_and_the_rest_is_as_ever(
    make_house: Any, answering: Any, ask: Any
) -> None:
    house = make_house(plan=answering("one", "two"))
    asked = {"n": 2, "logprobs": True, "top_logprobs": 1}
    told = await answer(house, ask(**asked, prompt_logprobs=1))
    without = await answer(house, ask(**asked))
    assert len(told.pop("prompt_logprobs")) == 21
    for name in ("id", "created"):
        del told[name], without[name]
    assert told == without
    assert list(told) == list(without)


async def test_the_official_client_keeps_the_member(house: Any, ask: Any) -> None:
    told = ClientsCompletion.model_validate(await answer(house, ask(prompt_logprobs=1)))
    assert told.model_extra is not None
    assert told.model_extra["prompt_logprobs"][1]["65"]["rank"] == 1


async def pieces(tokenizer: Any, parts: list[PromptLogprobs]) -> list[bytes]:
    return [piece async for piece in PromptWriter(tokenizer).ending('{"a":{}}', parts)]


def part(tokens: list[int], values: list[float], ids: list[list[int]]) -> PromptLogprobs:
    likeliest = np.sort(np.array([values] * len(tokens), np.float32))[:, : len(ids[0])]
    return PromptLogprobs(
        np.array(tokens),
        np.array(values, np.float32),
        np.arange(len(tokens)) + 1,
        np.array(ids),
        likeliest,
    )


async def test_what_has_no_number_in_json(make_tokenizer: Any) -> None:
    """Infinities, pieces of characters, control tokens, ids beyond the tokenizer's."""
    tokens = [0xFF, 0x22, 257, 300]
    ids = [[257, 300]] * 4
    given = part(tokens, [-math.inf, -1.5, -20_000.0, -3.25], ids)
    text = b"".join(await pieces(make_tokenizer(), [given])).decode()
    told = json.loads(text, parse_constant=pytest.fail)
    assert told["a"] == {}
    first, *entries = told["prompt_logprobs"]
    assert first is None
    assert entries[0]["255"] == {
        "logprob": -9999.0,
        "rank": 1,
        "decoded_token": "\N{REPLACEMENT CHARACTER}",
    }
    assert entries[1]["34"] == {"logprob": -1.5, "rank": 2, "decoded_token": '"'}
    assert entries[2]["257"] == {"logprob": -9999.0, "rank": 1, "decoded_token": "<|im_end|>"}
    assert entries[3]["300"] == {"logprob": -3.25, "rank": 2, "decoded_token": ""}
    assert entries[0]["257"]["logprob"] == -9999.0


async def test_a_long_prompt_is_written_in_pieces_and_others_have_their_turn(
    make_tokenizer: Any,
) -> None:
    count = 1000
    given = part([1] * count, [-0.25] * count, [list(range(65, 85))] * count)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    written = await pieces(make_tokenizer(), [given, given])
    beside.cancel()
    assert len(json.loads(b"".join(written))["prompt_logprobs"]) == 2 * count + 1
    assert max(map(len, written)) < 64 * 1024
    assert turns >= 2 * count // 32
