"""How much of everything there may be at a time, and what the server is built upon."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypercorn.asyncio import run
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config
from hypercorn.protocol.h11 import H11Protocol
from support.raw_http import Http1Peer

from serve.api.http.body_room import BodyRoom
from serve.api.settings import ApiSettings
from serve.api.wire.errors import ApiError
from serve.api.wire.response import ErrorBody
from serve.protocol import settings
from serve.protocol.serving import UnknownHypercornError, check_hypercorn
from serve.protocol.settings import most_connections

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


async def status(peer: Http1Peer) -> int | None:
    answer = await peer.answer()
    return None if answer is None else answer.status


async def admitted(url: str) -> Http1Peer:
    """A client that the server serves, as soon as it does."""
    async with asyncio.timeout(10):
        while True:
            peer = await Http1Peer.to(url)
            with suppress(ConnectionError):
                await peer.send(LIVE)
                if await status(peer) == 200:
                    return peer
            peer.writer.close()


async def test_connections(make_house: Any, listening: Any, log: Any) -> None:
    # From one network no more than is left for others.
    async with listening(make_house().app, max_connections=4) as url:
        first, second, *more = [await Http1Peer.to(url) for _ in range(4)]
        for peer in (first, second):
            await peer.send(LIVE)
            assert await status(peer) == 200
        assert all([await peer.at_end() for peer in more])
        assert log.complaints() == [
            "serve.protocol.connection: connections are refused: 2 are open"
        ]
        first.writer.close()
        fourth = await admitted(url)
        # It is full again, and that is told again.
        fifth = await Http1Peer.to(url)
        assert await fifth.at_end()
        assert len(log.complaints()) == 2
        for peer in (second, *more, fourth, fifth):
            peer.writer.close()


@pytest.mark.parametrize(
    ("files", "most"), [(1_024, 896), (100, 1), (1_000_000, settings.CONNECTIONS), (-1, 4_096)]
)
def test_connections_leave_files_for_the_rest(
    monkeypatch: pytest.MonkeyPatch, files: int, most: int
) -> None:
    assert settings.resource is not None
    monkeypatch.setattr(settings.resource, "getrlimit", lambda _: (files, files))
    assert most_connections() == most


async def test_what_waits_in_line_is_bounded(make_house: Any, listening: Any) -> None:
    """A client that asks on and on while its first request is answered is read no further."""
    house = make_house(plan=lambda _: [None])
    body = b'{"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}'

    async def ask_on(peer: Http1Peer) -> None:
        await peer.send(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        # What the systems of both sides hold is a few MiB.
        for _ in range(64):
            await peer.send(LIVE * (2**20 // len(LIVE)))

    async with listening(house.app, first_probe_pause=0.05) as url:
        peer = await Http1Peer.to(url)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask_on(peer), 0.5)
        peer.vanish()


def room(**settings: Any) -> BodyRoom:
    return BodyRoom(ApiSettings("tiny", **settings))


async def test_bodies_get_room_in_the_order_in_which_they_came() -> None:
    bodies = room(held_body_bytes=100, max_body_bytes=100, body_wait_seconds=5)
    given: list[str] = []
    gives: dict[str, Callable[[], None]] = {}

    async def take(name: str, size: int | None) -> None:
        gives[name] = await bodies.take(size, name)
        given.append(name)

    tasks = [
        asyncio.create_task(take(*each))
        for each in [("a", 60), ("b", 50), ("c", 40), ("too long", 101), ("unknown", None)]
    ]
    await asyncio.sleep(0.01)
    assert given == ["a"]  # c would fit, but b came first
    gives["a"]()
    gives["a"]()
    await asyncio.sleep(0.01)
    # 50 + 40, and nothing for one that is refused and not held; 100 are not there for the last.
    assert given == ["a", "b", "c", "too long"]
    gives["b"]()
    await asyncio.sleep(0.01)
    assert "unknown" not in given
    gives["c"]()
    await asyncio.gather(*tasks)
    assert given[-1] == "unknown"


async def test_who_gives_up_waiting_takes_nothing() -> None:
    bodies = room(held_body_bytes=100, max_body_bytes=100, body_wait_seconds=0.05)
    give = await bodies.take(80, "80")
    with pytest.raises(ApiError) as refused:
        await bodies.take(30, "30")
    assert (refused.value.status, refused.value.code) == (503, "too_many_bodies")
    leaver = asyncio.create_task(bodies.take(90, "90"))
    await asyncio.sleep(0.01)
    leaver.cancel()
    assert await asyncio.wait_for(bodies.take(20, "20"), 1)
    # Room that comes at the moment of leaving goes back.
    leaver = asyncio.create_task(bodies.take(80, "80"))
    await asyncio.sleep(0.01)
    give()
    leaver.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    assert await asyncio.wait_for(bodies.take(80, "80"), 1)


def house_of_bodies(make_house: Any, wait_seconds: float) -> Any:
    """A house that has room for two bodies of 50 kB from one network."""
    return make_house(
        settings={
            "max_body_bytes": 50_000,
            # Half of it for what comes from one network.
            "held_body_bytes": 200_000,
            "free_body_bytes": 1_000,
            "body_wait_seconds": wait_seconds,
            # What has room is answered at once: no process must start first.
            "process_body_bytes": 50_000,
        }
    )


async def begun(url: str) -> Http1Peer:
    """One whose body of 50 kB has begun."""
    peer = await Http1Peer.to(url)
    await peer.send(POST + b"Content-Length: 50000\r\n\r\n" + b" " * 40_000)
    await asyncio.sleep(0.1)
    return peer


async def test_long_bodies_wait_for_each_other(make_house: Any, listening: Any, log: Any) -> None:
    async with listening(house_of_bodies(make_house, 60).app) as url:
        peers = [await begun(url) for _ in range(4)]
        # A short one is not in their line.
        short = await Http1Peer.to(url)
        await short.send(POST + b"Content-Length: 2\r\n\r\n{}")
        assert await status(short) == 400
        # The third waits, though all of it has come; one that ends makes room for it.
        await peers[2].send(b" " * 9_998 + b"{}")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(peers[2].reader.readexactly(1), 0.2)
        await peers[0].send(b" " * 9_998 + b"{}")
        assert await status(peers[0]) == 400
        assert await status(peers[2]) == 400
        for peer in (peers[1], peers[3]):
            await peer.send(b" " * 9_998 + b"{}")
            assert await status(peer) == 400
        for peer in (*peers, short):
            peer.writer.close()
    assert log.lines() == [(400, "yes")] * 5
    assert log.complaints() == []


async def test_long_bodies_do_not_wait_for_ever(make_house: Any, listening: Any, log: Any) -> None:
    async with listening(house_of_bodies(make_house, 0.2).app) as url:
        first, second, third = [await begun(url) for _ in range(3)]
        refused = await third.answer()
        assert refused is not None
        assert refused.status == 503
        assert refused.headers["retry-after"] == "5"
        assert refused.headers["x-request-id"]
        assert ErrorBody.model_validate_json(refused.body).error.code == "too_many_bodies"
        for peer in (first, second):
            await peer.send(b" " * 9_998 + b"{}")
            assert await status(peer) == 400
        for peer in (first, second, third):
            peer.writer.close()
    assert log.lines() == [(503, "yes"), (400, "yes"), (400, "yes")]
    assert log.complaints() == []


def test_another_hypercorn_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    check_hypercorn()
    with monkeypatch.context() as patch:
        patch.delattr(H11Protocol, "_maybe_recycle")
        with pytest.raises(UnknownHypercornError, match=r"lacks H11Protocol\._maybe_recycle;"):
            check_hypercorn()
    monkeypatch.setattr(run, "TCPServer", logging.Logger)
    with pytest.raises(UnknownHypercornError, match=r"lacks hypercorn\.asyncio\.run\.TCPServer;"):
        check_hypercorn()


async def test_other_servers_of_the_process_keep_their_connections(
    make_house: Any, listening: Any
) -> None:
    async with listening(make_house().app):
        made = run.TCPServer(None, None, Config(), None, None, None, None)  # pyright: ignore
        assert type(made) is TCPServer
