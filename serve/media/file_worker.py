"""The loop of a process that reads files of strangers, so that only it can crash, hang or grow.

A file whose time is up ends the process with SIGPROF; one for which memory runs out ends it with a
traceback.
"""

import gc
import json
import signal
import traceback
from collections.abc import Callable
from typing import Protocol, TypeVar

from serve.helper import settle_in, step_back
from serve.media.errors import MediaError
from serve.media.file_process import Link, Refused


class Limits(Protocol):
    """What the process is sent first, as JSON."""

    @property
    def memory(self) -> int:
        """Bytes that it may take beyond those that it begins with."""
        ...

    @property
    def seconds(self) -> float:
        """Of a core, for each file."""
        ...


L = TypeVar("L", bound=Limits)
Asked = TypeVar("Asked")
Read = TypeVar("Read")


def serve_files(
    limits_of: Callable[..., L],
    receive: Callable[[Link, L], tuple[Asked, bytes]],
    read: Callable[[Asked, bytes, L], Read],
    send: Callable[[Link, Read | Refused], None],
) -> None:
    """Read files one at a time until the other end is closed.

    Args:
        limits_of: makes them of their members.
        receive: what is asked and a file; raises EOFError at the end.
        read: the file; raises MediaError where it cannot be taken.
        send: what was read, or what is wrong.
    """
    link = settle_in()
    limits = limits_of(**json.loads(link.recv_bytes()))
    step_back(limits.memory)
    gc.freeze()
    link.send("")
    while True:
        try:
            asked, data = receive(link, limits)
        except EOFError:
            return
        # Counts what this process computes: on a busy machine a file takes no more of that.
        signal.setitimer(signal.ITIMER_PROF, limits.seconds)
        answer = _answer(read, asked, data, limits)
        signal.setitimer(signal.ITIMER_PROF, 0)
        del data
        try:
            send(link, answer)
        except OSError:
            return


def _answer(
    read: Callable[[Asked, bytes, L], Read], asked: Asked, data: bytes, limits: L
) -> Read | Refused:
    try:
        return read(asked, data, limits)
    except MediaError as wrong:
        return Refused(wrong.reason, wrong.code)
    except MemoryError:
        raise
    # Libraries raise anything at a broken file.
    except Exception as error:  # noqa: BLE001
        place = traceback.extract_tb(error.__traceback__)[-1]
        # Without the error's own words, which may be the file's.
        where = f"{type(error).__name__} in {place.filename}:{place.lineno}"
        return Refused("cannot be read: it is damaged.", "invalid_file", where)
