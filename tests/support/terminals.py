"""Processes that believe to be in a terminal."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

PATIENCE_SECONDS = 120
# Keys send signals to those whose controlling terminal it is: this makes it that, and goes on as
# the command.
_IN_CONTROL = (
    "import fcntl, os, sys, termios\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


@dataclass
class Terminal:
    """A process and the terminal that it is in.

    Attributes:
        process: the process.
        side: our end of the terminal.
        text: what it has shown, with plain newlines.
    """

    process: subprocess.Popen[bytes]
    side: int
    text: str = ""
    _bytes: bytes = b""

    def type(self, keys: str) -> None:
        os.write(self.side, keys.encode())

    def resize(self, columns: int) -> None:
        _set_size(self.side, columns)

    def wait_for(self, text: str, after: int = 0) -> None:
        """Read until the text has been shown."""
        end = time.monotonic() + PATIENCE_SECONDS
        while text not in self.text[after:]:
            assert self._read(end), f"{text!r} was not shown, but {self.text!r}"

    def wait_for_end(self) -> int:
        """Read to the end; the exit code."""
        end = time.monotonic() + PATIENCE_SECONDS
        while self._read(end):
            pass
        return self.process.wait(PATIENCE_SECONDS)

    def _read(self, end: float) -> bool:
        ready, _, _ = select.select([self.side], [], [], max(0, end - time.monotonic()))
        try:
            read = os.read(self.side, 65536) if ready else b""
        except OSError:  # how Linux says that nobody is at the other end any more
            read = b""
        self._bytes += read
        self.text = self._bytes.decode(errors="ignore").replace("\r\n", "\n")
        return bool(read)


def _set_size(descriptor: int, columns: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def _keep_what_is_shown(descriptor: int) -> None:
    """Else Ctrl-C discards what waits to be shown, and what a quick answer to it has shown too."""
    attributes = termios.tcgetattr(descriptor)
    attributes[3] |= termios.NOFLSH
    termios.tcsetattr(descriptor, termios.TCSANOW, attributes)


@contextmanager
def in_terminal(
    command: Sequence[str], environment: dict[str, str], columns: int = 80
) -> Iterator[Terminal]:
    """The command in a terminal of its own, which can do no more than show characters."""
    ours, its = pty.openpty()
    _set_size(its, columns)
    _keep_what_is_shown(its)
    process = subprocess.Popen(
        [sys.executable, "-c", _IN_CONTROL, *command],
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
        env=environment | {"TERM": "dumb"},
    )
    os.close(its)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
