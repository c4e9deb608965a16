"""Searches a local index, made by `parlance index`. Knows nothing of requests."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from serve.search.index_file import IndexFileError, opened, place_of
from serve.search.terms import match_expression
from serve.search.types import SearchError, SearchSettings, Source, UserLocation

_THREADS = 2
# So many steps of SQLite's machine take less than a millisecond.
_STEPS = 10_000
# A document's words count by their place: a passage's title says what all of it is about.
_TITLE_WEIGHT = 2.0
# The best passages, of which the best of each document are shown.
_PASSAGES = 60
_PASSAGES_OF_ONE = 3
_GAP = "\n\n…\n\n"

_T = TypeVar("_T")

_BEST = f"""
SELECT documents.id, documents.title, documents.path, passages.text
FROM words
JOIN passages ON passages.id = words.rowid
JOIN documents ON documents.id = passages.document
WHERE words MATCH ?
ORDER BY bm25(words, {_TITLE_WEIGHT}, 1.0), passages.id
LIMIT {_PASSAGES}
"""  # noqa: S608  (numbers of ours)


class LocalIndex:
    """Searches; belongs to one event loop.

    The file is opened for each search, so that a new one in its place is searched from then on.

    Args:
        path: of the index, or of the directory that it is of.
        settings: bounds.
    """

    def __init__(self, path: Path, settings: SearchSettings | None = None) -> None:
        self._path = place_of(path)
        self._settings = settings or SearchSettings()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="search")

    async def check(self) -> None:
        """See that there is an index.

        Raises:
            SearchError: there is none, and what to do.
        """
        await self._run(lambda connection: connection.execute("SELECT url FROM base").fetchone())

    async def search(
        self, query: str, most: int, location: UserLocation | None = None
    ) -> list[Source]:
        """The documents with the passages that have the query's rarest words most often.

        Each has the best of those, three at most, the very best first: shown texts may be cut.
        Where the user is does not change what is found: most collections are of no place.

        Raises:
            SearchError: it took too long, or the index cannot be read.
        """
        del location
        asked = match_expression(query)
        return await self._run(lambda connection: _found(connection, asked, most)) if asked else []

    async def close(self) -> None:
        """End its threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        seconds = self._settings.seconds
        deadline = time.monotonic() + seconds
        overdue = SearchError("timeout", f"the index was not searched within {seconds:g} seconds")

        def run() -> _T:
            connection = opened(self._path)
            try:
                connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
                return work(connection)
            finally:
                connection.close()

        job = asyncio.get_running_loop().run_in_executor(self._threads, run)
        try:
            async with asyncio.timeout(seconds):
                return await job
        except TimeoutError as error:
            raise overdue from error
        except IndexFileError as error:
            raise SearchError("bad_index", str(error)) from error
        except sqlite3.Error as error:
            if time.monotonic() > deadline:
                raise overdue from error
            raise SearchError("bad_index", f"{self._path} cannot be read: {error}") from error


def _found(connection: sqlite3.Connection, asked: str, most: int) -> list[Source]:
    (base,) = connection.execute("SELECT url FROM base").fetchone()
    heads: dict[int, tuple[str, str]] = {}
    texts: dict[int, list[str]] = {}
    for document, title, path, text in connection.execute(_BEST, (asked,)):
        if document not in heads and len(heads) < most:
            heads[document] = (title, base + quote(path))
            texts[document] = []
        if document in heads and len(texts[document]) < _PASSAGES_OF_ONE:
            texts[document].append(text)
    return [
        Source(title, url, _GAP.join(texts[document])) for document, (title, url) in heads.items()
    ]
