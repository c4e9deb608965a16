"""A connection between two processes that notices when the other one has gone.

Both ends send a beat every two seconds. A connection that ends, or on which nothing comes for
twelve seconds, is lost: a process that was killed ends it, one that is stopped or whose machine
is gone falls silent. Knows nothing of what is sent.
"""

import socket
import struct
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

BEAT_SECONDS = 2.0
SILENCE_SECONDS = 12
_BEAT = None


def encode(message: object) -> bytes:
    """A message as it is sent, so that one for several processes is made once."""
    return bytes(ForkingPickler.dumps(message))


class Link:
    """One end of a connection.

    Args:
        connection: authenticated; the link owns it.
        on_message: called on a thread of the link's with what comes, in order.
        on_loss: called on that thread, once, with what has happened; not after `close`.
    """

    def __init__(
        self,
        connection: Connection,
        on_message: Callable[[Any], None],
        on_loss: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._on_message = on_message
        self._on_loss = on_loss
        self._sending = threading.Lock()
        self._closed = threading.Event()
        _set_patience(connection)
        self._threads = [
            threading.Thread(target=target, name=f"hosts {target.__name__}", daemon=True)
            for target in (self._receive, self._beat)
        ]

    def start(self) -> None:
        """Begin to send beats and to receive."""
        for thread in self._threads:
            thread.start()

    def send(self, encoded: bytes) -> None:
        """Send a message.

        Raises:
            OSError: it cannot be sent; `on_loss` tells of it too.
        """
        with self._sending:
            self._connection.send_bytes(encoded)

    def close(self) -> None:
        """End the connection."""
        self._closed.set()
        # Wakes the receiving thread, which closing alone would not.
        with socket.socket(fileno=self._connection.fileno()) as shared:
            try:
                shared.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            finally:
                shared.detach()

    def wait(self, seconds: float) -> None:
        """Wait until the other end has closed the connection, or for so long."""
        self._threads[0].join(seconds)

    def _receive(self) -> None:
        try:
            while True:
                message = self._connection.recv()
                if message is not _BEAT:
                    self._on_message(message)
        except BlockingIOError:
            self._lose(f"has said nothing for {SILENCE_SECONDS} s")
        except (EOFError, OSError):
            self._lose("has gone")

    def _beat(self) -> None:
        beat = encode(_BEAT)
        while not self._closed.wait(BEAT_SECONDS):
            try:
                self.send(beat)
            except OSError:
                return

    def _lose(self, reason: str) -> None:
        if not self._closed.is_set():
            self._closed.set()
            self._on_loss(reason)


def _set_patience(connection: Connection) -> None:
    """Let the kernel end what takes longer than silence may last, and send small things at once."""
    limit = struct.pack("@ll", SILENCE_SECONDS, 0)
    with socket.socket(fileno=connection.fileno()) as shared:
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        shared.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        shared.detach()
