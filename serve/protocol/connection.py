"""One connection of a client, from its first byte to its end.

Hypercorn's, with bounds on time and number, and with an ear for a client that has closed its
sending side only.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.h11 import H2ProtocolAssumedError
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from serve.protocol.fault import Fault
from serve.protocol.http1 import Http1
from serve.protocol.http2 import Http2
from serve.protocol.settings import UNSENT_BYTES, HttpConfig
from serve.shares import network_of

# Where the system has such a bound.
_UNSENT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)

logger = logging.getLogger(__name__)


class Connection(TCPServer):
    """See the module. Takes what Hypercorn's `TCPServer` takes, with an `HttpConfig`."""

    config: HttpConfig
    protocol: "Protocol"  # pyright: ignore[reportIncompatibleVariableOverride]

    async def run(self) -> None:
        """Serve the connection to its end."""
        self._ended = False
        self._timers: list[asyncio.TimerHandle] = []
        connections = self.config.connections
        peer = self.writer.get_extra_info("peername")
        network = network_of(peer[0]) if isinstance(peer, tuple) and peer else ""
        if not connections.fits(network, 1):
            if not self.config.refusing:
                taken = self.config.max_connections - connections.left
                logger.warning("connections are refused: %d are open", taken)
            self.config.refusing = True
            self.writer.transport.abort()
            return
        connections.take(network, 1)
        try:
            try:
                await self._serve()
            finally:
                await self._close()
        except OSError:
            pass  # it was gone before it could be asked for its address
        except asyncio.CancelledError:
            pass  # the server closes; asyncio would tell of it as of a fault
        finally:
            connections.give(network, 1)
            self.config.refusing = False

    async def _serve(self) -> None:
        sock = self.writer.get_extra_info("socket")
        if _UNSENT is not None:
            sock.setsockopt(socket.IPPROTO_TCP, _UNSENT, UNSENT_BYTES)
        client = parse_socket_addr(sock.family, sock.getpeername())
        server = parse_socket_addr(sock.family, sock.getsockname())
        tls = self.writer.get_extra_info("ssl_object")
        self._tls = tls is not None
        async with TaskGroup(self.loop) as task_group:
            self._task_group = task_group
            self.protocol = Protocol(  # pyright: ignore[reportIncompatibleVariableOverride]
                tls is not None and tls.selected_alpn_protocol() == "h2",
                self.app,
                self.config,
                self.context,
                task_group,
                ConnectionState(self.state),
                self._tls,
                client,
                server,
                self.protocol_send,
            )
            await self.protocol.initiate()
            await self.idle_task.restart(task_group, self._idle_timeout)
            try:
                await self._read_data()
            except asyncio.CancelledError:
                # The server closes: nobody waits for what the application still says.
                self._ended = True
                self.protocol.abandon()
                raise
            # The group waits for it, and so would the socket of whoever has closed an idle one.
            await self.idle_task.stop()

    async def protocol_send(self, event: Event) -> None:
        """Do as the protocol says: write, or end the connection."""
        if isinstance(event, RawData):
            async with self.send_lock:
                gone = not await self._written(event.data)
            if gone:
                self._ended = True
                await self.protocol.handle(Closed())
        elif isinstance(event, Closed):
            self._linger()
        elif not self._ended:
            await super().protocol_send(event)

    async def _written(self, data: bytes) -> bool:
        try:
            self.writer.write(data)
            if not self.writer.transport.get_write_buffer_size():
                await self.writer.drain()
                return True
            async with asyncio.timeout(self.config.stalled_reader_timeout):
                await self.writer.drain()
        except TimeoutError:
            self.writer.transport.abort()
            return False
        except (ConnectionError, RuntimeError):
            return False
        return True

    async def _read_data(self) -> None:
        data = await self._received()
        while data:
            # What comes while the connection lingers is nobody's.
            if not self._ended:
                await self.protocol.handle(RawData(data))
            data = await self._received()
        if data is not None and not self._ended:
            await self.protocol.handle(RawData(b""))
            await self._answer_the_rest()
        self._ended = True
        await self.protocol.handle(Closed())

    async def _received(self) -> bytes | None:
        """What comes next: nothing where the client sends no more, None where it has gone."""
        await self._make_room()
        http = self.protocol.http1
        if http is None or not (http.paused or http.head_deadline):
            return await self._read()
        reading = asyncio.ensure_future(self._read())
        try:
            while not reading.done():
                await self._wait_for(reading, http)
            return reading.result()
        finally:
            reading.cancel()

    async def _make_room(self) -> None:
        await self._answer_while(lambda http: http.paused and http.full)

    async def _read(self) -> bytes | None:
        try:
            return await self.reader.read(MAX_RECV)
        except OSError:
            return None

    async def _wait_for(self, reading: asyncio.Future[bytes | None], http: Http1) -> None:
        """Wait for `reading`, or for the exchange or the head that what comes depends on."""
        if http.paused:
            resumed = asyncio.ensure_future(http.resumed.wait())
            await asyncio.wait({reading, resumed}, return_when=asyncio.FIRST_COMPLETED)
            if not resumed.cancel():
                await http.resume()
        elif http.head_deadline is None:
            await asyncio.wait({reading})
        else:
            left = http.head_deadline - self.loop.time()
            await asyncio.wait({reading}, timeout=max(0, left))
            if not reading.done():
                await http.fail(
                    Fault(
                        408,
                        "request_timeout",
                        f"The request's headers did not end within {self.config.head_timeout:g} s.",
                    )
                )

    async def _answer_the_rest(self) -> None:
        """Let a client that sends nothing more have its answers, for as long as it is there."""
        # TLS and HTTP/2 know no half of a connection: that end is the whole one's.
        if not self._tls:
            # Between two exchanges neither is going on, but the second one waits.
            await self._answer_while(lambda http: http.busy or http.paused)

    async def _answer_while(self, needed: Callable[[Http1], bool]) -> None:
        """Read nothing while it is `needed`, and only ask whether the client is still there."""
        http = self.protocol.http1
        pause = self.config.first_probe_pause
        while http and needed(http) and not self._ended and not self.writer.is_closing():
            try:
                async with asyncio.timeout(pause):
                    await http.resumed.wait()
            except TimeoutError:
                if not await http.probe():
                    return
                pause = min(2 * pause, self.config.most_probe_pause)
            else:
                await http.resume()

    def _linger(self) -> None:
        """End the sending side; the other one ends with the client's, or a little later."""
        if self._ended:
            return
        self._ended = True
        seconds = self.config.linger_timeout
        if self.writer.can_write_eof():
            with suppress(OSError, RuntimeError):
                self.writer.write_eof()
        elif self.protocol.http1 is None or not self.protocol.http1.unread:
            # TLS ends as a whole, and a client may wait for that end.
            seconds = 0
        self._later(seconds, self.writer.close)
        # Closing waits until all is written, and so perhaps for ever.
        self._later(seconds + self.config.stalled_reader_timeout, self.writer.transport.abort)

    async def _initiate_server_close(self) -> None:
        await super()._initiate_server_close()
        self._later(self.config.stalled_reader_timeout, self.writer.transport.abort)

    async def _close(self) -> None:
        self._later(self.config.stalled_reader_timeout, self.writer.transport.abort)
        try:
            with suppress(OSError):
                await super()._close()
        finally:
            for timer in self._timers:
                timer.cancel()

    def _later(self, seconds: float, function: object) -> None:
        self._timers.append(self.loop.call_later(seconds, function))  # pyright: ignore


class Protocol:
    """HTTP/1.1, or HTTP/2 where TLS has agreed on it or the first bytes say so.

    Args:
        http2: whether TLS has.
        connection: what Hypercorn's protocols are made of.
    """

    def __init__(self, http2: bool, *connection: object) -> None:
        self._connection = connection
        self._protocol: Http1 | Http2 = (Http2 if http2 else Http1)(*connection)

    @property
    def http1(self) -> Http1 | None:
        """The protocol if it is HTTP/1.1."""
        return self._protocol if isinstance(self._protocol, Http1) else None

    async def initiate(self) -> None:
        """Begin."""
        await self._protocol.initiate()

    def abandon(self) -> None:
        """Drop what the application still says."""
        for stream in self._protocol.open_streams:
            stream.closed = True

    async def handle(self, event: Event) -> None:
        """Take what was received."""
        try:
            await self._protocol.handle(event)
        except H2ProtocolAssumedError as error:
            self._protocol = Http2(*self._connection)
            await self._protocol.initiate()
            await self._protocol.handle(RawData(data=error.data))
