"""A process of our own for what must not hold up or take down this one.

It runs `main()` of one of our modules, which finds the number of its connection's descriptor in
`sys.argv`. When this process ends in any way, its end of the connection closes. Knows nothing of
what is sent over it.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

try:
    import resource
except ImportError:  # Windows, which has no bounds of this kind
    resource = None

# Of what a process said before it ended, this many characters are told.
_LAST_WORDS = 500
_WATCH_SECONDS = 1.0
_START_SECONDS = 120.0
# Added to the server's own: on a CPU the device computes on the same cores.
_NICENESS = 10


class Helper:
    """One helper process, from its start to its end.

    It imports from Python's own library, from where this package is and from `path`, in that
    order and from nowhere else.

    Args:
        module: whose `main()` it runs.
        path: where it finds what is not ours.

    Attributes:
        connection: to the process, which has the other end. Any object can be sent.
    """

    def __init__(self, module: str, path: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        # A file, for nobody reads while it speaks: a full pipe would stop it amid its last words.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  (closed in close())
        self._process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603  (our own module)
            _command(module, path, theirs.fileno()),
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            start_new_session=True,
        )
        theirs.close()
        self.connection: Connection[Any, Any] = Connection(ours.detach())

    def set_up(self, parts: bytes) -> None:
        """Have the process get ready.

        Args:
            parts: what it is to run with, pickled. It answers with an empty string.

        Raises:
            OSError: it does not get ready; says why, as far as the process has.
        """
        try:
            self.connection.send_bytes(parts)
            ready = self.connection.poll(_START_SECONDS) and not self.connection.recv()
        except (EOFError, OSError):
            ready = False
        if not ready:
            self.kill()
            raise OSError(self.why_ended()[1] or "no word")

    def kill(self) -> None:
        """Have the process end; returns at once. For any thread."""
        self._process.kill()

    def why_ended(self) -> tuple[int, str]:
        """Waits for the end of a process that ends by itself, or was killed.

        Returns:
            its status, as `subprocess` has it, and what it said last.
        """
        status = self._process.wait()
        self._said.seek(0)
        said = self._said.read().decode(errors="replace")
        return status, said.strip()[-_LAST_WORDS:]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._said.close()
        self.connection.close()


def _command(module: str, path: Sequence[str], descriptor: int) -> list[str]:
    """Starts `module` from where this process has it, whatever lies in the working directory."""
    places = [str(Path(__file__).parents[1]), *path]
    code = f"import sys; sys.path += {places!a}; from {module} import main; main()"
    return [sys.executable, "-I", "-S", "-c", code, str(descriptor)]


def settle_in() -> "Connection[Any, Any]":
    """The helper's own end of the connection. To be called first in its `main()`.

    Signals to end, which supervisors send to all processes of a server, are left to the server:
    it answers what it has taken, and then the connection closes. A helper that is busy looks
    for itself whether the server is still there.
    """
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    return Connection(int(sys.argv[1]))


def step_back(memory: int) -> None:
    """Let the server come first, and bound what this process may take from now on.

    Args:
        memory: bytes, beyond those that it has; where the platform does not tell how many it
            has, there is no bound.
    """
    os.nice(_NICENESS)
    if resource is None:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)


def is_of_memory(status: int, said: str) -> bool:
    """Whether a process has ended for want of memory, by what `Helper.why_ended` tells."""
    # The kernel kills without a word when memory runs out; who allocates says so, in C++ like this.
    return status == -signal.SIGKILL or "memory" in said.lower() or "bad_alloc" in said
