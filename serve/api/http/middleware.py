"""Around every request: its id, the headers all responses carry, its log line, its end.

An ASGI layer below the web framework, because only here the true end of a response is seen,
whether the last byte was sent, the client left, or the handler was never reached. Knows
nothing of what answers a route, only which ones are probes.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, cast

from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
)

from serve.api.exchange import Exchange, attach, request_id_of
from serve.api.http.body_room import BodyRoom
from serve.api.http.callers import address_of
from serve.api.http.cross_origin import CrossOrigin, Headers
from serve.api.wire.errors import ApiError
from serve.metrics import Metrics
from serve.protocol.fault import FAULT, HALF_CLOSED, Fault, fault_of
from serve.shares import network_of

_ACCESS = logging.getLogger("parlance.access")

# The version of the API that the responses follow, as its official servers name it.
API_VERSION = b"2020-10-01"

# A client that is told of an error while it still sends its body often misses the answer, so
# the body is awaited (and dropped) for this long first.
_BODY_GRACE_SECONDS = 2.0

_CLIENT_GONE = 499

# Asked every few seconds by whatever watches over the server.
_PROBES = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})


class Envelope:
    """Wraps the application.

    Args:
        app: the ASGI application inside.
        cross_origin: answers preflight requests and adds headers.
        metrics: counts every request.
        room: what bodies may take.
    """

    def __init__(
        self, app: ASGIFramework, cross_origin: CrossOrigin, metrics: Metrics, room: BodyRoom
    ) -> None:
        self._app = app
        self._cross_origin = cross_origin
        self._metrics = metrics
        self._room = room

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        exchange = Exchange(
            request_id_of(headers.get(b"x-request-id", b"").decode("latin-1")),
            scope["method"],
        )
        attach(scope, exchange)  # pyright: ignore[reportArgumentType]
        extra = self._cross_origin.response_headers(headers.get(b"origin"))
        network = network_of(address_of(scope))
        take_room = partial(self._room.take, _length(headers), network)
        traffic = _Traffic(exchange, extra, receive, send, take_room, self._room.free_bytes)
        try:
            if (fault := fault_of(scope)) is not None:
                exchange.route = "malformed"
                await traffic.refuse(_error(fault))
            elif scope["method"] == "CONNECT":
                # Nothing that follows it is a body.
                traffic.expect_no_body()
                await self._app(scope, traffic.receive, traffic.send)
            elif (
                self._cross_origin.enabled
                and scope["method"] == "OPTIONS"
                and b"access-control-request-method" in headers
            ):
                exchange.route = "preflight"
                await _answer_preflight(
                    send, exchange, self._cross_origin.preflight_headers(headers.get(b"origin"))
                )
            else:
                await self._app(scope, traffic.receive, traffic.send)
        except ApiError as error:
            # What went wrong with the body on its way; all else the framework has answered.
            await traffic.refuse(error)
        finally:
            traffic.over = True
            exchange.close()
            self._record(exchange)

    def _record(self, exchange: Exchange) -> None:
        status = exchange.status or _CLIENT_GONE
        self._metrics.observe_request(exchange.route, status, exchange.seconds)
        if exchange.tier is not None:
            self._metrics.observe_tier(exchange.tier, exchange.seconds)
        if exchange.prompt_tokens:
            self._metrics.count_tokens(
                exchange.prompt_tokens,
                exchange.completion_tokens,
                exchange.caller,
                exchange.adapter,
            )
        # A probe's answer is told by its asker, a 503 while the model loads too: at `info`, probes
        # would bury the requests.
        _ACCESS.log(
            logging.DEBUG if exchange.route in _PROBES else logging.INFO,
            "id=%s method=%s route=%s status=%d complete=%s prompt_tokens=%d "
            "completion_tokens=%d ms=%.1f caller=%s metadata=%s",
            exchange.request_id,
            exchange.method,
            exchange.route,
            status,
            "yes" if exchange.complete else "no",
            exchange.prompt_tokens,
            exchange.completion_tokens,
            exchange.seconds * 1000,
            exchange.caller or "-",
            # ASCII JSON: what a client sends cannot end the line or look like another.
            json.dumps(exchange.metadata or {}, separators=(",", ":")),
        )


class _Traffic:
    """The messages of one request on their way.

    Attributes:
        over: whether nobody waits for any. Where the server closes amid a request, the
            framework's tasks go on a little.
    """

    def __init__(
        self,
        exchange: Exchange,
        extra: Headers,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        take_room: Callable[[], Awaitable[Callable[[], None]]],
        free_bytes: int,
    ) -> None:
        self._exchange = exchange
        self._extra = extra
        self._receive = receive
        self._send = send
        self._take = take_room
        self._free_bytes = free_bytes
        self._received_bytes = 0
        self._has_room = False
        self._body_received = asyncio.Event()
        self.over = False

    async def receive(self) -> ASGIReceiveEvent:
        if self._exchange.intake is not None and not self._body_received.is_set():
            await self._exchange.intake.wanted()
        else:
            await self._take_room()
        message = await self._receive()
        # Of two kinds ASGI knows nothing.
        told = cast("Mapping[str, Any]", message)
        if told["type"] == FAULT:
            self._exchange.close()
            raise _error(told["fault"])
        if told["type"] == HALF_CLOSED:
            self._exchange.half_close()
            return message
        if message["type"] == "http.request":
            self._received_bytes += len(message.get("body", b""))
        if message["type"] == "http.disconnect":
            # The framework cancels its handler now, but the handler may be at a point that
            # swallows it (`asyncio.wait_for` of Python 3.11 does, when what it waits for is
            # there at the same moment): so what the request has begun is ended here.
            self._exchange.close()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._body_received.set()
        return message

    def expect_no_body(self) -> None:
        """Answer without waiting for the end of the request."""
        self._body_received.set()

    async def _take_room(self) -> None:
        if (
            self._has_room
            or self._body_received.is_set()
            or self._received_bytes < self._free_bytes
        ):
            return
        self._has_room = True
        self._exchange.body_used = await self._take()
        self._exchange.on_close(self._exchange.body_used)

    async def refuse(self, error: ApiError) -> None:
        """Answer with `error`, without waiting for the rest of the request."""
        if self._exchange.status is not None:
            return
        self.expect_no_body()
        body = json.dumps(error.body(), ensure_ascii=False).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *((name.encode(), value.encode()) for name, value in error.headers.items()),
        ]
        start: Any = {"type": "http.response.start", "status": error.status, "headers": headers}
        end: Any = {"type": "http.response.body", "body": body, "more_body": False}
        await self.send(start)
        await self.send(end)

    async def send(self, message: ASGISendEvent) -> None:
        if self.over:
            return
        if message["type"] == "http.response.start":
            if self._exchange.intake is not None:
                self._exchange.intake.drop()
            # Of one that takes too long, that is known already.
            if not self._body_received.is_set() and message["status"] != 408:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_BODY_GRACE_SECONDS):
                        await self._body_received.wait()
            self._exchange.status = message["status"]
            message = {
                **message,
                "headers": [*message["headers"], *common_headers(self._exchange), *self._extra],
            }
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._exchange.complete = True


def common_headers(exchange: Exchange) -> Headers:
    """Headers of every response."""
    return [
        (b"x-request-id", exchange.request_id.encode()),
        (b"openai-processing-ms", str(round(exchange.seconds * 1000)).encode()),
        (b"openai-version", API_VERSION),
        *((name.encode(), value.encode()) for name, value in exchange.headers.items()),
    ]


def _error(fault: Fault) -> ApiError:
    return ApiError(fault.status, fault.message, code=fault.code)


def _length(headers: Mapping[bytes, bytes]) -> int | None:
    said = headers.get(b"content-length", b"")
    return int(said) if said.isdigit() else None


async def _answer_preflight(send: ASGISendCallable, exchange: Exchange, headers: Headers) -> None:
    exchange.status = 204
    start: Any = {
        "type": "http.response.start",
        "status": 204,
        "headers": [*common_headers(exchange), *headers],
    }
    end: Any = {"type": "http.response.body", "body": b"", "more_body": False}
    await send(start)
    await send(end)
    exchange.complete = True
