"""How long a client may take for each thing, and that none is hurried that waits for an answer."""

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest
from hyperframe.frame import DataFrame, RstStreamFrame
from support.certificates import self_signed
from support.raw_http import Answer, Http1Peer, Http2Peer
from support.waiting import until

from serve.api.wire.response import ErrorBody
from serve.engine.types import TokenEvent

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
HTTP2_POST = {
    ":method": "POST",
    ":scheme": "http",
    ":authority": "x",
    ":path": "/v1/chat/completions",
    "content-type": "application/json",
}


def timed_out(answer: Answer | None) -> bool:
    assert answer is not None
    assert answer.headers["x-request-id"]
    error = ErrorBody.model_validate_json(answer.body).error
    return (answer.status, error.code) == (408, "request_timeout")


async def test_a_head_that_trickles(make_house: Any, listening: Any, log: Any) -> None:
    async with listening(make_house().app, head_timeout=0.3) as url:
        peer = await Http1Peer.to(url)
        # A second request's head has its own time.
        await peer.send(LIVE)
        assert await peer.answer() is not None
        await asyncio.sleep(0.35)

        async def trickle() -> None:
            for byte in LIVE:
                await peer.send(bytes([byte]))
                await asyncio.sleep(0.05)

        trickling = asyncio.create_task(trickle())
        began = asyncio.get_running_loop().time()
        assert timed_out(await peer.answer())
        assert 0.25 < asyncio.get_running_loop().time() - began < 2
        trickling.cancel()
        peer.writer.close()
    assert log.lines() == [(200, "yes"), (408, "yes")]
    assert log.complaints() == []


