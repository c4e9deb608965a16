"""Hypercorn's `serve`, with connections of ours.

Hypercorn has no setting for the class of its connections. It looks one name up for each; that
name is put in place here, and whatever of Hypercorn is built upon is looked for first, so that
another version of it ends the start rather than some request.
"""

from collections.abc import Awaitable, Callable

import hypercorn.asyncio
from hypercorn.asyncio import run
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.protocol.h2 import H2Protocol, StreamBuffer
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import Framework

from serve.protocol.connection import Connection
from serve.protocol.http1 import Http1
from serve.protocol.http2 import Buffer, Http2
from serve.protocol.settings import HttpConfig

# Methods that Hypercorn calls and we override: each must be there to be overridden.
_OVERRIDDEN = {
    TCPServer: (Connection, "run protocol_send _read_data _close _initiate_server_close"),
    H11Protocol: (Http1, "handle stream_send _handle_events _maybe_recycle"),
    H2Protocol: (Http2, "stream_send _send_data _handle_events _create_stream"),
    StreamBuffer: (Buffer, "pop"),
}
# Methods that we call.
_CALLED = {
    TCPServer: "_idle_timeout",
    H11Protocol: "_send_h11_event _close_stream",
    StreamBuffer: "push drain set_complete close",
    H2Protocol: "initiate handle _close_stream _window_updated _flush",
}


class UnknownHypercornError(Exception):
    """The installed Hypercorn is not one that this server is made for."""


def check_hypercorn() -> None:
    """Look for what is built upon.

    Raises:
        UnknownHypercornError: something is missing.
    """
    missing = [
        f"{theirs.__name__}.{name}"
        for theirs, (ours, names) in _OVERRIDDEN.items()
        for name in names.split()
        if name not in vars(theirs) or name not in vars(ours)
    ]
    missing += [
        f"{theirs.__name__}.{name}"
        for theirs, names in _CALLED.items()
        for name in names.split()
        if name not in vars(theirs)
    ]
    if getattr(run, "TCPServer", None) not in (TCPServer, _connection):
        missing.append("hypercorn.asyncio.run.TCPServer")
    if missing:
        raise UnknownHypercornError(
            f"the installed hypercorn lacks {', '.join(missing)}; install the version that "
            f"pyproject.toml asks for"
        )


def _connection(app: object, loop: object, config: object, *more: object) -> TCPServer:
    """A connection of ours for a server of ours; other servers of the process keep theirs."""
    kind = Connection if isinstance(config, HttpConfig) else TCPServer
    return kind(app, loop, config, *more)  # pyright: ignore[reportArgumentType]


async def serve(
    app: Framework, config: HttpConfig, shutdown_trigger: Callable[[], Awaitable[object]]
) -> None:
    """Serve `app` until `shutdown_trigger` returns.

    Raises:
        UnknownHypercornError: see `check_hypercorn`.
    """
    check_hypercorn()
    run.TCPServer = _connection  # pyright: ignore[reportPrivateImportUsage]
    await hypercorn.asyncio.serve(app, config, shutdown_trigger=shutdown_trigger)
