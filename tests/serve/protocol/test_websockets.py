"""WebSocket handshakes are requests like any other, that this server has no use for."""

import asyncio
from typing import Any

import pytest
from support.raw_http import Answer, Http1Peer, Http2Peer

from serve.api.wire.response import ErrorBody

KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = (b"Connection: keep-alive, Upgrade", b"Upgrade: websocket")
VARIANTS = {
    "whole": (*UPGRADE, KEY, b"Sec-WebSocket-Version: 13"),
    "of another version": (*UPGRADE, KEY, b"Sec-WebSocket-Version: 99"),
    "without a version": (*UPGRADE, KEY),
    "without a key": (*UPGRADE, b"Sec-WebSocket-Version: 13"),
    "of another protocol too": (UPGRADE[0], b"Upgrade: foo, WebSocket", KEY),
    "with a body": (*UPGRADE, KEY, b"Sec-WebSocket-Version: 13", b"Content-Length: 5"),
}


def handshake(path: str, *lines: bytes) -> bytes:
    head = b"\r\n".join((f"GET {path} HTTP/1.1".encode(), b"Host: x", *lines))
    return head + b"\r\n\r\n" + (b"hello" if b"Content-Length: 5" in lines else b"")


def code(answer: Answer | None) -> tuple[int, str | None]:
    assert answer is not None
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    return answer.status, ErrorBody.model_validate_json(answer.body).error.code


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/nothing"])
async def test_a_handshake(
    make_house: Any, listening: Any, log: Any, path: str, variant: str
) -> None:
    house = make_house(settings={"api_keys": ("k",), "cors_origins": ("*",)})
    lines = (*VARIANTS[variant], b"Origin: https://chat.example")
    async with listening(house.app) as url:
        peer = await Http1Peer.to(url)
        await peer.send(handshake(path, *lines))
        assert code(await peer.answer()) == (401, "invalid_api_key")
        key = (b"Authorization: Bearer k", b"x-request-id: abc-1")
        await peer.send(handshake(path, *lines, *key))
        answer = await peer.answer()
        assert answer is not None
        assert code(answer) == (426, "websocket_not_supported")
        assert answer.headers["upgrade"] == "HTTP/1.1"
        assert answer.headers["connection"] == "Upgrade"
        assert answer.headers["x-request-id"] == "abc-1"
        assert answer.headers["access-control-allow-origin"] == "*"
        # The connection speaks HTTP as before.
        await peer.send(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await peer.answer()).status == 200  # pyright: ignore
        peer.writer.close()
    assert log.lines() == [(401, "yes"), (426, "yes"), (200, "yes")]
    assert 'status="426"} 1.0' in house.metrics.render().decode()
    assert log.complaints() == []


@pytest.mark.parametrize(
    "lines",
    [
        (b"Upgrade: websocket",),  # no Connection: the header is for somebody else
        (b"Connection: Upgrade", b"Upgrade: foo"),
    ],
)
async def test_what_is_no_handshake(make_house: Any, listening: Any, lines: Any) -> None:
    async with listening(make_house().app) as url:
        peer = await Http1Peer.to(url)
        await peer.send(handshake("/v1/models", *lines))
        answer = await peer.answer()
        assert answer is not None
        assert answer.status == 200
        peer.writer.close()


async def test_over_http2(make_house: Any, listening: Any, log: Any) -> None:
    house = make_house(settings={"api_keys": ("k",)})
    connect = {
        ":method": "CONNECT",
        ":protocol": "websocket",
        ":scheme": "http",
        ":authority": "x",
        ":path": "/v1/chat/completions",
        "sec-websocket-version": "13",
    }
    async with listening(house.app) as url:
        peer = await Http2Peer.to(url)
        await peer.open()
        await peer.send(peer.headers(1, connect))
        assert code(await peer.answer_on(1)) == (401, "invalid_api_key")
        await peer.send(peer.headers(3, {**connect, "authorization": "Bearer k"}))
        assert code(await peer.answer_on(3)) == (501, "unsupported_method")
        peer.writer.close()
    assert log.lines() == [(401, "yes"), (501, "yes")]
    assert log.complaints() == []


async def test_clients_that_vanish(make_house: Any, listening: Any, log: Any) -> None:
    before = asyncio.all_tasks()
    async with listening(make_house().app) as url:
        whole = handshake("/v1/models", *VARIANTS["whole"])
        for length in (len(whole), len(whole) - 1, 40):
            peer = await Http1Peer.to(url)
            await peer.send(whole[:length])
            peer.vanish()
        peer = await Http2Peer.to(url)
        await peer.open()
        peer.vanish()
    assert log.complaints() == []
    assert asyncio.all_tasks() == before