@pytest.mark.parametrize("framing", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
async def test_a_body_that_stops(make_house: Any, listening: Any, log: Any, framing: bytes) -> None:
    house = make_house(settings={"body_seconds": 0.2})
    async with listening(house.app) as url:
        peer = await Http1Peer.to(url)
        await peer.send(POST + framing + b"\r\n\r\n5\r\n{")
        began = asyncio.get_running_loop().time()
        assert timed_out(await peer.answer())
        assert asyncio.get_running_loop().time() - began < 2
        assert await peer.at_end()
        peer.writer.close()
    assert log.lines() == [(408, "yes")]
    assert log.complaints() == []


async def test_a_body_that_stops_over_http2(make_house: Any, listening: Any, log: Any) -> None:
    house = make_house(settings={"body_seconds": 0.2})
    async with listening(house.app) as url:
        peer = await Http2Peer.to(url)
        await peer.open()
        await peer.send(peer.headers(1, HTTP2_POST) + DataFrame(1, b"{").serialize())
        assert timed_out(await peer.answer_on(1))
        # What still comes of it is dropped, and the connection goes on.
        live = {**HTTP2_POST, ":method": "GET", ":path": "/health/live"}
        await peer.send(
            DataFrame(1, b"}" * 1_000).serialize() + peer.headers(3, live, "END_STREAM")
        )
        answer = await peer.answer_on(3)
        assert answer is not None
        assert answer.status == 200
        peer.writer.close()
    assert log.lines() == [(408, "yes"), (200, "yes")]
    assert log.complaints() == []


@pytest.mark.parametrize("asked", [b"", LIVE, b"\r\n"])
async def test_an_idle_connection(make_house: Any, listening: Any, log: Any, asked: bytes) -> None:
    async with listening(make_house().app, keep_alive_timeout=0.2) as url:
        peer = await Http1Peer.to(url)
        await peer.send(asked)
        if asked == LIVE:
            assert await peer.answer() is not None
        assert await peer.at_end()
        peer.writer.close()
    assert log.complaints() == []


async def test_an_idle_connection_of_http2(make_house: Any, listening: Any) -> None:
    async with listening(make_house().app, keep_alive_timeout=0.2) as url:
        peer = await Http2Peer.to(url)
        await peer.open()
        assert await peer.at_end()
        peer.writer.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_who_waits_is_not_hurried(
    make_house: Any, ask: Any, listening: Any, stream: bool
) -> None:
    house = make_house(
        plan=lambda _: [0.6, [TokenEvent(0, 65)], 0.6, [TokenEvent(0, None, "stop")]],
        settings={"body_seconds": 0.4},
    )
    bounds = {"keep_alive_timeout": 0.4, "head_timeout": 0.4, "stalled_reader_timeout": 0.4}
    async with (
        listening(house.app, **bounds) as url,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        answer = await client.post(f"{url}/v1/chat/completions", json=ask(stream=stream))
        assert answer.status_code == 200
        assert answer.text.endswith("data: [DONE]\n\n") or not stream


def endless(request: Any) -> list[Any]:
    """Megabytes of events, then a wait for ever."""
    events = [TokenEvent(choice, 65) for choice in range(request.choices)]
    return [*[events] * 150, None]


async def narrow(url: str, kind: type[Any]) -> Any:
    """A client whose system takes little that it does not read."""
    host, port = url.removeprefix("http://").split(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
    peer = kind(*await asyncio.open_connection(sock=sock, limit=4096))
    peer.writer.transport.pause_reading()
    return peer


def posted(asked: dict[str, Any]) -> bytes:
    content = httpx.Request("POST", "http://x", json=asked).content
    return POST + b"Content-Length: %d\r\n\r\n" % len(content) + content


async def test_who_does_not_read_is_left(
    make_house: Any, ask: Any, listening: Any, log: Any
) -> None:
    house = make_house(plan=endless)
    async with listening(house.app, stalled_reader_timeout=0.3) as url:
        peer = await narrow(url, Http1Peer)
        await peer.send(posted(ask(stream=True, n=128)))
        await until(lambda: house.engine.generations)
        await until(lambda: not house.engine.generations[0].running)
        assert await log.until(1) == [(200, "no")]
        peer.vanish()
    assert log.complaints() == []


async def test_who_does_not_read_the_last_answer_is_left(
    make_house: Any, listening: Any, log: Any
) -> None:
    bounds = {"stalled_reader_timeout": 0.3, "linger_timeout": 0.1}
    async with listening(make_house().app, **bounds) as url:
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.get(f"{url}/health/live")
        await asyncio.sleep(0.2)
        before = len(asyncio.all_tasks())
        peer = await narrow(url, Http1Peer)
        page = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n"
        # 105 KB: what the system does not take, waits in the server without holding up anything.
        await peer.send(page + b"\r\n" + page + b"Connection: close\r\n\r\n")
        assert await log.until(3) == [(200, "yes")] * 3
        await until(lambda: len(asyncio.all_tasks()) == before)
        peer.vanish()
    assert log.complaints() == []


async def test_who_does_not_read_over_http2_loses_the_stream(
    make_house: Any, ask: Any, listening: Any, log: Any
) -> None:
    house = make_house(plan=endless)
    async with listening(house.app, stalled_reader_timeout=0.3) as url:
        peer = await Http2Peer.to(url)
        await peer.open()
        content = httpx.Request("POST", "http://x", json=ask(stream=True, n=128)).content
        await peer.send(
            peer.headers(1, HTTP2_POST) + DataFrame(1, content, flags=["END_STREAM"]).serialize()
        )
        # It never widens its window.
        frame = await peer.until(lambda frame: isinstance(frame, RstStreamFrame))
        assert isinstance(frame, RstStreamFrame)
        assert frame.error_code == 8  # CANCEL
        await until(lambda: not house.engine.generations[0].running)
        assert await log.until(1) == [(200, "no")]
        peer.writer.close()
    assert log.complaints() == []


async def test_who_reads_slowly_gets_it_all(make_house: Any, ask: Any, listening: Any) -> None:
    def plan(request: Any) -> list[Any]:
        ends = [TokenEvent(choice, None, "stop") for choice in range(request.choices)]
        return [*endless(request)[:-1], ends]

    house = make_house(plan=plan)
    async with listening(house.app, stalled_reader_timeout=1) as url:
        peer = await narrow(url, Http1Peer)
        await peer.send(posted(ask(stream=True, n=128)))
        await until(lambda: house.engine.generations)
        peer.writer.transport.resume_reading()
        got = bytearray()
        began = asyncio.get_running_loop().time()
        while not got.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"):
            piece = await peer.reader.read(65_536)
            assert piece, "it was cut off"
            got += piece
            if asyncio.get_running_loop().time() - began < 2.5:
                await asyncio.sleep(0.01)
        peer.writer.close()


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, str]:
    return dict(zip(("certfile", "keyfile"), self_signed(tmp_path), strict=True))


async def test_a_tls_handshake_that_stalls(
    make_house: Any, listening: Any, log: Any, certificate: dict[str, str]
) -> None:
    house = make_house()
    async with listening(house.app, ssl_handshake_timeout=0.2, **certificate) as url:
        for begun in (b"", bytes.fromhex("160301")):
            peer = await Http1Peer.to(url)
            await peer.send(begun)
            assert await peer.at_end()
            peer.writer.close()
        context = ssl.create_default_context(cafile=certificate["certfile"])
        context.check_hostname = False
        async with httpx.AsyncClient(verify=context, trust_env=False) as client:
            answer = await client.get(url.replace("http:", "https:") + "/health/live")
            assert answer.status_code == 200
    assert log.complaints() == []


@pytest.mark.parametrize("stream", [False, True])
async def test_leaving_over_tls_frees_rows(
    make_house: Any, ask: Any, listening: Any, log: Any, certificate: dict[str, str], stream: bool
) -> None:
    house = make_house(plan=lambda _: [[TokenEvent(0, 65)], None])
    context = ssl.create_default_context(cafile=certificate["certfile"])
    context.check_hostname = False
    async with listening(house.app, **certificate) as url:
        host, port = url.removeprefix("http://").split(":")
        peer = Http1Peer(*await asyncio.open_connection(host, int(port), ssl=context))
        await peer.send(posted(ask(stream=stream)))
        await until(lambda: house.engine.generations)
        await asyncio.sleep(0.05)
        assert house.engine.generations[0].running
        peer.writer.close()
        await until(lambda: not house.engine.generations[0].running)
    assert log.complaints() == []


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (b"GET /health/live HTTP/1.0\r\n\r\n", 200),
        (b"hello\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    ],
)
async def test_the_end_of_a_connection_over_tls(
    make_house: Any, listening: Any, certificate: dict[str, str], asked: bytes, status: int
) -> None:
    context = ssl.create_default_context(cafile=certificate["certfile"])
    context.check_hostname = False
    async with listening(make_house().app, linger_timeout=0.5, **certificate) as url:
        host, port = url.removeprefix("http://").split(":")
        peer = Http1Peer(*await asyncio.open_connection(host, int(port), ssl=context))
        await peer.send(asked)
        answer = await peer.answer()
        assert answer is not None
        assert answer.status == status
        # Only whoever may still send is waited for.
        began = asyncio.get_running_loop().time()
        assert await peer.at_end()
        waited = asyncio.get_running_loop().time() - began
        assert (waited > 0.4) is (status == 400)
        peer.writer.close()
