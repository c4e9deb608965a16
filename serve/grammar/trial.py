"""Grammars are tried in a process of their own before this one touches them.

A grammar of a few bytes can make its compiler run for hours or fill the memory; a thread
cannot be stopped, a process can. Knows nothing of what is in a grammar.
"""

import os
import socket
import subprocess
import sys
import time
import weakref
from multiprocessing.connection import Connection
from typing import Any

from serve.grammar.library import GrammarError, Vocabulary

_MEMORY = 2 * 2**30
_START_SECONDS = 120.0
_TOO_MUCH = "it takes too much {} to compile; make it smaller, or its repetitions shorter"


class Trial:
    """One trial process, started when it is first needed and again after it was ended.

    Args:
        vocabulary: of the model.
        memory: bytes that the process may have in all.
    """

    def __init__(self, vocabulary: Vocabulary, memory: int = _MEMORY) -> None:
        self._vocabulary = vocabulary
        self._memory = memory
        self._process: weakref.finalize[..., Any] | None = None
        self._connection: Connection[object, str] | None = None

    def run(self, source: str, seconds: float) -> float:
        """Try a grammar. For one thread at a time.

        Args:
            source: the grammar.
            seconds: most that it may take.

        Returns:
            How many it took.

        Raises:
            GrammarError: it is refused, or takes too much time or memory.
        """
        connection = self._connection or self._start()
        began = time.monotonic()
        try:
            connection.send(source)
            answered = connection.poll(seconds)
            error = connection.recv() if answered else _TOO_MUCH.format("time")
        except (EOFError, OSError):
            answered, error = False, _TOO_MUCH.format("memory")
        if not answered:
            self.close()
        if error:
            raise GrammarError(error)
        return time.monotonic() - began

    def close(self) -> None:
        """End the process, if it runs."""
        if self._process is not None:
            self._process()
        self._process = self._connection = None

    def _start(self) -> "Connection[object, str]":
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
        connection: Connection[object, str] = Connection(ours.detach())
        self._process = weakref.finalize(self, _end, process, connection)
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


def _end(process: "subprocess.Popen[bytes]", connection: "Connection[object, str]") -> None:
    process.kill()
    process.communicate()
    connection.close()
