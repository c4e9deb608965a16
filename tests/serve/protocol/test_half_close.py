"""Clients that send their request and close that side, and clients that leave."""

import asyncio
import inspect
import json
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

import pytest
from support.raw_http import Http1Peer
from support.waiting import until

from serve.engine.types import TokenEvent

LOOPS = {"asyncio": asyncio.new_event_loop}
with suppress(ImportError):  # not made for every platform
    LOOPS["uvloop"] = import_module("uvloop").new_event_loop


def on_each_loop(test: Callable[..., Any]) -> Callable[..., None]:
    """`test`, a coroutine function, on every event loop that the server may run on."""

    @pytest.mark.parametrize("loop", LOOPS)
    def run(*, loop: str, **given: Any) -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(test(**given))

    asked = inspect.signature(test)
    loop = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    run.__name__, run.__doc__ = test.__name__, test.__doc__
    run.__signature__ = asked.replace(parameters=[*asked.parameters.values(), loop])  # pyright: ignore
    return run


def post(body: dict[str, Any], version: str = "1.1") -> bytes:
    data = json.dumps(body).encode()
    return (
        f"POST /v1/chat/completions HTTP/{version}\r\nHost: x\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    ).encode() + data


def slow(_: Any) -> list[Any]:
    """`AB`, with pauses in which the client's end is seen and asked about."""
    first, second = [TokenEvent(0, 65)], [TokenEvent(0, 66)]
    return [0.3, first, 0.3, second, [TokenEvent(0, None, "stop")]]


QUICK = {"first_probe_pause": 0.05, "most_probe_pause": 0.1}
HASTY = {"half_closed_seconds": 0.05}


@pytest.mark.parametrize("stream", [False, True])
@on_each_loop
async def test_half_closed_clients_get_their_answers(
    make_house: Any, ask: Any, listening: Any, log: Any, stream: bool
) -> None:
    house = make_house(plan=slow, settings=HASTY)
    async with listening(house.app, **QUICK) as url:
        peer = await Http1Peer.to(url)
        await peer.send(post(ask(stream=stream)), ends=True)
        answer = await peer.answer()
        assert answer is not None
        assert answer.status == 200
        if stream:
            assert answer.body.count(b": keep-alive\n\n") >= 2
            assert answer.body.endswith(b"data: [DONE]\n\n")
        else:
            assert answer.json["choices"][0]["message"]["content"] == "AB"
            assert set(peer.interim) == {100}
        assert await peer.at_end()
        peer.writer.close()
    assert log.lines() == [(200, "yes")]
    assert log.complaints() == []


@on_each_loop
async def test_all_that_was_asked_is_answered(make_house: Any, ask: Any, listening: Any) -> None:
    house = make_house(plan=slow)
    async with listening(house.app, **QUICK) as url:
        peer = await Http1Peer.to(url)
        await peer.send(post(ask()) + post(ask(stream=True)) + post(ask()), ends=True)
        answers = [await peer.answer() for _ in range(3)]
        assert [answer and answer.status for answer in answers] == [200] * 3
        assert await peer.at_end()
        peer.writer.close()


@on_each_loop
async def test_questions_come_ever_more_seldom(make_house: Any, ask: Any, listening: Any) -> None:
    house = make_house(plan=lambda _: [1.0, [TokenEvent(0, 65)], [TokenEvent(0, None, "stop")]])
    async with listening(house.app, first_probe_pause=0.03, most_probe_pause=10) as url:
        peer = await Http1Peer.to(url)
        await peer.send(post(ask()), ends=True)
        answer = await peer.answer()
        assert answer is not None
        assert answer.status == 200
        # After 0.03 s, and as long again, and twice as long and so on; else it were 30.
        assert 1 <= len(peer.interim) <= 6
        peer.writer.close()


@on_each_loop
async def test_a_quick_answer_comes_without_questions(make_house: Any, listening: Any) -> None:
    async with listening(make_house().app) as url:
        for version in (b"1.0", b"1.1"):
            peer = await Http1Peer.to(url)
            await peer.send(b"GET /health/live HTTP/%b\r\nHost: x\r\n\r\n" % version, ends=True)
            answer = await peer.answer()
            assert answer is not None
            assert answer.status == 200
            assert peer.interim == []
            assert await peer.at_end()
            peer.writer.close()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("later", [False, True])
@on_each_loop
async def test_who_leaves_frees_its_rows(
    make_house: Any, ask: Any, listening: Any, log: Any, stream: bool, later: bool
) -> None:
    """By an orderly end of the connection, or by one half after the other."""
    house = make_house(plan=lambda _: [[TokenEvent(0, 65)], None], settings=HASTY)
    async with listening(house.app, **QUICK) as url:
        peer = await Http1Peer.to(url)
        await peer.send(post(ask(stream=stream)), ends=later)
        await until(lambda: house.engine.generations)
        if later:
            await asyncio.sleep(0.2)
            assert house.engine.generations[0].running
        peer.writer.close()
        await until(lambda: not house.engine.generations[0].running)
        (line,) = await log.until(1)
    assert line[1] == "no"
    assert log.complaints() == []


@on_each_loop
async def test_an_old_client_that_leaves_frees_its_rows(
    make_house: Any, ask: Any, listening: Any
) -> None:
    """HTTP/1.0 has no interim response to ask with: the end of its requests is its own."""
    house = make_house(plan=lambda _: [None])
    async with listening(house.app, **QUICK) as url:
        peer = await Http1Peer.to(url)
        await peer.send(post(ask(), "1.0"), ends=True)
        await until(lambda: house.engine.generations)
        await until(lambda: not house.engine.generations[0].running)
        assert await peer.at_end()
        peer.writer.close()


@pytest.mark.parametrize("behind", [b"GET /health/live HTTP/1.1\r\n", b"GET / HTTP/1.1\r\n\r\n"])
@on_each_loop
async def test_who_leaves_with_a_request_in_line(
    make_house: Any, ask: Any, listening: Any, behind: bytes
) -> None:
    house = make_house(plan=lambda _: [None])
    async with listening(house.app, **QUICK) as url:
        peer = await Http1Peer.to(url)
        await peer.send(post(ask()) + behind)
        await until(lambda: house.engine.generations)
        peer.writer.close()
        await until(lambda: not house.engine.generations[0].running)


@on_each_loop
async def test_an_idle_connection_that_is_closed_is_closed(make_house: Any, listening: Any) -> None:
    async with listening(make_house().app) as url:
        peer = await Http1Peer.to(url)
        await peer.send(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await peer.answer() is not None
        peer.writer.write_eof()
        async with asyncio.timeout(2):
            assert await peer.at_end()
        peer.writer.close()


@on_each_loop
async def test_who_leaves_with_thousands_in_line(make_house: Any, ask: Any, listening: Any) -> None:
    """More than is read ahead: then the end of the connection is not read either."""
    house = make_house(plan=lambda _: [None])
    async with listening(house.app, **QUICK) as url:
        peer = await Http1Peer.to(url)
        peer.writer.write(post(ask()) + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 100_000)
        await until(lambda: house.engine.generations)
        await asyncio.sleep(0.2)
        assert house.engine.generations[0].running
        peer.vanish()
        await until(lambda: not house.engine.generations[0].running)
