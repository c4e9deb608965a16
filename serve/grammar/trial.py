"""Grammars are tried in a process of their own before this one touches them.

A grammar of a few bytes can make its compiler run for hours or fill the memory; a thread
cannot be stopped, a process can. Knows nothing of what is in a grammar.
"""

import os
import signal
import socket
import subprocess
import sys
import weakref
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from serve.grammar.library import GrammarError, Vocabulary

_MEMORY = 2 * 2**30
_START_SECONDS = 120.0
# Of the clock, for a second of a core: a busy machine may take that long.
_PATIENCE = 30.0
_TOO_MUCH = "it takes too much {} to compile; make it smaller, or its repetitions shorter"


@dataclass(slots=True)
class Allowance:
    """What trials may still take together.

    Attributes:
        seconds: of one core.
    """

    seconds: float


class Trial:
    """One trial process, started when it is first needed and again after it was ended.

    Args:
        vocabulary: of the model.
        memory: bytes that the process may have in all.
    """

    def __init__(self, vocabulary: Vocabulary, memory: int = _MEMORY) -> None:
        self._vocabulary = vocabulary
        self._memory = memory
        self._end: weakref.finalize[..., Any] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[object, Any] | None = None

    def run(self, source: str, allowance: Allowance) -> None:
        """Try a grammar. For one thread at a time.

        Args:
            source: the grammar.
            allowance: what it may take; what it took is taken off.

        Raises:
            GrammarError: it is refused, or takes too much time or memory.
        """
        seconds = allowance.seconds
        if seconds <= 0:
            raise GrammarError(_TOO_MUCH.format("time"))
        connection = self._connection or self._start()
        try:
            connection.send((source, seconds))
            answered = connection.poll(_PATIENCE * max(1.0, seconds))
            error, spent = connection.recv() if answered else (_TOO_MUCH.format("time"), seconds)
        except (EOFError, OSError):
            answered, spent, error = False, seconds, self._last_words()
        if not answered:
            self.close()
        allowance.seconds = max(0.0, seconds - spent)
        if error:
            raise GrammarError(error)

    def close(self) -> None:
        """End the process, if it runs."""
        if self._end is not None:
            self._end()
        self._end = self._process = self._connection = None

    def _last_words(self) -> str:
        """Why the process has ended."""
        timed_out = self._process is not None and self._process.wait() == -signal.SIGPROF
        return _TOO_MUCH.format("time" if timed_out else "memory")

    def _start(self) -> "Connection[object, Any]":
        ours, theirs = socket.socketpair()
        process = subprocess.Popen(  # noqa: S603  (our own module)
            [sys.executable, "-m", "serve.grammar.worker", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        theirs.close()
        connection: Connection[object, Any] = Connection(ours.detach())
        self._process = process
        self._end = weakref.finalize(self, _end, process, connection)
        self._connection = connection
        try:
            connection.send((self._memory, self._vocabulary))
            started = connection.poll(_START_SECONDS) and not connection.recv()
        except (EOFError, OSError):
            started = False
        if not started:
            process.kill()
            reason = process.communicate()[1].decode(errors="replace").strip()
            self.close()
            raise OSError(f"the process that tries grammars does not start: {reason[-500:]}")
        return connection


def _end(process: "subprocess.Popen[bytes]", connection: "Connection[object, Any]") -> None:
    process.kill()
    process.communicate()
    connection.close()
