"""How long a client may take, and how much of it there may be: Hypercorn's settings and ours."""

from functools import cached_property

import hypercorn.config

from serve.shares import Shares

try:
    import resource
except ImportError:  # Windows, where nothing but memory bounds the number of sockets
    resource = None

# An idle connection is kept longer than the clients' own pools keep theirs, so that it is they who
# close it and never both at once.
IDLE_CONNECTION_SECONDS = 75.0
# From the first byte of a request's head to its last. A head is one packet or two; whoever takes
# longer only holds a connection.
HEAD_SECONDS = 20.0
# A handshake is two round trips. Until its end the connection is not counted.
TLS_HANDSHAKE_SECONDS = 15.0
# A client that takes nothing of its answer for so long has lost it: its buffers and the system's
# are full, and what is generated for it piles up here.
STALLED_READER_SECONDS = 60.0
# What the system may hold of an answer that it has not sent yet. It would take megabytes, and a
# client that reads slowly would look for a minute like one that does not read.
UNSENT_BYTES = 64 * 1024
# What a client that still sends gets to read its answer before the connection ends. Ending it
# amid what is sent would reset it, and the answer would be lost with it (RFC 9112, 9.6).
LINGER_SECONDS = 2.0
# What a closing server gives connections to write their last events.
CLOSE_SECONDS = 3.0
# After the end of what a client sends, it is asked so soon whether it still reads, and then at
# pauses that double up to the second number. Who has left is noticed at the second question.
FIRST_PROBE_SECONDS = 0.5
MOST_PROBE_SECONDS = 15.0

# A request's head: its line and headers. Several times what browsers and proxies send.
HEAD_BYTES = 16 * 1024
# Requests of one HTTP/2 connection at a time.
HTTP2_STREAMS = 100
# Messages of a request that wait for the application, each up to 64 KiB of a body.
QUEUED_MESSAGES = 2
# Connections at a time; fewer where the process may not open as many files.
CONNECTIONS = 4096
# Files that the process needs beside connections.
_OTHER_FILES = 128


class HttpConfig(hypercorn.config.Config):
    """Hypercorn's settings with the bounds above.

    Attributes:
        head_timeout: seconds for a request's head.
        stalled_reader_timeout: seconds without progress in writing.
        linger_timeout: seconds between the end of an answer and that of the connection.
        first_probe_pause: seconds to the first question whether a client still reads.
        most_probe_pause: what the pauses between questions grow to, in seconds.
        max_connections: at a time.
        refusing: whether one has been refused since the last one ended; that is logged once.
    """

    keep_alive_timeout = IDLE_CONNECTION_SECONDS
    ssl_handshake_timeout = TLS_HANDSHAKE_SECONDS
    graceful_timeout = CLOSE_SECONDS
    h11_max_incomplete_size = HEAD_BYTES
    # Beyond it the connection ends; up to it the stream gets an answer.
    h2_max_header_list_size = 4 * HEAD_BYTES
    h2_max_concurrent_streams = HTTP2_STREAMS
    max_app_queue_size = QUEUED_MESSAGES
    include_server_header = False
    accesslog = None

    head_timeout: float = HEAD_SECONDS
    stalled_reader_timeout: float = STALLED_READER_SECONDS
    linger_timeout: float = LINGER_SECONDS
    first_probe_pause: float = FIRST_PROBE_SECONDS
    most_probe_pause: float = MOST_PROBE_SECONDS

    def __init__(self) -> None:
        super().__init__()
        self.max_connections = most_connections()
        self.refusing = False

    @cached_property
    def connections(self) -> Shares:
        """Those that are open, by the network they come from."""
        return Shares(self.max_connections)


def most_connections() -> int:
    """`CONNECTIONS`, or what the process's limit on open files leaves."""
    if resource is None:
        return CONNECTIONS
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return CONNECTIONS
    return max(1, min(CONNECTIONS, files - _OTHER_FILES))
