"""Tokens of its own at which a request ends, and answers that hold what ended them."""

from typing import Any

import pytest

from serve.engine.types import TokenEvent

# The answer of the house is "Hello!", a token for each byte.
HELLO = b"Hello!"


def ids(text: str) -> list[int]:
    return list(text.encode())


@pytest.fixture
def stopping_house(make_house: Any) -> Any:
    """A house whose engine ends as the real one does."""

    def plan(request: Any) -> list[list[TokenEvent]]:
        batches: list[list[TokenEvent]] = []
        for token in HELLO:
            if token in request.sampling.stop_ids:
                told = token if request.tells_stop_id else None
                return [*batches, [TokenEvent(0, told, "stop")]]
            batches.append([TokenEvent(0, token)])
        return [*batches, [TokenEvent(0, None, "stop")]]

    return make_house(plan=plan)


async def answer(house: Any, ask: Any, **fields: Any) -> tuple[str, str, int]:
    body = await (await house.post(ask(**fields))).get_json()
    (choice,) = body["choices"]
    used = body["usage"]["completion_tokens"]
    return choice["message"]["content"], choice["finish_reason"], used


@pytest.mark.parametrize(
    ("stop", "content"),
    [("l", "He"), ("!o", "Hell"), ("H", ""), ("x", "Hello!"), ("", "Hello!"), (None, "Hello!")],
)
async def test_an_answer_ends_before_the_token(
    stopping_house: Any, ask: Any, stop: str | None, content: str
) -> None:
    tokens = None if stop is None else ids(stop)
    found = await answer(stopping_house, ask, stop_token_ids=tokens)
    assert found == (content, "stop", len(content))


@pytest.mark.parametrize(
    ("fields", "content"),
    [
        ({"stop_token_ids": ids("l")}, "Hel"),
        ({"stop": "lo"}, "Hello"),
        ({"stop": ["x", "ell"]}, "Hell"),
        ({"stop": "lo", "stop_token_ids": ids("l")}, "Hel"),
        ({"stop": "x"}, "Hello!"),
    ],
)
async def test_what_ends_an_answer_may_be_part_of_it(
    stopping_house: Any, ask: Any, fields: Any, content: str
) -> None:
    asked = {**fields, "include_stop_str_in_output": True}
    found = await answer(stopping_house, ask, **asked)
    assert found == (content, "stop", len(content))
    # It is no part where nobody asks for it.
    without = await answer(stopping_house, ask, **fields, include_stop_str_in_output=False)
    assert (without == found) == (content == "Hello!")


@pytest.mark.parametrize("included", [True, False])
async def test_a_stream_says_the_same(
    stopping_house: Any, ask: Any, read_stream: Any, included: bool
) -> None:
    asked = {"stop": "lo", "include_stop_str_in_output": included}
    whole, _, _ = await answer(stopping_house, ask, **asked)
    response = await stopping_house.post(ask(stream=True, **asked))
    chunks = read_stream(await response.get_data())[:-1]
    pieces = [each["delta"].get("content") or "" for chunk in chunks for each in chunk["choices"]]
    assert "".join(pieces) == whole


async def test_ids_are_of_the_vocabulary(house: Any, ask: Any) -> None:
    assert (await house.post(ask(stop_token_ids=[258, 258, 0]))).status_code == 200
    assert house.engine.request.sampling.stop_ids == (258, 0)
    response = await house.post(ask(stop_token_ids=[3, 259]))
    error = (await response.get_json())["error"]
    assert (response.status_code, error["param"]) == (400, "stop_token_ids[1]")
    assert error["message"].endswith("Ids are 0 to 258.")
