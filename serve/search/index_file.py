"""The file of a local index: documents in passages, and a full-text index of them (SQLite's FTS5).

A new file is written beside the old one and put in its place when it is whole. Readers have the
file that they opened. Knows nothing of how documents are read.
"""

import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from serve.search.passages import passages
from serve.search.terms import TOKENIZER, indexed

DEFAULT_NAME = ".parlance-index.sqlite"

# "PRLI": SQLite keeps it in the file's head, as it does the version.
_APPLICATION = 0x50524C49
# Of the tables, and of how texts are parted and put into terms.
_VERSION = 1
_SCHEMA = f"""
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
CREATE TABLE base (url TEXT NOT NULL);
CREATE TABLE documents (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, stamp TEXT NOT NULL, title TEXT NOT NULL
);
CREATE TABLE passages (
    id INTEGER PRIMARY KEY, document INTEGER NOT NULL, text TEXT NOT NULL
);
CREATE INDEX of_document ON passages (document);
CREATE VIRTUAL TABLE words USING fts5 (title, text, content = '', tokenize = '{TOKENIZER}');
"""


class IndexFileError(Exception):
    """There is no index, or it cannot be read or written; with what to do."""


def place_of(path: Path) -> Path:
    """The file of an index that is named by itself, or by the directory that it is of."""
    return path / DEFAULT_NAME if path.is_dir() else path


def opened(path: Path) -> sqlite3.Connection:
    """An index to read, for one thread.

    Raises:
        IndexFileError: there is none, or it is none of ours.
    """
    where = path.parent if path.name == DEFAULT_NAME else f"DIR --out {path}"
    make = f"make one with parlance index {where}"
    connection = None
    try:
        path.stat()
        uri = f"file:{quote(os.fsencode(path))}?mode=ro&immutable=1"
        connection = sqlite3.connect(uri, uri=True)
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except FileNotFoundError as error:
        raise IndexFileError(f"there is no search index {path}: {make}") from error
    except (OSError, sqlite3.Error) as error:
        if connection is not None:
            connection.close()
        raise IndexFileError(f"{path} is no search index ({error}): {make}") from error
    if (application, version) != (_APPLICATION, _VERSION):
        connection.close()
        raise IndexFileError(f"{path} is no search index of this version: {make}")
    return connection


@dataclass(frozen=True, slots=True)
class Entry:
    """A document, as it is kept.

    Attributes:
        path: below the index's base, with slashes.
        stamp: changes when the file does.
        title: on one line.
        texts: of its pages.
    """

    path: str
    stamp: str
    title: str
    texts: Sequence[str]


class IndexWriter:
    """Writes an index; nobody sees it before it is whole. For one thread.

    Args:
        path: of the file.
        base_url: what a document's path is below, with a slash at its end.
    """

    def __init__(self, path: Path, base_url: str) -> None:
        self._path = path
        self._base = base_url
        self._draft = path.with_name(f"{path.name}.{os.getpid()}.new")

    def __enter__(self) -> "IndexWriter":
        """Raises IndexFileError if the file cannot be written."""
        try:
            self._draft.unlink(missing_ok=True)
            self._new = sqlite3.connect(self._draft)
            self._new.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise self._failed(error) from error
        self._new.execute("INSERT INTO base VALUES (?)", (self._base,))
        self._old: sqlite3.Connection | None = None
        with suppress(IndexFileError):
            self._old = opened(self._path)
        return self

    def keep(self, path: str, stamp: str) -> bool:
        """Take a document over from the earlier index, if that has it with this stamp."""
        if self._old is None:
            return False
        try:
            found = self._old.execute(
                "SELECT id, title FROM documents WHERE path = ? AND stamp = ?", (path, stamp)
            ).fetchone()
            if found is None:
                return False
            kept = self._old.execute(
                "SELECT text FROM passages WHERE document = ? ORDER BY id", found[:1]
            ).fetchall()
        # A damaged one is no help.
        except sqlite3.Error:
            return False
        self._insert(path, stamp, found[1], [text for (text,) in kept])
        return True

    def add(self, entry: Entry) -> None:
        """Take a document in.

        Raises:
            IndexFileError: the file cannot be written.
        """
        parts = passages("\n\n".join(entry.texts))
        self._insert(entry.path, entry.stamp, entry.title, parts)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put it in its place, unless something went wrong."""
        if self._old is not None:
            self._old.close()
        try:
            if kind is None:
                self._new.execute("INSERT INTO words (words) VALUES ('optimize')")
                self._new.commit()
            self._new.close()
            if kind is None:
                self._draft.replace(self._path)
        except (OSError, sqlite3.Error) as wrong:
            raise self._failed(wrong) from wrong
        finally:
            self._draft.unlink(missing_ok=True)

    def _insert(self, path: str, stamp: str, title: str, parts: Iterable[str]) -> None:
        try:
            document = self._new.execute(
                "INSERT INTO documents (path, stamp, title) VALUES (?, ?, ?)", (path, stamp, title)
            ).lastrowid
            for text in parts:
                passage = self._new.execute(
                    "INSERT INTO passages (document, text) VALUES (?, ?)", (document, text)
                ).lastrowid
                self._new.execute(
                    "INSERT INTO words (rowid, title, text) VALUES (?, ?, ?)",
                    (passage, indexed(title), indexed(text)),
                )
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> IndexFileError:
        return IndexFileError(f"{self._path} cannot be written: {error}")
