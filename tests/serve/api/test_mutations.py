"""Ten thousand requests, most of them spoiled: each gets an answer in the API's form."""

import asyncio
import json
import logging
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.families import HERMES, VOCABULARY, Running
from support.mutations import PATH, Sent, drawn
from support.real_house import RealHouse, random_engine, reassembled
from support.resident import resident

from serve.api.wire.response import ChatCompletion, ChatCompletionChunk, ErrorBody

SEED = 20_240
REQUESTS = 10_000
BLOCK = 1_000
# Blocks until all that is kept is full.
WARM = 5
AT_A_TIME = 16
LEFT = 0
ENDS = {"stop", "length", "tool_calls", "function_call"}


@pytest.fixture
def engine() -> Iterator[Any]:
    engine = random_engine(VOCABULARY, rows=AT_A_TIME)
    yield engine
    engine.stop()


def check_error(status: int, kind: str, data: bytes) -> None:
    """An error is told in the API's one shape, and is never the server's."""
    assert 400 <= status < 500, (status, data)
    assert kind == "application/json"
    error = json.loads(data)
    ErrorBody.model_validate(error)
    assert set(error["error"]) == {"message", "type", "param", "code"}
    assert error["error"]["type"] == "invalid_request_error"
    assert 0 < len(error["error"]["message"]) < 2_000


def check_choices(choices: list[dict[str, Any]], asked: dict[str, Any]) -> None:
    """What any request's choices have in common, and what its fields say of them."""
    assert [choice["index"] for choice in choices] == list(range(asked.get("n") or 1))
    stops = asked.get("stop") or ()
    for choice in choices:
        assert choice["finish_reason"] in ENDS
        text = choice["message"]["content"] or ""
        for stop in [stops] if isinstance(stops, str) else stops:
            # One that is included is the end.
            included = asked.get("include_stop_str_in_output") and text.endswith(stop)
            assert stop not in (text[: -len(stop)] if included else text)
        assert not any(word in text for word in asked.get("bad_words") or ())
        # Tokens of calls have none.
        if not asked.get("logprobs"):
            assert choice["logprobs"] is None
        elif text:
            assert choice["logprobs"]["content"]
        if asked.get("tool_choice") == "none" or asked.get("function_call") == "none":
            assert not {"tool_calls", "function_call"} & set(choice["message"])


def check_stream(data: bytes, asked: dict[str, Any]) -> None:
    """A stream is whole, or says in the API's words why it cannot go on."""
    lines = data.decode().split("\n\n")
    assert lines.pop() == ""
    told = [line.removeprefix("data: ") for line in lines if not line.startswith(":")]
    last = told.pop()
    if last != "[DONE]":
        check_error(400, "application/json", last.encode())
        assert "given up" in last
        return
    chunks = [json.loads(line) for line in told]
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
    usage = (asked.get("stream_options") or {}).get("include_usage") is True
    assert [bool(chunk.get("usage")) for chunk in chunks] == [False] * (len(chunks) - 1) + [usage]
    check_choices(reassembled(chunks), asked)


def check_answer(status: int, kind: str, data: bytes, sent: Sent) -> None:
    """Whatever was sent, the answer is well formed."""
    if status in (200, 204) and (sent.path.partition("?")[0] != PATH or sent.method != "POST"):
        return
    if status != 200:
        check_error(status, kind, data)
    elif kind == "application/json":
        answer = json.loads(data)
        ChatCompletion.model_validate(answer)
        check_choices(answer["choices"], sent.asked)
    else:
        assert kind == "text/event-stream; charset=utf-8"
        check_stream(data, sent.asked)


async def send(house: RealHouse, sent: Sent) -> int:
    """Its status; `LEFT` where the client left before."""
    headers = {**sent.headers, "Content-Length": str(len(sent.body))}
    connection = house.client.request(sent.path, method=sent.method, headers=headers)
    async with connection:
        await connection.send(sent.body)
        await connection.send_complete()
        if sent.leaves:
            # At a point of the loop's turns that depends on nothing else.
            for _ in range(len(sent.body) % 50):
                await asyncio.sleep(0)
            await connection.disconnect()
            return LEFT
    response = await connection.as_response()
    data = await response.get_data()
    check_answer(response.status_code, response.headers.get("Content-Type", ""), data, sent)
    return response.status_code


async def send_all(house: RealHouse, bias: dict[str, float], numbers: range) -> list[int]:
    """The statuses of the requests of these numbers."""
    free = asyncio.Semaphore(AT_A_TIME)

    async def one(number: int) -> int:
        sent = drawn(random.Random(SEED + number), bias)
        async with free:
            try:
                status = await send(house, sent)
            except AssertionError as error:
                raise AssertionError(f"request {number}: {sent}") from error
        assert not sent.valid or status in (200, LEFT), (number, status, sent.asked)
        return status

    return await asyncio.gather(*map(one, numbers))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@pytest.mark.timeout(900)
async def test_ten_thousand_spoiled_requests_are_answered_and_leave_nothing(
    engine: Any,
    make_tokenizer: Any,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """That the engine is idle in the end, with all its pages, is seen when the house is left."""
    running = Running.of(HERMES, make_tokenizer, engine)
    statuses: Counter[int] = Counter()
    sampled: list[float] = []
    # Lower levels are not kept: pytest holds all that it captures, which would count as memory.
    caplog.set_level(logging.WARNING)
    async with running.house(max_choices=4, grammar_seconds=20, aliases=("gpt-4o",)) as house:
        for first in range(0, REQUESTS, BLOCK):
            statuses.update(await send_all(house, running.bias, range(first, first + BLOCK)))
            sampled.append(resident())
            # No warning, no error and so no traceback.
            assert not caplog.records, caplog.text
    with capsys.disabled():
        print(f"\n{dict(statuses.most_common())}; MiB: {[round(at) for at in sampled]}")
    assert statuses[200] > REQUESTS / 3
    assert statuses[400] > REQUESTS / 5
    assert statuses[LEFT] > REQUESTS / 50
    assert {404, 405, 415} <= set(statuses)
    # What it grows by meanwhile is less than 2 KiB for each.
    assert min(sampled[-3:]) - sampled[WARM - 1] < 10
