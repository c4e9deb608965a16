"""Reads files of strangers without harm: in processes that may fail, while the event loop goes on.

Owns who gets a process. Knows nothing of requests, nor of how a kind is read.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from serve.media.documents.document import Document
from serve.media.documents.limits import DocumentLimits
from serve.media.documents.names import shown_name
from serve.media.documents.process import Errand, ReadingProcess
from serve.media.documents.transfer import Asked, Refused, error_of

_NAME_CHARACTERS = 1000


class DocumentReader:
    """Processes that read files, one file each at a time. Belongs to one event loop.

    Files wait for their turn in the order in which they came, with all their bytes: how many may,
    bounds whoever takes requests.

    Args:
        limits: of each file.
        count: how many processes there are.
    """

    def __init__(self, limits: DocumentLimits | None = None, count: int = 1) -> None:
        self.limits = limits or DocumentLimits()
        self._processes = [ReadingProcess(self.limits) for _ in range(count)]
        self._idle = list(self._processes)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="documents")

    async def start(self) -> None:
        """Have the processes started, so that no file waits for that.

        Raises:
            OSError: they do not start: the extra `media` is missing, or something else.
        """
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(loop.run_in_executor(self._threads, each.start) for each in self._processes)
        )

    async def read(
        self, name: str, data: bytes, *, declared: str = "", pictures: bool = False
    ) -> Document:
        """Read a file. Whoever is cancelled frees the process at once.

        Args:
            name: that it was sent with, or "".
            data: its content.
            declared: media type that it came with, with its parameters; or "".
            pictures: whether pages without text are wanted as pictures.

        Raises:
            MediaError: it is of no kind that is read, broken, or over a limit.
            OSError: the process that reads it does not start.
        """
        name = name[-_NAME_CHARACTERS:]
        if not data:
            raise error_of(shown_name(name), Refused("is empty.", "invalid_file"))
        if len(data) > self.limits.bytes:
            reason = f"has {len(data):,} bytes; {self.limits.bytes:,} are allowed."
            raise error_of(shown_name(name), Refused(reason, "file_too_large"))
        errand = Errand(Asked(name, declared[:_NAME_CHARACTERS], pictures), data)
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

    def _run(self, errand: Errand) -> Document:
        # There are as many threads as processes.
        process = self._idle.pop()
        try:
            return process.read(errand)
        finally:
            self._idle.append(process)
