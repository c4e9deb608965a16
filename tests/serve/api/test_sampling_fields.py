from typing import Any

import pytest


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("temperature", 0.25, 0.25),
        ("temperature", 0, 0.0),
        ("temperature", None, 1.0),
        ("top_p", 0.5, 0.5),
        ("top_p", 0, 0.0),
        ("top_p", None, 1.0),
        ("seed", 7, 7),
        ("seed", 0, 0),
        ("seed", -3, -3),
    ],
)
async def test_reaches_the_engine(
    house: Any, ask: Any, field: str, value: Any, expected: Any
) -> None:
    await house.post(ask(**{field: value}))
    assert getattr(house.engine.request.sampling, field) == expected


async def test_without_a_seed_each_request_has_a_fresh_one(house: Any, ask: Any) -> None:
    for _ in range(8):
        await house.post(ask())
    seeds = {generation.request.sampling.seed for generation in house.engine.generations}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**64 for seed in seeds)


# The prompt of `ask()` has 21 tokens (see test_plain.test_usage).
@pytest.mark.parametrize(
    ("fields", "bound"),
    [
        ({}, 79),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 7, "max_completion_tokens": 7}, 7),
        ({"max_tokens": 79}, 79),
        ({"max_tokens": 80}, 79),
        ({"max_completion_tokens": 10**12}, 79),
    ],
)
async def test_token_bound(make_house: Any, ask: Any, fields: Any, bound: int) -> None:
    house = make_house(context_length=100)
    assert (await house.post(ask(**fields))).status_code == 200
    assert house.engine.request.max_tokens == bound


async def test_context_must_have_room_for_one_token(make_house: Any, ask: Any) -> None:
    house = make_house(context_length=22)
    assert (await house.post(ask())).status_code == 200
    assert house.engine.request.max_tokens == 1

    house = make_house(context_length=21)
    response = await house.post(ask())
    error = (await response.get_json())["error"]
    assert response.status_code == 400
    assert (error["param"], error["code"]) == ("messages", "context_length_exceeded")
    assert error["message"].startswith(
        "This model's maximum context length is 21 tokens. However, your messages resulted in "
        "21 tokens. Input tokens exceed the configured limit"
    )


async def test_end_of_turn_ids_reach_the_engine(house: Any, ask: Any) -> None:
    await house.post(ask())
    assert house.engine.request.end_ids == {house.tokenizer.controls["<|im_end|>"]}
