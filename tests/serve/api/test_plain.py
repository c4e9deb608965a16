from collections.abc import Callable
from typing import Any

import pytest

from serve.api.wire.response import ChatCompletion
from serve.engine.types import TokenEvent


async def test_shape_of_a_plain_response(house: Any, ask: Any) -> None:
    response = await house.post(ask())
    body = await response.get_json()
    assert response.status_code == 200
    assert response.content_type == "application/json"
    ChatCompletion.model_validate(body)
    assert body["id"].startswith("chatcmpl-")
    assert len(body["id"]) == len("chatcmpl-") + 22
    assert body["choices"] == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Hello!",
                "refusal": None,
                "annotations": [],
            },
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert body["model"] == "tiny"
    assert body["system_fingerprint"] == "fp_test"
    assert "service_tier" not in body


async def test_usage(make_house: Any, ask: Any) -> None:
    house = make_house(cached_tokens=5)
    usage = (await (await house.post(ask())).get_json())["usage"]
    # [im_start] u s e r \n H i [im_end] \n [im_start] a s s i s t a n t \n
    assert usage == {
        "prompt_tokens": 21,
        "completion_tokens": 6,
        "total_tokens": 27,
        "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 5},
        "completion_tokens_details": {
            "accepted_prediction_tokens": 0,
            "audio_tokens": 0,
            "reasoning_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


async def test_each_choice_has_its_own_text(make_house: Any, answering: Any, ask: Any) -> None:
    house = make_house(plan=answering("one", "two!", "three"))
    body = await (await house.post(ask(n=3))).get_json()
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert [choice["message"]["content"] for choice in body["choices"]] == ["one", "two!", "three"]
    assert body["usage"]["completion_tokens"] == 3 + 4 + 5
    assert house.engine.request.choices == 3


@pytest.mark.parametrize(
    ("stop", "content", "tokens"),
    [
        ("lo", "Hel", 3),
        (["zz", "l"], "He", 2),
        ("Hello!", "", 0),
        ("!!", "Hello!", 6),
        (["o", "ell"], "H", 1),
    ],
)
async def test_stop_string_ends_the_choice(
    house: Any, ask: Any, stop: Any, content: str, tokens: int
) -> None:
    body = await (await house.post(ask(stop=stop))).get_json()
    assert body["choices"][0]["message"]["content"] == content
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["completion_tokens"] == tokens


async def test_stop_string_cancels_its_choice_only(
    make_house: Any, answering: Any, ask: Any
) -> None:
    house = make_house(plan=answering("a STOP b c d e f", "quite another text"))
    body = await (await house.post(ask(n=2, stop=" STOP"))).get_json()
    assert [c["message"]["content"] for c in body["choices"]] == ["a", "quite another text"]
    assert house.engine.generations[0].cancels[0] == 0


async def test_length_is_reported(make_house: Any, answering: Any, ask: Any) -> None:
    house = make_house(plan=answering("abcdef"))
    body = await (await house.post(ask(max_tokens=4))).get_json()
    assert body["choices"][0]["message"]["content"] == "abcd"
    assert body["choices"][0]["finish_reason"] == "length"


async def test_unfinished_character_becomes_a_replacement(
    make_house: Any, answering: Any, ask: Any
) -> None:
    house = make_house(plan=answering("a🎈"))  # 1 byte and 4 bytes
    body = await (await house.post(ask(max_tokens=3))).get_json()
    assert body["choices"][0]["message"]["content"] == "a\ufffd"
    assert body["usage"]["completion_tokens"] == 3


async def test_alias_is_answered_under_the_models_own_name(house: Any, ask: Any) -> None:
    assert (await (await house.post(ask(model="gpt-4o"))).get_json())["model"] == "tiny"


async def test_route_without_v1(house: Any, ask: Any) -> None:
    response = await house.app.test_client().post("/chat/completions", json=ask())
    assert response.status_code == 200


async def test_generation_without_an_end_is_a_server_error(make_house: Any, ask: Any) -> None:
    plan: Callable[[Any], Any] = lambda _: [[TokenEvent(0, 65)]]  # noqa: E731
    response = await make_house(plan=plan).post(ask())
    body = await response.get_json()
    assert response.status_code == 500
    assert body["error"]["type"] == "server_error"
    assert response.headers["x-request-id"] in body["error"]["message"]
