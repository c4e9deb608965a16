"""The server's life: listen, start, serve, drain, end.

Runs a ready-made application and engine under Hypercorn and decides the exit code. Knows
nothing of how either is built, nor of what requests say.
"""

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from hypercorn.typing import Framework

from serve.config import ServeConfig
from serve.leaving import leave_at_once
from serve.protocol.serving import serve
from serve.protocol.settings import CLOSE_SECONDS, HttpConfig

logger = logging.getLogger(__name__)

_BACKLOG = 2048
_STOP_SECONDS = 5.0
_DRAIN_POLL_SECONDS = 0.05


class ListenError(Exception):
    """The address or the TLS files cannot be used; the message says why and what to do."""


class ServedEngine(Protocol):
    """What the server needs of the engine.

    Attributes:
        death: completes when the engine has ended, with the exception if it died of one.
    """

    death: Future[BaseException | None]

    def drain(self) -> None:
        """Take no more requests."""
        ...

    def stop(self) -> None:
        """End, dropping what still runs; returns when it has ended."""
        ...


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there, so that two servers never share a port unnoticed.

    Raises:
        ListenError: no such address, or the port is taken or not allowed.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ListenError(
            f"host is {host!r}, which is not an address ({error}); give one such as 127.0.0.1"
        ) from error
    # Where a name has both kinds of address, clients expect IPv4 to work.
    family, _, _, _, address = min(found, key=lambda entry: entry[0] is not socket.AF_INET)
    try:
        return socket.create_server(
            address[:2],
            family=family,
            backlog=_BACKLOG,
            dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        raise ListenError(_why_not_listening(host, port, error)) from error


def _why_not_listening(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is in use already; choose another with --port, "
            f"or end the program that uses it"
        )
    if error.errno == errno.EACCES:
        return f"port {port} is not allowed for this user; choose one above 1023 with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"host is {host!r}, which is not an address of this machine; see --host"
    return f"listening on port {port} of {host} fails: {error}"


def http_config(config: ServeConfig, listener: socket.socket) -> HttpConfig:
    """The connections' settings; it takes the listener over.

    Raises:
        ListenError: the TLS files cannot be used.
    """
    http = HttpConfig()
    http.certfile = config.certfile or None
    http.keyfile = config.keyfile or None
    try:
        http.create_ssl_context()
    except (OSError, ssl.SSLError) as error:
        raise ListenError(
            f"certfile {config.certfile} and keyfile {config.keyfile} cannot be used for TLS: "
            f"{error}; give a PEM certificate chain and its private key"
        ) from error
    http.bind = [f"fd://{listener.detach()}"]
    http.backlog = _BACKLOG
    http.errorlog = logging.getLogger("hypercorn.error")
    return http


class Server:
    """One application and one engine, from start to exit code.

    Args:
        app: the application.
        engine: the engine that it submits to.
        in_progress: how many requests the engine is working on.
        config: the settings.
    """

    def __init__(
        self,
        app: Framework,
        engine: ServedEngine,
        in_progress: Callable[[], int],
        config: ServeConfig,
    ) -> None:
        self._app = app
        self._engine = engine
        self._in_progress = in_progress
        self._config = config
        self._started = False
        self._stop_asked = asyncio.Event()
        self._closing = asyncio.Event()

    async def run(
        self,
        http: HttpConfig,
        start: Callable[[], None],
        on_ready: Callable[[], None],
    ) -> int:
        """Serve until a signal or the engine's death.

        Args:
            http: the connections' settings, with the socket.
            start: starts the engine; runs on a thread of its own while the health routes answer.
            on_ready: called once the engine takes requests.

        Returns:
            the exit code: 0 after a stop that was asked for, else 1.
        """
        self._catch_signals()
        serving = asyncio.create_task(serve(self._app, http, shutdown_trigger=self._closing.wait))
        code = await self._until_the_end(serving, start, on_ready)
        await self._close(serving)
        return code

    @property
    def started(self) -> bool:
        """Whether the engine has taken requests; if not, it may still be compiling."""
        return self._started

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        # Windows has no such handlers; there Ctrl-C ends the process at once.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(signal.SIGTERM, self._stop_asked.set)
            loop.add_signal_handler(signal.SIGINT, self._interrupted)

    def _interrupted(self) -> None:
        if self._stop_asked.is_set():
            leave_at_once(130)
        self._stop_asked.set()
        logger.info("stopping; Ctrl-C again stops at once")

    async def _until_the_end(
        self, serving: asyncio.Task[None], start: Callable[[], None], on_ready: Callable[[], None]
    ) -> int:
        stop = asyncio.create_task(self._stop_asked.wait())
        starting = _on_a_thread(start)
        died = asyncio.wrap_future(self._engine.death)
        try:
            await _first_of(serving, starting, stop)
            if starting.done():
                if error := starting.exception():
                    logger.error("the engine cannot start", exc_info=error)
                    return 1
                self._started = True
                on_ready()
                await _first_of(serving, died, stop)
            if died.done() and died.result() is not None:
                if self._config.exit_on_engine_death:
                    logger.error("the engine died; ending with exit code 1")
                    return 1
                logger.error("the engine died; requests answer 503 until the server is restarted")
                await _first_of(serving, stop)
            if serving.done():
                serving.result()
                return 1
            if self._started:
                await self._drain(died)
            failed = died.done() and died.result() is not None
            return 1 if failed and self._config.exit_on_engine_death else 0
        finally:
            stop.cancel()

    async def _drain(self, died: asyncio.Future[BaseException | None]) -> None:
        self._engine.drain()
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._config.drain_seconds
        if running := self._in_progress():
            logger.info(
                "draining: requests in progress: %d; they have %g s to end",
                running,
                self._config.drain_seconds,
            )
        while self._in_progress() and not died.done():
            if clock() >= deadline:
                logger.warning("requests broken off: %d", self._in_progress())
                break
            await asyncio.sleep(_DRAIN_POLL_SECONDS)
        # Streams that are still open get their error event from this.
        await asyncio.wait({_on_a_thread(self._engine.stop)}, timeout=_STOP_SECONDS)

    async def _close(self, serving: asyncio.Task[None]) -> None:
        self._closing.set()
        # From Python 3.12 on a closing server waits for open connections without a bound.
        await asyncio.wait({serving}, timeout=2 * CLOSE_SECONDS)
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def _first_of(*awaited: asyncio.Future[Any]) -> None:
    await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)


def _on_a_thread(function: Callable[[], None]) -> asyncio.Future[None]:
    # Not the loop's executor: leaving would wait for its threads.
    done: Future[None] = Future()

    def run() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001  (handed to whoever awaits the future)
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=run, daemon=True).start()
    return asyncio.wrap_future(done)
