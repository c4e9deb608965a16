"""Grammars are tried in a process of their own before this one touches them.

A grammar of a few bytes can make its compiler run for hours or fill the memory; a thread
cannot be stopped, a process can. Knows nothing of what is in a grammar.
"""

import inspect
import logging
import signal
import socket
import subprocess
import sys
import weakref
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import llguidance

from serve.grammar.library import GrammarError, Vocabulary

logger = logging.getLogger(__name__)

_MEMORY = 2 * 2**30
_START_SECONDS = 120.0
# Of the clock, for a second of a core: a busy machine may take that long.
_PATIENCE = 30.0
_TOO_MUCH = "it takes too much {} to compile; make it smaller, or its repetitions shorter"
_FAILS = "the compiler fails at it; write it in another way"
# Of what a process said before it ended, this many characters are told.
_LAST_WORDS = 500


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
        self._running: tuple[subprocess.Popen[bytes], Connection[object, Any]] | None = None

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
        process, connection = self._running or self._start()
        try:
            connection.send((source, seconds))
            answered = connection.poll(_PATIENCE * max(1.0, seconds))
            error, spent = connection.recv() if answered else (_TOO_MUCH.format("time"), seconds)
        except (EOFError, OSError):
            answered, spent, error = False, seconds, _why_ended(process)
        if not answered:
            self.close()
        allowance.seconds = max(0.0, seconds - spent)
        if error:
            raise GrammarError(error)

    def close(self) -> None:
        """End the process, if it runs."""
        if self._end is not None:
            self._end()
        self._end = self._running = None

    def _start(self) -> "tuple[subprocess.Popen[bytes], Connection[object, Any]]":
        ours, theirs = socket.socketpair()
        process = subprocess.Popen(  # noqa: S603  (our own module)
            _command(theirs.fileno()),
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        theirs.close()
        connection: Connection[object, Any] = Connection(ours.detach())
        self._running = process, connection
        self._end = weakref.finalize(self, _end, process, connection)
        try:
            connection.send((self._memory, self._vocabulary))
            started = connection.poll(_START_SECONDS) and not connection.recv()
        except (EOFError, OSError):
            started = False
        if not started:
            process.kill()
            reason = _last_words(process)
            self.close()
            raise OSError(f"the process that tries grammars does not start: {reason}")
        return process, connection


def _command(descriptor: int) -> list[str]:
    """Starts `worker.py` from where this process has it, whatever lies in the working directory.

    It imports from Python's own library first, and beside that from two places alone: neither
    the working directory nor what the environment names is among them.
    """
    ours, library = Path(__file__).parents[2], Path(inspect.getfile(llguidance)).parents[1]
    code = (
        f"import sys; sys.path += [{str(ours)!a}, {str(library)!a}]; "
        f"from serve.grammar.worker import main; main()"
    )
    return [sys.executable, "-I", "-S", "-c", code, str(descriptor)]


def _why_ended(process: "subprocess.Popen[bytes]") -> str:
    """Why a process has ended amid a trial; the log gets its last words, unless its time was up."""
    said = _last_words(process)
    status = process.wait()
    if status == -signal.SIGPROF:
        return _TOO_MUCH.format("time")
    how = signal.Signals(-status).name if status < 0 else f"exit code {status}"
    logger.warning("the process that tries grammars ended with %s: %s", how, said or "no word")
    # The kernel kills without a word when memory runs out; who allocates says so.
    no_memory = status == -signal.SIGKILL or "memory" in said.lower()
    return _TOO_MUCH.format("memory") if no_memory else _FAILS


def _last_words(process: "subprocess.Popen[bytes]") -> str:
    """What a process said last that has ended, or is about to."""
    said = b"" if process.stderr is None else process.stderr.read()
    return said.decode(errors="replace").strip()[-_LAST_WORDS:]


def _end(process: "subprocess.Popen[bytes]", connection: "Connection[object, Any]") -> None:
    process.kill()
    process.wait()
    if process.stderr is not None:
        process.stderr.close()
    connection.close()
