"""Threads that fetch pages from the device, and write and read files, beside the engine's.

What they have done they put into a queue, which the engine thread empties when it plans. Knows
nothing of who wants which page, or why.
"""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Literal, NamedTuple

from serve.engine.moves import Gathered, PageBytes, Save
from serve.engine.page_files import PageDirectory

logger = logging.getLogger(__name__)

# Disks are as fast as they are with two readers; a long prompt does not hold up a short one.
_READERS = 2
# What may wait to be written.
_MOST_UNWRITTEN_BYTES = 512 * 2**20


class Fetched(NamedTuple):
    """Pages that have come from the device, or None where that failed."""

    saves: Sequence[Save]
    pages: list[PageBytes] | None


class Written(NamedTuple):
    """What became of a page that was to be written to the directory."""

    outcome: Literal["written", "write_failures", "dropped"]


class Read(NamedTuple):
    """Pages read for somebody: the first so many of those that were wanted."""

    ticket: int
    pages: list[PageBytes]


Done = Fetched | Written | Read


class PageMover:
    """The threads.

    Args:
        directory: of pages, if there is one.
        executor: runs everything, instead of threads of its own.
    """

    def __init__(
        self, directory: PageDirectory | None = None, executor: Executor | None = None
    ) -> None:
        self._directory = directory
        self._done: queue.SimpleQueue[Done] = queue.SimpleQueue()
        self._unwritten = 0
        self._mutex = threading.Lock()
        self._fetcher = executor or ThreadPoolExecutor(1, "pages-fetch")
        self._writer = executor or ThreadPoolExecutor(1, "pages-write")
        self._readers = executor or ThreadPoolExecutor(_READERS, "pages-read")

    def done(self) -> list[Done]:
        """All that has been done since the last call."""
        return [self._done.get() for _ in range(self._done.qsize())]

    def fetch(self, gathered: Gathered) -> None:
        """Fetch pages from the device, and write those that are for the directory."""
        self._fetcher.submit(self._fetch, gathered)

    def read(self, ticket: int, names: Sequence[bytes], wanted: Callable[[], bool]) -> None:
        """Read pages from the directory, up to the first that cannot be had.

        Args:
            ticket: what `Read` says.
            names: of the pages.
            wanted: whether somebody still waits for them.
        """
        self._readers.submit(self._read, ticket, names, wanted)

    def close(self) -> None:
        """End the threads, after what is on its way."""
        for each in (self._fetcher, self._writer, self._readers):
            each.shutdown()

    def _fetch(self, gathered: Gathered) -> None:
        try:
            pages = gathered.fetch()
        except Exception:
            logger.exception("pages could not be fetched from the device")
            self._done.put(Fetched(gathered.saves, None))
            return
        self._done.put(Fetched(gathered.saves, pages))
        for save, page in zip(gathered.saves, pages, strict=True):
            if save.for_days:
                self._write_later(save.name, page)

    def _write_later(self, name: bytes, page: PageBytes) -> None:
        with self._mutex:
            dropped = self._unwritten + len(page) > _MOST_UNWRITTEN_BYTES
            self._unwritten += 0 if dropped else len(page)
        if dropped:
            self._done.put(Written("dropped"))
        else:
            self._writer.submit(self._write, name, page)

    def _write(self, name: bytes, page: PageBytes) -> None:
        kept = self._directory is not None and self._directory.write(name, page)
        with self._mutex:
            self._unwritten -= len(page)
        self._done.put(Written("written" if kept else "write_failures"))

    def _read(self, ticket: int, names: Sequence[bytes], wanted: Callable[[], bool]) -> None:
        pages: list[PageBytes] = []
        for name in names:
            page = self._directory.read(name) if self._directory and wanted() else None
            if page is None:
                break
            pages.append(page)
        self._done.put(Read(ticket, pages))
