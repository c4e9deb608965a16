"""One HTTP/1.1 connection: Hypercorn's, but for what it does when something is wrong.

- A malformed request is answered by the application, which is told of the fault.
- Every `Upgrade` but the one to HTTP/2 by prior knowledge is left to the application, which sees
  an ordinary request with that header (RFC 9110, 7.8: a server may ignore it).
- A pipelined request waits without holding up whoever reads from the connection.
- What a client sends last may be answered long after.
"""

import asyncio
import re
from dataclasses import replace

import h11
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, EndBody, Request, Response
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H2ProtocolAssumedError, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.typing import ConnectionState

from serve.protocol.fault import FAULT, HALF_CLOSED, Fault, malformed, marked
from serve.protocol.heads import head_fault, path_of, too_large
from serve.protocol.settings import HttpConfig

# Of h11's sentences: what it quotes of the request.
_QUOTED = re.compile(r": (bytearray\()?b['\"].*", re.DOTALL)
_NO_METHOD = "-"
# The first line of HTTP/2's preface (RFC 9113, 3.4).
_PREFACE = (b"PRI", b"*", b"2.0")


class Http1(H11Protocol):
    """See the module.

    Attributes:
        resumed: set when an exchange has ended and the next one may be parsed.
        paused: whether what was received waits for the exchange before it.
        head_deadline: the loop's time by which a head that has begun must have ended, or None.
    """

    config: HttpConfig
    # Neither becomes one of Hypercorn's for WebSocket.
    connection: h11.Connection  # pyright: ignore[reportIncompatibleVariableOverride]
    stream: HTTPStream | None  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, *connection: object) -> None:
        super().__init__(*connection)  # pyright: ignore[reportArgumentType]
        self.resumed = asyncio.Event()
        self.paused = False
        self.head_deadline: float | None = None
        self._over = False
        self._at_end = False

    @property
    def busy(self) -> bool:
        """Whether an answer is owed."""
        return self.stream is not None

    @property
    def unread(self) -> bool:
        """Whether the client may still send what nobody reads."""
        return self._over or self.connection.their_state is h11.SEND_BODY

    @property
    def open_streams(self) -> list[HTTPStream]:
        """The exchange that is going on, if there is one."""
        return [] if self.stream is None else [self.stream]

    @property
    def full(self) -> bool:
        """Whether enough waits to be parsed."""
        return len(self.connection.trailing_data[0]) > self.config.h11_max_incomplete_size

    async def handle(self, event: Event) -> None:
        """Take what was received; no bytes are the end of what the client sends."""
        if isinstance(event, Closed):
            self._over, self.paused = True, False
            self.resumed.set()
        if not isinstance(event, RawData):
            await super().handle(event)
            return
        # After a fault nothing has a beginning; after a last request nothing is asked.
        if self._over or (event.data and self.connection.their_state is h11.MUST_CLOSE):
            return
        data = event.data
        if self.connection.their_state is h11.IDLE and not self.connection.trailing_data[0]:
            # Empty lines before a request are to be ignored (RFC 9112, 2.2).
            data = data.lstrip(b"\r\n")
            if event.data and not data:
                return
        self.connection.receive_data(data)
        await self._handle_events()
        if not event.data:
            self._at_end = True
            await self._tell_half_closed()

    async def resume(self) -> None:
        """Parse what has waited for the exchange before it."""
        self.resumed.clear()
        if not self._over:
            await self._handle_events()

    async def probe(self) -> bool:
        """Write something that shows whether the client still reads, if there is such a thing.

        An interim response is skipped by whoever waits for an answer (RFC 9110, 15.2) and makes
        the system of whoever does not say so. HTTP/1.0 has none. In a body that has begun it is
        for the application to write.
        """
        if self.connection.our_state is h11.SEND_RESPONSE:
            if (self.connection.their_http_version or b"1.0") < b"1.1":
                return False
            await self._send_h11_event(
                h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            )
        return True

    async def fail(self, fault: Fault, request: h11.Request | None = None) -> None:
        """Have the application answer with `fault`, and end the connection after that.

        Args:
            fault: what is wrong.
            request: the head, if it could be parsed.
        """
        self._over, self.paused, self.head_deadline = True, False, None
        if self.stream is not None:
            await _put(self.stream, {"type": FAULT, "fault": fault})
            return
        if self.connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            await self.send(Closed())
            return
        await self.send(Updated(idle=False))
        state = ConnectionState(marked(self.connection_state, fault))
        if request is None:
            stream = await self._open([], "1.1", _NO_METHOD, b"/", state)
        else:
            method = request.method.decode()
            stream = await self._open(list(request.headers), "1.1", method, b"/", state)
        await stream.handle(EndBody(stream_id=STREAM_ID))

    async def _handle_events(self) -> None:
        self.paused = False
        # After the last request nothing is asked, whatever came with it.
        while not self._over and self.connection.their_state is not h11.MUST_CLOSE:
            if self.connection.they_are_waiting_for_100_continue:
                await self._send_h11_event(
                    h11.InformationalResponse(
                        status_code=100, headers=self.config.response_headers("h11")
                    )
                )
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                await self.fail(self._fault(error))
                return
            if isinstance(event, h11.Request):
                self.head_deadline = None
                await self._begin(event)
            elif event is h11.PAUSED:
                self.paused = True
                return
            elif event is h11.NEED_DATA:
                self._watch_head()
                return
            elif isinstance(event, h11.ConnectionClosed) or self.stream is None:
                return
            elif isinstance(event, h11.Data):
                await self.stream.handle(Body(stream_id=STREAM_ID, data=bytes(event.data)))
            elif isinstance(event, h11.EndOfMessage):
                await self.stream.handle(EndBody(stream_id=STREAM_ID))

    def _watch_head(self) -> None:
        begun = self.connection.their_state is h11.IDLE and self.connection.trailing_data[0]
        if begun and self.head_deadline is None:
            self.head_deadline = asyncio.get_running_loop().time() + self.config.head_timeout

    def _fault(self, error: h11.RemoteProtocolError) -> Fault:
        if error.error_status_hint == 431 and self.stream is not None:
            return malformed("A chunk's first line, or what follows the last chunk, is too long.")
        if error.error_status_hint == 431:
            return too_large(self.config.h11_max_incomplete_size)
        detail = _QUOTED.sub("", str(error))
        if error.error_status_hint == 501:
            return Fault(501, "unsupported_transfer_encoding", f"{detail}.")
        return malformed(f"The request is not well-formed HTTP/1.1: {detail}.")

    async def _begin(self, request: h11.Request) -> None:
        begins_http2 = (request.method, request.target, request.http_version) == _PREFACE
        if begins_http2 and not self.keep_alive_requests:
            rest = self.connection.trailing_data[0]
            raise H2ProtocolAssumedError(b"PRI * HTTP/2.0\r\n\r\n" + rest)
        await self.send(Updated(idle=False))
        fault = _version_fault(request) or head_fault(
            request.method,
            request.target,
            list(request.headers),
            self.config.h11_max_incomplete_size,
        )
        if fault is not None:
            await self.fail(fault, request)
            return
        await self._open(
            list(request.headers),
            request.http_version.decode(),
            request.method.decode().upper(),
            path_of(request.method, request.target),
            self.connection_state,
        )
        self.keep_alive_requests += 1
        await self.context.mark_request()
        await self._tell_half_closed()

    async def _open(
        self,
        headers: list[tuple[bytes, bytes]],
        version: str,
        method: str,
        path: bytes,
        state: ConnectionState,
    ) -> HTTPStream:
        stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        self.stream = stream  # pyright: ignore[reportIncompatibleVariableOverride]
        await stream.handle(Request(STREAM_ID, headers, version, method, path, state))
        return stream

    async def stream_send(self, event: StreamEvent) -> None:
        """Send what the application answers."""
        if isinstance(event, Response) and self.unread:
            event = replace(event, headers=[*event.headers, (b"connection", b"close")])
        await super().stream_send(event)

    async def _maybe_recycle(self) -> None:
        await super()._maybe_recycle()
        self.resumed.set()

    async def _tell_half_closed(self) -> None:
        if self._at_end and not self._over and self.stream is not None:
            await _put(self.stream, {"type": HALF_CLOSED})


async def _put(stream: HTTPStream, message: dict[str, object]) -> None:
    await stream.app_put(message)  # pyright: ignore[reportArgumentType]


def _version_fault(request: h11.Request) -> Fault | None:
    if not request.http_version.startswith(b"1."):
        return Fault(
            505,
            "unsupported_http_version",
            f"HTTP/{request.http_version.decode()} is not spoken here; use HTTP/1.1, or HTTP/2 "
            f"by TLS or prior knowledge.",
        )
    names = {name for name, _ in request.headers}
    if b"transfer-encoding" in names and request.http_version < b"1.1":
        return malformed("Transfer-Encoding has no meaning in HTTP/1.0.")
    # Whoever forwards such a request may see another end of it than we do (RFC 9112, 6.1).
    if {b"transfer-encoding", b"content-length"} <= names:
        return malformed("Transfer-Encoding and Content-Length exclude each other.")
    return None
