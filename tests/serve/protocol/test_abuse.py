"""What a client can do wrong in HTTP/1.1 and HTTP/2, and the exact answer to each."""

import asyncio
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
)
from support.raw_http import Answer, Http1Peer, Http2Peer

from serve.api.wire.response import ErrorBody
from serve.engine.types import TokenEvent

HOST = b"Host: x\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
BAD = (400, "malformed_request")
LARGE = (431, "headers_too_large")
OLD = (505, "unsupported_http_version")
CODING = (501, "unsupported_transfer_encoding")
FINE = (200, None)


def live(*lines: bytes) -> bytes:
    """A request that is answered, but for what these header lines do."""
    return LIVE[:-2] + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


@dataclass(frozen=True)
class Http1Case:
    """Bytes, the answers to them, and whether the connection then goes on.

    `ends` closes the client's sending side after them; `interim` is what comes before answers.
    """

    sent: bytes
    answers: Sequence[tuple[int, str | None]] = (BAD,)
    goes_on: bool = False
    ends: bool = False
    interim: Sequence[int] = ()


def ok(sent: bytes, status: int = 200, code: str | None = None, **more: Any) -> Http1Case:
    return Http1Case(sent, [(status, code)], goes_on=True, **more)


STOPS = "a head that stops"
HTTP1 = {
    "words": Http1Case(b"hello there\r\n\r\n"),
    "a TLS hello": Http1Case(bytes.fromhex("16030100a5010000a10303")),
    "HTTP/0.9": Http1Case(b"GET /\r\n\r\n"),
    "HTTP/0.9 with its number": Http1Case(b"GET / HTTP/0.9\r\n\r\n", [OLD]),
    "HTTP/2 as text": Http1Case(b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", [OLD]),
    "HTTP/3 as text": Http1Case(b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", [OLD]),
    "a later HTTP/1": ok(b"GET /health/live HTTP/1.9\r\nHost: x\r\n\r\n"),
    "a version that is no number": Http1Case(b"GET / HTTP/1.x\r\nHost: x\r\n\r\n"),
    "http in small letters": Http1Case(b"GET / http/1.1\r\nHost: x\r\n\r\n"),
    "empty lines first": ok(b"\r\n\n\r\n" + LIVE),
    "no Host": Http1Case(b"GET /health/live HTTP/1.1\r\n\r\n"),
    "two Hosts": Http1Case(live(b"Host: y")),
    "two lengths": Http1Case(POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    "two lengths in a line": Http1Case(POST + b"Content-Length: 5, 6\r\n\r\nhello"),
    "a negative length": Http1Case(POST + b"Content-Length: -5\r\n\r\n"),
    "a signed length": Http1Case(POST + b"Content-Length: +5\r\n\r\nhello"),
    "a length in hex": Http1Case(POST + b"Content-Length: 0x5\r\n\r\nhello"),
    "a length of 21 digits": Http1Case(POST + b"Content-Length: " + b"9" * 21 + b"\r\n\r\n"),
    "an unknown coding": Http1Case(POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", [CODING]),
    "two codings": Http1Case(POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n", [CODING]),
    "length and chunks": Http1Case(
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + LIVE
    ),
    "chunks in HTTP/1.0": Http1Case(
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a chunk without a size": Http1Case(CHUNKED + b"xyz\r\n"),
    "a negative chunk": Http1Case(CHUNKED + b"-1\r\n"),
    "a chunk of 2^84 bytes": Http1Case(CHUNKED + b"1" + b"0" * 20 + b"\r\n"),
    "a chunk longer than it says": Http1Case(CHUNKED + b"2\r\nabc\r\n"),
    "an endless chunk extension": Http1Case(CHUNKED + b"1;" + b"x" * 40_000),
    "endless trailers": Http1Case(CHUNKED + b"0\r\nX: " + b"x" * 40_000),
    "a NUL in a header": Http1Case(live(b"X: a\0b")),
    "a lone CR in a header": Http1Case(live(b"X: a\rY: b")),
    "a control character in a header": Http1Case(live(b"X: a\x1bb")),
    "a space before the colon": Http1Case(live(b"X : a")),
    "a header without a colon": Http1Case(live(b"X")),
    "a header without a name": Http1Case(live(b": a")),
    "a folded first header": Http1Case(b"GET / HTTP/1.1\r\n X: a\r\nHost: x\r\n\r\n"),
    "a header of 17 KiB": Http1Case(live(b"X: " + b"a" * 17_408), [LARGE]),
    "a header without an end": Http1Case(LIVE[:-2] + b"X: " + b"a" * 40_000, [LARGE]),
    "3,000 headers": Http1Case(live(*[b"X: a"] * 3_000), [LARGE]),
    "a path of 17 KiB": Http1Case(b"GET /" + b"a" * 17_408 + b" HTTP/1.1\r\n" + HOST, [LARGE]),
    "a path without a slash": Http1Case(b"GET health HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a query alone": Http1Case(b"GET ?x HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a path that is not ASCII": Http1Case("GET /é HTTP/1.1\r\nHost: x\r\n\r\n".encode()),
    "an address of no host": Http1Case(b"GET http:///x HTTP/1.1\r\nHost: x\r\n\r\n"),
    "an address of half a host": ok(b"GET http://[/ HTTP/1.1\r\nHost: x\r\n\r\n", 404, "not_found"),
    "a whole address": ok(b"GET HTTP://a.example/health/live HTTP/1.1\r\nHost: x\r\n\r\n"),
    "the path *": ok(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404, "not_found"),
    "a tunnel": ok(b"CONNECT a:443 HTTP/1.1\r\nHost: x\r\n\r\n", 501, "unsupported_method"),
    "a method nobody knows": ok(
        b"BREW /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed"
    ),
    "an upgrade to HTTP/2": ok(
        live(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: !")
    ),
    "a body cut off": Http1Case(POST + b"Content-Length: 9\r\n\r\n{}", ends=True),
    "chunks cut off": Http1Case(CHUNKED + b"9\r\n{}", ends=True),
    "a head cut off": Http1Case(b"GET /health", ends=True),
    STOPS: Http1Case(b"GET /health", [(408, "request_timeout")]),
    "nothing at all": Http1Case(b"", [], ends=True),
    "more after the last request": Http1Case(live(b"Connection: close") + LIVE, [FINE]),
    "a fault behind a request": Http1Case(LIVE + b"GET\r\n\r\n" + LIVE, [FINE, BAD]),
    "HTTP/2 behind a request": Http1Case(LIVE + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [FINE, OLD]),
    "three requests at once": Http1Case(LIVE * 3, [FINE] * 3, goes_on=True),
    "twenty requests and the end": Http1Case(LIVE * 20, [FINE] * 20, ends=True),
    "a body that was asked for": ok(
        POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
        400,
        "missing_required_parameter",
        interim=[100],
    ),
}


def raw(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    """A frame that no library would make."""
    return struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, flags, stream) + body


GET = {":method": "GET", ":scheme": "http", ":authority": "x", ":path": "/health/live"}
ASK = {
    **GET,
    ":method": "POST",
    ":path": "/v1/chat/completions",
    "content-type": "application/json",
}
NO_ERROR, PROTOCOL, FLOW_CONTROL, STREAM_CLOSED, FRAME_SIZE, CALM = 0, 1, 3, 5, 6, 11
END = "END_STREAM"


@dataclass(frozen=True)
class Http2Case:
    """Frames, the answers by stream, and the code with which the connection or stream 1 ends."""

    sent: Callable[[Http2Peer], bytes]
    answers: dict[int, tuple[int, str | None]] = field(default_factory=dict)
    goaway: int | None = None
    reset: int | None = None
    silent: bool = False


def ends(sent: Callable[[Http2Peer], bytes], code: int = PROTOCOL) -> Http2Case:
    return Http2Case(sent, goaway=code)


def many_headers(peer: Http2Peer) -> bytes:
    # One entry of hpack's table, told a hundred times.
    block = peer.encoded({**GET, "x": "a" * 1_000})
    return raw(1, 5, 1, block + b"\xbe" * 100)


HTTP2 = {
    "no preface": Http2Case(lambda _: b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", silent=True),
    "a frame too long": ends(lambda _: raw(0, 0, 1, b"x" * 16_385), FRAME_SIZE),
    "data of no stream": ends(lambda _: raw(0, 0, 0, b"x")),
    "headers of no stream": ends(lambda _: raw(1, 4, 0, b"\x82")),
    "a stream of the server's": ends(lambda peer: peer.headers(2, GET, END)),
    "an older stream": ends(lambda peer: peer.headers(5, GET, END) + peer.headers(3, GET, END)),
    "a window of no growth": ends(lambda _: raw(8, 0, 0, bytes(4))),
    "a window too wide": ends(lambda _: raw(8, 0, 0, b"\x7f\xff\xff\xff"), FLOW_CONTROL),
    "settings of a length": ends(lambda _: raw(4, 0, 0, b"12345"), FRAME_SIZE),
    "settings of a stream": ends(lambda _: raw(4, 0, 1, b"\0\4\0\0\0\1")),
    "a first window too wide": ends(lambda _: raw(4, 0, 0, b"\0\4\xff\xff\xff\xff"), FLOW_CONTROL),
    "a ping of seven": ends(lambda _: raw(6, 0, 0, b"1234567"), FRAME_SIZE),
    "the rest of nothing": ends(lambda _: ContinuationFrame(1, b"\x82").serialize()),
    "headers broken into": ends(
        lambda peer: peer.headers(1, GET, END, "open") + raw(6, 0, 0, bytes(8))
    ),
    "headers that are not HPACK": ends(lambda _: raw(1, 5, 1, b"\xff\xff\xff")),
    "100 KB of headers in 1 KB": ends(many_headers, CALM),
    "no path": ends(lambda peer: peer.headers(1, {**GET, ":path": ""}, END)),
    "a header in capitals": ends(lambda peer: peer.headers(1, {**GET, "X-A": "b"}, END)),
    "a header of HTTP/1.1": ends(lambda peer: peer.headers(1, {**GET, "connection": "x"}, END)),
    "a line feed in a header": ends(lambda peer: peer.headers(1, {**GET, "x": "a\nb"}, END)),
    "an unknown pseudo-header": ends(lambda peer: peer.headers(1, {**GET, ":x": "b"}, END)),
    "a body of another length": ends(
        lambda peer: (
            peer.headers(1, {**ASK, "content-length": "5"})
            + DataFrame(1, b"xx", flags=[END]).serialize()
        )
    ),
    "padding beyond the frame": ends(lambda peer: peer.headers(1, ASK) + raw(0, 8, 1, b"\xffab")),
    "101 streams": ends(
        lambda peer: b"".join(peer.headers(stream, ASK) for stream in range(1, 203, 2))
    ),
    "a push to the server": ends(
        lambda peer: (
            peer.headers(1, ASK)
            + PushPromiseFrame(1, 2, peer.encoded(GET), flags=["END_HEADERS"]).serialize()
        )
    ),
    "a reset of an idle stream": ends(lambda _: RstStreamFrame(7).serialize()),
    "data after the end": Http2Case(
        lambda peer: peer.headers(1, GET, END) + DataFrame(1, b"x").serialize(),
        reset=STREAM_CLOSED,
    ),
    "frames nobody knows": Http2Case(
        lambda peer: raw(0x55, 0, 0, b"abc") + peer.headers(1, GET, END), {1: FINE}
    ),
    "2,000 priorities": Http2Case(
        lambda peer: (
            b"".join(PriorityFrame(n, 0, 1).serialize() for n in range(3, 4_001, 2))
            + peer.headers(4_003, GET, END)
        ),
        {4_003: FINE},
    ),
    "a WebSocket": Http2Case(
        lambda peer: peer.headers(1, {**GET, ":method": "CONNECT", ":protocol": "websocket"}),
        {1: (501, "unsupported_method")},
        reset=NO_ERROR,
    ),
    "a tunnel": Http2Case(
        lambda peer: peer.headers(1, {":method": "CONNECT", ":authority": "a:443"}),
        {1: (501, "unsupported_method")},
        reset=NO_ERROR,
    ),
    "a path that is not ASCII": Http2Case(
        lambda peer: peer.headers(1, {**GET, ":path": b"/\xff"}, END), {1: BAD}
    ),
    "a path without a slash": Http2Case(
        lambda peer: peer.headers(1, {**GET, ":path": "x"}, END), {1: BAD}
    ),
    "a method with a space": Http2Case(
        lambda peer: peer.headers(1, {**GET, ":method": "GET /"}, END), {1: BAD}
    ),
    "a header of 17 KiB": Http2Case(
        lambda peer: peer.headers(1, {**GET, "x": "a" * 17_408}, END), {1: LARGE}
    ),
    "a body that nobody reads": Http2Case(
        lambda peer: (
            peer.headers(1, {**ASK, "content-type": "text/plain"})
            + DataFrame(1, b"x" * 9_000, flags=[END]).serialize()
            + peer.headers(3, GET, END)
        ),
        {1: (415, "unsupported_media_type"), 3: FINE},
    ),
}


def check(answer: Answer | None, expected: tuple[int, str | None]) -> None:
    assert answer is not None, "the connection has ended instead"
    assert answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/json"
    code = None
    if answer.status != 200:
        code = ErrorBody.model_validate_json(answer.body).error.code
        assert answer.json["error"].keys() == {"message", "type", "param", "code"}
    assert (answer.status, code) == expected


async def play_http1(url: str, case: Http1Case) -> None:
    peer = await Http1Peer.to(url)
    await peer.send(case.sent, ends=case.ends)
    for expected in case.answers:
        check(await peer.answer(), expected)
    assert peer.interim == list(case.interim)
    if case.goes_on:
        await peer.send(LIVE)
        check(await peer.answer(), FINE)
    else:
        assert await peer.at_end()
    peer.writer.close()


async def play_http2(url: str, case: Http2Case) -> None:
    peer = await Http2Peer.to(url)
    if not case.silent:
        await peer.open()
    await peer.send(case.sent(peer))
    for stream, expected in case.answers.items():
        check(await peer.answer_on(stream), expected)
    if case.reset is not None:
        assert await _code(peer, RstStreamFrame) == case.reset
    if case.goaway is not None:
        assert await _code(peer, GoAwayFrame) == case.goaway
    if case.goaway is not None or case.silent:
        assert await peer.at_end()
    else:
        await peer.send(peer.headers(9_001, GET, END))
        check(await peer.answer_on(9_001), FINE)
    peer.writer.close()


async def _code(peer: Http2Peer, kind: type[Frame]) -> int:
    frame = await peer.until(lambda frame: isinstance(frame, kind | GoAwayFrame))
    assert isinstance(frame, kind), frame
    return frame.error_code  # pyright: ignore


def logged(case: Http1Case | Http2Case) -> list[int]:
    answers = list(case.answers.values() if isinstance(case, Http2Case) else case.answers)
    goes_on = (
        case.goes_on if isinstance(case, Http1Case) else case.goaway is None and not case.silent
    )
    return sorted(status for status, _ in (*answers, *([FINE] if goes_on else [])))


@pytest.mark.parametrize("name", HTTP1)
async def test_http1(make_house: Any, listening: Any, log: Any, name: str) -> None:
    house = make_house()
    seconds = 0.2 if name == STOPS else 20
    async with listening(house.app, head_timeout=seconds) as url:
        await play_http1(url, HTTP1[name])
        expected = logged(HTTP1[name])
        lines = await log.until(len(expected))
    assert sorted(lines) == [(status, "yes") for status in expected]
    assert log.complaints() == []
    metrics = house.metrics.render().decode()
    counted = [
        float(line.split()[-1])
        for line in metrics.splitlines()
        if line.startswith("parlance_http_requests_total{")
    ]
    assert sum(counted) == len(expected)


@pytest.mark.parametrize("name", HTTP2)
async def test_http2(make_house: Any, listening: Any, log: Any, name: str) -> None:
    case = HTTP2[name]
    async with listening(make_house().app) as url:
        await play_http2(url, case)
    # Requests that a GOAWAY or a reset breaks off have a line too.
    lines = [line for line in log.lines() if line[0] != 499]
    if case.goaway is None:
        assert [status for status, _ in sorted(lines)][-len(logged(case)) :] == logged(case)
    assert log.complaints() == []


@pytest.mark.parametrize("apart", [False, True], ids=["with it", "after it"])
async def test_what_follows_a_last_request_does_not_spoil_its_answer(
    make_house: Any, listening: Any, log: Any, apart: bool
) -> None:
    ends = [[TokenEvent(0, 65)], 0.2, [TokenEvent(0, None, "stop")]]
    body = b'{"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}'
    request = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with listening(make_house(plan=lambda _: ends).app) as url:
        peer = await Http1Peer.to(url)
        # Some clients end a body with an empty line that is not of it.
        await peer.send(request if apart else request + b"\r\n" + LIVE)
        if apart:
            await asyncio.sleep(0.1)
            await peer.send(b"\r\n" + LIVE)
        check(await peer.answer(), FINE)
        assert await peer.at_end()
        peer.writer.close()
    assert log.lines() == [(200, "yes")]
    assert log.complaints() == []


async def test_all_at_once_leave_nothing(
    make_house: Any, listening: Any, log: Any, ask: Any
) -> None:
    house = make_house()
    before = asyncio.all_tasks()
    # With so much to do at once an answer may take a while, and nobody is to be asked meanwhile.
    async with listening(house.app, first_probe_pause=60) as url:
        await asyncio.gather(
            *(play_http1(url, case) for name, case in HTTP1.items() if name != STOPS),
            *(play_http2(url, case) for case in HTTP2.values()),
        )
        peer = await Http1Peer.to(url)
        await peer.send(LIVE)
        check(await peer.answer(), FINE)
        peer.writer.close()
    assert log.complaints() == []
    assert asyncio.all_tasks() == before
    assert not any(generation.running for generation in house.engine.generations)
