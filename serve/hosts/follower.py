"""Every other process's side: runs what process 0 says, and ends when that one ends or is lost."""

import logging
import queue
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from serve.engine.calls import Drawing, Forward
from serve.hosts.link import Link, encode
from serve.hosts.messages import CannotStart, End, Ready, StopAsked
from serve.leaving import leave_at_once

logger = logging.getLogger(__name__)


class Follower:
    """Process 0, as a follower sees it.

    Args:
        connection: to process 0.
    """

    def __init__(self, connection: Connection) -> None:
        self._parts: queue.SimpleQueue[Forward | Drawing] = queue.SimpleQueue()
        self._stop_asked = False
        self._cannot_start = False
        self._link = Link(connection, self._on_message, self._on_loss)
        self._link.start()

    def follow(self, run: Callable[[Forward | Drawing], object]) -> NoReturn:
        """Say that all is compiled, and run what comes. Ends only with the process."""
        self._send(Ready())
        while True:
            run(self._parts.get())

    def cannot_start(self, reason: str) -> None:
        """Tell process 0 why this one ends. From then on the caller says with which code.

        Process 0 ends at once when it hears that, which must not look like its loss.
        """
        self._cannot_start = True
        self._send(CannotStart(reason))
        self._link.close()

    def pass_on_signals(self) -> None:
        """Have SIGTERM and Ctrl-C end all processes in order; a second Ctrl-C ends this one."""
        signal.signal(signal.SIGTERM, self._ask_to_stop)
        signal.signal(signal.SIGINT, self._ask_to_stop)

    def _ask_to_stop(self, number: int, _: object) -> None:
        if self._stop_asked and number == signal.SIGINT:
            leave_at_once(130)
        if not self._stop_asked:
            self._stop_asked = True
            self._send(StopAsked())

    def _send(self, message: object) -> None:
        try:
            self._link.send(encode(message))
        except OSError:
            # The link's own thread tells of it.
            logger.debug("process 0 cannot be told %r", message)

    def _on_message(self, message: Any) -> None:
        match message:
            case Forward() | Drawing():
                self._parts.put(message)
            case End(code, reason):
                if reason:
                    print(f"parlance: {reason}", file=sys.stderr)
                logger.info("process 0 ends, and so does this one")
                leave_at_once(code)
            case _:
                self._on_loss(f"says what is not understood: {message!r}")

    def _on_loss(self, reason: str) -> None:
        if self._cannot_start:
            return
        logger.error("process 0 %s; this one ends", reason)
        leave_at_once(1)
