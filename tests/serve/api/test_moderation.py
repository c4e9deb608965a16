"""Requests and answers that a server of the moderation API judges."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.moderation_server import ModerationServer, moderation_server

from serve.api.answering.moderated import CONTEXT, SEGMENT
from serve.engine.types import TokenEvent
from serve.filter.moderation_settings import ModerationSettings

GOOD = "All is well. "
LONG = GOOD * 60


@pytest.fixture
def judge() -> Iterator[ModerationServer]:
    with moderation_server() as server:
        yield server


@asynccontextmanager
async def judged(
    make_house: Any,
    judge: ModerationServer,
    plan: Any,
    keep_alive_seconds: float = 15.0,
    **settings: Any,
) -> AsyncIterator[Any]:
    moderation = ModerationSettings(**{"url": judge.url, "key": "sk-judge", **settings})
    house = make_house(
        plan=plan, settings={"moderation": moderation, "keep_alive_seconds": keep_alive_seconds}
    )
    await house.app.startup()
    yield house
    await house.app.shutdown()


async def plain(house: Any, asked: Any) -> tuple[int, Any]:
    response = await house.post(asked)
    return response.status_code, await response.get_json()


async def streamed(house: Any, asked: Any) -> list[Any]:
    response = await house.post({**asked, "stream": True})
    lines = (await response.get_data()).decode().split("\n\n")
    return [line.removeprefix("data: ") for line in lines if line]


def pieces(lines: list[Any], index: int = 0) -> list[str]:
    chunks = [json.loads(line) for line in lines if line != "[DONE]"]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return [
        choice["delta"]["content"]
        for choice in choices
        if choice["index"] == index and choice["delta"].get("content")
    ]


async def test_a_request_is_judged_before_anything_is_generated(
    make_house: Any, answering: Any, ask: Any, judge: ModerationServer
) -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "so "}, {"type": "text", "text": "bad"}],
        },
    ]
    async with judged(make_house, judge, answering("fine")) as house:
        status, body = await plain(house, ask(messages=messages))
        assert (status, body["error"]["code"]) == (400, "content_filter")
        assert body["error"]["param"] == "messages[1].content"
        assert judge.asked == [["Be kind.", "so bad"]]
        assert judge.keys == ["Bearer sk-judge"]
        assert house.engine.generations == []
        count = house.metrics.registry.get_sample_value(
            "parlance_content_filter_matches_total", {"category": "moderation", "side": "input"}
        )
        assert count == 1


async def test_a_long_request_is_judged_as_well(
    make_house: Any, answering: Any, ask: Any, judge: ModerationServer
) -> None:
    messages = [{"role": "user", "content": word} for word in ["hm"] * 40 + ["bad"]]
    async with judged(make_house, judge, answering("fine")) as house:
        status, body = await plain(house, ask(messages=messages))
    assert (status, body["error"]["code"]) == (400, "content_filter")


async def test_an_answer_is_told_when_it_is_judged_by_segments(
    make_house: Any, answering: Any, ask: Any, judge: ModerationServer
) -> None:
    async with judged(make_house, judge, answering(LONG)) as house:
        lines = await streamed(house, ask())
        told = pieces(lines)
    assert [len(piece) for piece in told] == [SEGMENT, len(LONG) - SEGMENT]
    assert "".join(told) == LONG
    assert lines[-1] == "[DONE]"
    assert judge.asked[1:] == [[LONG[:SEGMENT]], [LONG]]
    assert len(LONG) < CONTEXT + SEGMENT


async def test_a_stream_gets_comments_while_a_segment_is_generated(
    make_house: Any, ask: Any, judge: ModerationServer
) -> None:
    steps = [step for _ in range(20) for step in (0.02, [TokenEvent(0, 65)])]

    def plan(_: Any) -> Any:
        return [*steps, [TokenEvent(0, None, "stop")]]

    async with judged(make_house, judge, plan, keep_alive_seconds=0.1) as house:
        lines = await streamed(house, ask())
        assert lines.count(": keep-alive") >= 2
        assert pieces([line for line in lines if line != ": keep-alive"]) == ["A" * 20]


async def test_a_flagged_segment_is_not_told(
    make_house: Any, answering: Any, ask: Any, judge: ModerationServer
) -> None:
    plan = answering(LONG + "bad" + LONG, GOOD)
    async with judged(make_house, judge, plan) as house:
        asked = ask(n=2, logprobs=True)
        _, body = await plain(house, asked)
        lines = await streamed(house, asked)
        cancelled = house.engine.generations[-1].cancels
    flagged, fine = body["choices"]
    assert flagged["message"]["content"] == LONG[:SEGMENT]
    assert len(flagged["logprobs"]["content"]) == SEGMENT
    assert flagged["finish_reason"] == "content_filter"
    assert (fine["message"]["content"], fine["finish_reason"]) == (GOOD, "stop")
    assert "".join(pieces(lines)) == LONG[:SEGMENT]
    assert "".join(pieces(lines, 1)) == GOOD
    assert cancelled[0] == 0


async def test_what_is_cut_by_a_segment_is_judged_whole(
    make_house: Any, answering: Any, ask: Any, judge: ModerationServer
) -> None:
    text = "x" * (SEGMENT - 1) + "bad"
    async with judged(make_house, judge, answering(text)) as house:
        _, body = await plain(house, ask())
    assert body["choices"][0]["message"]["content"] == text[:SEGMENT]
    assert body["choices"][0]["finish_reason"] == "content_filter"


@pytest.mark.parametrize(
    ("status", "answer", "seconds"),
    [
        (500, None, 0.0),
        (301, None, 0.0),
        (200, b"no JSON", 0.0),
        (200, b'{"results": []}', 0.0),
        (200, b'{"results": [{"flagged": "no"}]}', 0.0),
        (200, b"[1]", 0.0),
        (200, None, 0.5),
    ],
)
async def test_what_nobody_judged_is_refused_or_allowed_as_the_keeper_says(
    make_house: Any,
    answering: Any,
    ask: Any,
    judge: ModerationServer,
    status: int,
    answer: bytes | None,
    seconds: float,
) -> None:
    judge.status, judge.body, judge.seconds = status, answer, seconds
    async with judged(make_house, judge, answering("fine"), seconds=0.2) as house:
        status, body = await plain(house, ask())
        assert (status, body["error"]["code"]) == (503, "moderation_unavailable")
        assert house.engine.generations == []
    async with judged(
        make_house, judge, answering("fine"), seconds=0.2, unanswered="allow"
    ) as house:
        status, body = await plain(house, ask())
        assert body["choices"][0]["message"]["content"] == "fine"


async def test_a_stream_that_nobody_judges_any_more_ends_with_the_error(
    make_house: Any, answering: Any, ask: Any, judge: ModerationServer
) -> None:
    class Failing(list[list[str]]):
        def append(self, texts: list[str]) -> None:
            super().append(texts)
            judge.status = 500 if len(self) > 2 else 200

    judge.asked = Failing()
    async with judged(make_house, judge, answering(LONG)) as house:
        *_, last = lines = await streamed(house, ask())
        assert "".join(pieces(lines[:-1])) == LONG[:SEGMENT]
        assert json.loads(last)["error"]["code"] == "moderation_unavailable"
        judge.asked.clear()
        assert (await plain(house, ask()))[0] == 503
        assert house.engine.generations[-1].cancels == [None]
