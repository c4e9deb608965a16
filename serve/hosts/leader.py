"""Process 0's side: tells the followers what to run, and watches over them."""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from serve.engine.calls import Drawing, Forward
from serve.hosts.errors import HostLostError
from serve.hosts.link import Link, encode
from serve.hosts.messages import CannotStart, End, Ready, StopAsked
from serve.leaving import leave_at_once

logger = logging.getLogger(__name__)

# What the server gets to tell its clients, once a follower is lost; a device that waits for
# that one would keep the process for ever.
_LAST_SECONDS = 12.0
_PARTING_SECONDS = 5.0


class Leader:
    """The followers, as process 0 sees them.

    Args:
        connections: process → its connection.
        leaves_on_loss: whether this process ends when a follower is lost.
    """

    def __init__(self, connections: Mapping[int, Connection], leaves_on_loss: bool) -> None:
        self._leaves_on_loss = leaves_on_loss
        self._on_loss: Callable[[HostLostError], None] | None = None
        self._news = threading.Condition()
        self._not_ready = set(connections)
        self._lost: HostLostError | None = None
        self._ending = False
        self._links = {
            process: Link(connection, self._listener(process), self._loser(process))
            for process, connection in connections.items()
        }
        for link in self._links.values():
            link.start()

    def serve_until_lost(self, on_loss: Callable[[HostLostError], None]) -> None:
        """From now on the loss of a follower is told, where before it ended the process at once.

        Args:
            on_loss: called once, on another thread; the process ends seconds later.
        """
        with self._news:
            self._on_loss = on_loss

    def tell(self, part: Forward | Drawing) -> None:
        """Have all followers run a part of a step.

        Raises:
            HostLostError: one of them is lost.
        """
        self._send_all(part)

    def wait_until_ready(self) -> None:
        """Wait until all followers have compiled.

        Raises:
            HostLostError: one of them is lost.
        """
        with self._news:
            self._news.wait_for(lambda: self._lost is not None or not self._not_ready)
            if self._lost is not None:
                raise self._lost

    def end(self, code: int, reason: str = "") -> None:
        """End all followers with an exit code, and wait until they have gone.

        The service in which the processes met lives in this one: it must outlive them.
        """
        with self._news:
            if self._lost is not None:
                return
            self._ending = True
        with contextlib.suppress(HostLostError):
            self._send_all(End(code, reason))
        deadline = time.monotonic() + _PARTING_SECONDS
        for link in self._links.values():
            link.wait(max(0.0, deadline - time.monotonic()))

    def cannot_start(self, reason: str) -> None:
        """End all followers because this process does not start."""
        self.end(2, reason)

    def _send_all(self, message: object) -> None:
        encoded = encode(message)
        for process, link in self._links.items():
            try:
                link.send(encoded)
            except OSError as error:
                raise HostLostError(f"process {process} cannot be told: {error}") from error

    def _listener(self, process: int) -> Callable[[Any], None]:
        def on_message(message: Any) -> None:
            match message:
                case Ready():
                    with self._news:
                        self._not_ready.discard(process)
                        self._news.notify_all()
                case StopAsked():
                    logger.info("process %d has been asked to stop", process)
                    os.kill(os.getpid(), signal.SIGTERM)
                case CannotStart(reason):
                    self._lose(process, f"cannot start: {reason}", 2)
                case _:
                    self._lose(process, f"says what is not understood: {message!r}", 1)

        return on_message

    def _loser(self, process: int) -> Callable[[str], None]:
        return lambda reason: self._lose(process, reason, 1)

    def _lose(self, process: int, reason: str, code: int) -> None:
        error = HostLostError(f"process {process} {reason}")
        with self._news:
            if self._lost is not None or self._ending:
                return
            self._lost, on_loss = error, self._on_loss
            self._news.notify_all()
        logger.error("%s; all processes end", error)
        for link in self._links.values():
            link.close()
        if on_loss is None:
            leave_at_once(code)
        if self._leaves_on_loss:
            last = threading.Timer(_LAST_SECONDS, leave_at_once, (code,))
            last.daemon = True
            last.start()
        on_loss(error)
