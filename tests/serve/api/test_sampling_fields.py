from typing import Any

import pytest

from sampling.params import SamplingParams


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
        ("frequency_penalty", 1.5, 1.5),
        ("frequency_penalty", -2, -2.0),
        ("frequency_penalty", None, 0.0),
        ("presence_penalty", 2, 2.0),
        ("presence_penalty", None, 0.0),
        ("logit_bias", {"258": -100, "0": 0.5, "17": 100}, ((258, -100.0), (0, 0.5), (17, 100.0))),
        ("logit_bias", {}, ()),
        ("logit_bias", None, ()),
        ("top_k", 5, 5),
        ("top_k", 258, 258),
        # The vocabulary has 259 ids: from there on nothing is cut.
        ("top_k", 259, 0),
        ("top_k", 10**100, 0),
        ("top_k", None, 0),
        ("min_p", 0.05, 0.05),
        ("min_p", 1, 1.0),
        ("min_tokens", 3, 3),
        ("min_tokens", None, 0),
        ("ignore_eos", True, True),
        ("ignore_eos", False, False),
        ("ignore_eos", None, False),
        ("logprobs", True, True),
        ("logprobs", None, False),
        ("repetition_penalty", 1.3, 1.3),
        ("repetition_penalty", 2, 2.0),
        ("repetition_penalty", None, 1.0),
    ],
)
async def test_reaches_the_engine(
    house: Any, ask: Any, field: str, value: Any, expected: Any
) -> None:
    await house.post(ask(**{field: value}))
    assert getattr(house.engine.request.sampling, field) == expected


RECOMMENDED = {
    "temperature": 0.6,
    "top_p": 0.95,
    "top_k": 20,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
}


async def test_defaults_hold_where_a_request_is_silent(make_house: Any, ask: Any) -> None:
    house = make_house(settings={"sampling_defaults": RECOMMENDED})
    await house.post(ask(seed=0))
    assert house.engine.request.sampling == SamplingParams(**RECOMMENDED)
    asked = {"temperature": 1, "top_p": 1, "top_k": 0, "min_p": 0, "repetition_penalty": 1}
    await house.post(ask(seed=0, **asked))
    assert house.engine.request.sampling == SamplingParams()
    await house.post(ask(seed=0, **dict.fromkeys(asked)))
    assert house.engine.request.sampling == SamplingParams(**RECOMMENDED)


# The prompt of `ask()` has 21 tokens (see test_plain.test_usage).
@pytest.mark.parametrize(
    ("fields", "bound"),
    [
        ({}, 30),
        ({"max_tokens": None}, 30),
        ({"max_tokens": 50}, 50),
        ({"max_completion_tokens": 10}, 10),
        ({"max_tokens": 500}, 79),
    ],
)
async def test_a_bound_of_the_server_holds_for_requests_without_one(
    make_house: Any, ask: Any, fields: Any, bound: int
) -> None:
    house = make_house(context_length=100, settings={"max_answer_tokens": 30})
    assert (await house.post(ask(**fields))).status_code == 200
    assert house.engine.request.max_tokens == bound
    response = await house.post(ask(min_tokens=bound + 1, **fields))
    error = (await response.get_json())["error"]
    assert error["param"] == "min_tokens"
    assert f"at most {bound} tokens" in error["message"]


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


@pytest.mark.parametrize(
    ("fields", "bound", "fits"),
    [
        ({"min_tokens": 79}, 79, True),
        ({"min_tokens": 80}, 79, False),
        ({"min_tokens": 10**100}, 79, False),
        ({"min_tokens": 5, "max_tokens": 5}, 5, True),
        ({"min_tokens": 6, "max_tokens": 5}, 5, False),
        ({"min_tokens": 6, "max_completion_tokens": 5, "ignore_eos": True}, 5, False),
        ({"min_tokens": 80, "max_tokens": 90}, 79, False),
    ],
)
async def test_min_tokens_must_fit_the_bound(
    make_house: Any, ask: Any, fields: Any, bound: int, fits: bool
) -> None:
    house = make_house(context_length=100)
    response = await house.post(ask(**fields))
    assert response.status_code == (200 if fits else 400)
    if fits:
        assert house.engine.request.max_tokens == bound
    else:
        error = (await response.get_json())["error"]
        assert (error["param"], error["code"]) == ("min_tokens", "invalid_value")
        assert f"at most {bound} tokens" in error["message"]
        assert not house.engine.generations


def everything_banned_but(*kept: int) -> dict[str, int]:
    return {str(token): -100 for token in range(259) if token not in kept}


# 257 is <|im_end|>, the end of a turn.
@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"logit_bias": everything_banned_but()}, True),
        ({"logit_bias": everything_banned_but() | {"5": -99.9}}, False),
        ({"logit_bias": everything_banned_but(5)}, False),
        ({"logit_bias": everything_banned_but(257)}, False),
        ({"logit_bias": everything_banned_but(257), "ignore_eos": True}, True),
        ({"logit_bias": everything_banned_but(257), "min_tokens": 1}, True),
        ({"logit_bias": everything_banned_but(257), "min_tokens": 0}, False),
        ({"logit_bias": everything_banned_but(5), "ignore_eos": True}, False),
    ],
)
async def test_something_must_be_left_to_sample(
    house: Any, ask: Any, fields: Any, refused: bool
) -> None:
    response = await house.post(ask(**fields))
    if not refused:
        assert response.status_code == 200
        return
    error = (await response.get_json())["error"]
    assert response.status_code == 400
    assert (error["param"], error["code"]) == ("logit_bias", "invalid_value")
    assert "every token" in error["message"]


@pytest.mark.parametrize(("token", "status"), [(258, 200), (259, 400), (9_999_999_999, 400)])
async def test_bias_ids_are_of_the_vocabulary(
    house: Any, ask: Any, token: int, status: int
) -> None:
    response = await house.post(ask(logit_bias={"0": 1, str(token): 1}))
    assert response.status_code == status
    if status == 400:
        error = (await response.get_json())["error"]
        assert error["param"] == f"logit_bias.{token}"
        assert error["message"].endswith("Ids are 0 to 258.")


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
