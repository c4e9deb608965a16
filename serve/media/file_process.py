"""One process that reads files of strangers, from this side; and several, for an event loop.

Knows nothing of who asks, nor of what is in a file.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeAlias, TypeVar

from serve.helper import Helper, is_of_memory
from serve.kept_helper import AbandonedError, KeptHelper

logger = logging.getLogger(__name__)

Asked = TypeVar("Asked")
Read = TypeVar("Read")
Link: TypeAlias = "Connection[Any, Any]"

# Of the clock, for a second of a core: a busy machine may take that long.
_PATIENCE = 30.0
# What an answer raises that is none.
_NONSENSE = (LookupError, RecursionError, TypeError, ValueError)
_TOO_MUCH = "takes too much {} to be read. Send a part of it."


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that cannot be taken.

    Attributes:
        reason: as `MediaError` has it, without the file's name.
        code: likewise.
        unforeseen: where a library stumbled over it, for the log; or "".
    """

    reason: str
    code: str
    unforeseen: str = ""


@dataclass(frozen=True, slots=True)
class Reading(Generic[Asked, Read]):
    """How files of one sort are read.

    Attributes:
        module: whose `main()` reads them, in the process.
        parts: what the process is sent first.
        seconds: of a core, that it gives each file.
        exchange: sends what is asked and a file, and receives the answer. It raises EOFError and
            OSError where the process has ended, and LookupError, RecursionError, TypeError or
            ValueError for what is no answer.
    """

    module: str
    parts: bytes
    seconds: float
    exchange: Callable[[Link, Asked, bytes], Read | Refused]


@dataclass(eq=False, slots=True)
class Errand(Generic[Asked]):
    """A file that is to be read, and whether anybody still waits for it.

    Attributes:
        asked: what is said of it.
        data: its content.
        given_up: whether nobody does.
    """

    asked: Asked
    data: bytes
    given_up: bool = False


class FileProcess(KeptHelper, Generic[Asked, Read]):
    """One process.

    Args:
        reading: what it does.
    """

    def __init__(self, reading: Reading[Asked, Read]) -> None:
        super().__init__(reading.module, "reads files", lambda: reading.parts)
        self._reading = reading
        self._errand: Errand[Asked] | None = None

    def read(self, errand: Errand[Asked]) -> Read | Refused:
        """Read a file. For one thread at a time; blocks.

        Raises:
            AbandonedError: it was given up, or the process is closed.
            OSError: the process does not start.
        """
        with self._lock:
            self._errand = errand
        try:
            answer = self._ask(errand)
        except OSError as error:
            if errand.given_up:
                raise AbandonedError from error
            raise
        finally:
            with self._lock:
                self._errand = None
        if isinstance(answer, Refused) and answer.unforeseen:
            logger.info("a file could not be read: %s", answer.unforeseen)
        return answer

    def give_up(self, errand: Errand[Asked]) -> None:
        """End the process, if it still reads that; another takes over. For any thread."""
        with self._lock:
            errand.given_up = True
            if self._errand is errand and self._helper is not None:
                self._helper.kill()

    def _ask(self, errand: Errand[Asked]) -> Read | Refused:
        while True:
            helper, fresh = self.start()
            overdue = threading.Event()
            timer = threading.Timer(
                _PATIENCE * self._reading.seconds, _end_overdue, (helper, overdue)
            )
            timer.daemon = True
            timer.start()
            try:
                if errand.given_up:
                    raise AbandonedError
                return self._reading.exchange(helper.connection, errand.asked, errand.data)
            except (EOFError, OSError):
                status, said = helper.why_ended()
            except _NONSENSE as nonsense:
                helper.kill()
                status, said = helper.why_ended()[0], str(nonsense)
            finally:
                timer.cancel()
            self._forget()
            if self._closed or errand.given_up:
                raise AbandonedError
            if overdue.is_set() or status == -signal.SIGPROF:
                return Refused(_TOO_MUCH.format("time"), "file_too_large")
            # One that has read files before may have come to its end by one of those.
            if fresh:
                return _why_ended(status, said)


class FileProcesses(Generic[Asked, Read]):
    """Processes that read files, one file each at a time. Belongs to one event loop.

    Files wait for their turn in the order in which they came, with all their bytes: how many may,
    bounds whoever takes requests.

    Args:
        reading: what they do.
        count: how many there are.
    """

    def __init__(self, reading: Reading[Asked, Read], count: int) -> None:
        self._processes = [FileProcess(reading) for _ in range(count)]
        self._idle = list(self._processes)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix=reading.module)

    async def start(self) -> None:
        """Have the processes started, so that no file waits for that.

        Raises:
            OSError: they do not start: an extra is missing, or something else.
        """
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(loop.run_in_executor(self._threads, each.start) for each in self._processes)
        )

    async def ask(self, asked: Asked, data: bytes) -> Read | Refused:
        """Have a file read. Whoever is cancelled frees the process at once.

        Raises:
            OSError: the process that reads it does not start.
        """
        errand = Errand(asked, data)
        job = asyncio.get_running_loop().run_in_executor(self._threads, self._run, errand)
        try:
            return await job
        except asyncio.CancelledError:
            for each in self._processes:
                each.give_up(errand)
            raise

    def close(self) -> None:
        """End the processes, whatever they do."""
        for each in self._processes:
            each.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, errand: Errand[Asked]) -> Read | Refused:
        # There are as many threads as processes.
        process = self._idle.pop()
        try:
            return process.read(errand)
        finally:
            self._idle.append(process)


def received(link: Link, most: int) -> bytes:
    """A message of an answer.

    Raises:
        EOFError: the process has ended.
        OSError: likewise.
        ValueError: it is longer than `most` bytes.
    """
    try:
        return link.recv_bytes(most)
    except OSError as error:
        # What the system tells has a number: this is a message that is too long.
        if error.errno is None:
            raise ValueError(str(error)) from error
        raise


def _end_overdue(helper: Helper, overdue: threading.Event) -> None:
    overdue.set()
    helper.kill()


def _why_ended(status: int, said: str) -> Refused:
    how = signal.Signals(-status).name if status < 0 else f"exit code {status}"
    logger.warning("a process that read a file ended with %s: %s", how, said or "no word")
    if is_of_memory(status, said):
        return Refused(_TOO_MUCH.format("memory"), "file_too_large")
    return Refused("cannot be read: it is damaged, or takes too much memory.", "invalid_file")
