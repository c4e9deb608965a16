"""One HTTP/2 connection: Hypercorn's, but for what a client can do wrong in it.

Faults of framing and of header compression end the connection with GOAWAY: h2 sees to that. A
head that can be read and not be taken is answered by the application, as in HTTP/1.1.
"""

import asyncio
from contextlib import suppress

import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hypercorn.protocol.events import Body, EndBody, Request
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import BUFFER_LOW_WATER, H2Protocol, StreamBuffer
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.typing import ConnectionState
from hypercorn.utils import filter_pseudo_headers

from serve.protocol.fault import marked
from serve.protocol.heads import head_fault, path_of
from serve.protocol.settings import HttpConfig


class Buffer(StreamBuffer):
    """What a stream has to send. Hypercorn's takes ever more where nothing of it can be sent."""

    async def pop(self, max_length: int) -> bytes:
        """The next bytes, at most `max_length`; makes room for more once there is little left."""
        data = bytes(self.buffer[:max_length])
        del self.buffer[:max_length]
        if len(self.buffer) < BUFFER_LOW_WATER:
            await self._paused.set()
        if not self.buffer:
            await self._is_empty.set()
        return data


class Http2(H2Protocol):
    """See the module."""

    config: HttpConfig
    # No other kind of stream is made.
    streams: dict[int, HTTPStream]  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, *connection: object) -> None:
        super().__init__(*connection)  # pyright: ignore[reportArgumentType]
        # Not Hypercorn's own, which announce WebSocket over HTTP/2 (RFC 8441).
        self.connection.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: (
                    self.config.h2_max_concurrent_streams
                ),
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: self.config.h2_max_header_list_size,
            },
        )

    @property
    def open_streams(self) -> list[HTTPStream]:
        """The exchanges that are going on."""
        return [*self.streams.values()]

    async def stream_send(self, event: StreamEvent) -> None:
        """Send what the application answers, to a client that takes it."""
        if not isinstance(event, Body | EndBody):
            await super().stream_send(event)
            return
        try:
            async with asyncio.timeout(self.config.stalled_reader_timeout):
                await super().stream_send(event)
        except TimeoutError:
            await self._give_up(event.stream_id)

    async def _give_up(self, stream_id: int) -> None:
        with suppress(h2.exceptions.ProtocolError):
            self.connection.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
        if (buffer := self.stream_buffers.get(stream_id)) is not None:
            await buffer.close()
        await self._close_stream(stream_id)
        await self._window_updated(stream_id)
        await self._flush()

    async def _send_data(self, stream_id: int) -> None:
        await super()._send_data(stream_id)
        if stream_id in self.stream_buffers:
            return
        # All is sent. Of a request that is not, nobody wants the rest (RFC 9113, 8.1).
        stream = self.connection.streams.get(stream_id)
        if stream is not None and not stream.closed:
            with suppress(h2.exceptions.ProtocolError):
                self.connection.reset_stream(stream_id, h2.errors.ErrorCodes.NO_ERROR)
            await self._flush()

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        for event in events:
            if isinstance(event, h2.events.PriorityUpdated):
                continue  # RFC 9113, 5.3.2: these signals are obsolete, and a way to take memory
            if isinstance(event, h2.events.DataReceived) and event.stream_id not in self.streams:
                # Answered already. The connection's window is for all streams: it is given back.
                with suppress(h2.exceptions.ProtocolError):
                    self.connection.acknowledge_received_data(
                        event.flow_controlled_length or 0, event.stream_id or 0
                    )
                continue
            await super()._handle_events([event])
        await self._flush()

    async def _create_stream(self, request: h2.events.RequestReceived) -> None:
        stream_id, headers = request.stream_id, request.headers
        pseudo = {name: value for name, value in headers if name.startswith(b":")}
        # CONNECT has no path.
        method, target = pseudo[b":method"], pseudo.get(b":path", b"/")
        plain = filter_pseudo_headers(headers)
        fault = head_fault(method, target, plain, self.config.h11_max_incomplete_size)
        state = self.connection_state
        if fault is not None:
            method, target, plain = b"-", b"/", []
            state = ConnectionState(marked(state, fault))
        self.streams[stream_id] = stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            stream_id,
        )
        self.stream_buffers[stream_id] = Buffer(self.context.event_class)
        self.priority.insert_stream(stream_id)
        self.priority.block(stream_id)
        path = path_of(method, target)
        await stream.handle(Request(stream_id, plain, "2", method.decode().upper(), path, state))
        self.keep_alive_requests += 1
        await self.context.mark_request()
