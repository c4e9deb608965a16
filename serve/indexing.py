"""`parlance index`: reads a directory's documents and writes them into a local index.

Puts together what reads files (`serve.media.documents`) and what keeps them (`serve.search`).
"""

import asyncio
import html
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from serve.media import extra
from serve.media.documents.document import Document
from serve.media.documents.kinds import HTML, KINDS
from serve.media.documents.limits import DocumentLimits
from serve.media.documents.reader import DocumentReader
from serve.media.errors import MediaError
from serve.search.index_file import DEFAULT_NAME, Entry, IndexFileError, IndexWriter

# Whoever makes an index may wait, and may have books.
_LIMITS = DocumentLimits(
    bytes=64 * 2**20,
    pages=5000,
    characters=10_000_000,
    unpacked_bytes=512 * 2**20,
    memory=2**30,
    seconds=60.0,
)
_EXTENSIONS = frozenset(f".{each}" for kind in KINDS for each in kind.extensions)
_HEADING = re.compile(r"\s*#{1,6}\s+(.+)")
_TITLE = re.compile(rb"<title[^>]{0,200}>([^<]{1,2000})</title", re.IGNORECASE)
_LOOK_WITHIN = 2**16
_TITLE_CHARACTERS = 200


@dataclass(slots=True)
class Indexed:
    """What was done.

    Attributes:
        path: of the index.
        read: documents that were read anew.
        kept: documents that have not changed since they were read.
        skipped: what could not be read → why.
        others: files of kinds that are not read.
    """

    path: Path
    read: int = 0
    kept: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    others: int = 0


def index_directory(
    directory: Path, out: Path | None, base_url: str, say: Callable[[str], None]
) -> Indexed:
    """Index what lies below a directory.

    Args:
        directory: of the documents. Hidden files and directories are none, nor links to elsewhere.
        out: file of the index; in the directory, if none is given.
        base_url: where the directory is on the web; where it is on this machine, if it is "".
        say: is told of each file that cannot be read.

    Raises:
        IndexFileError: the index cannot be made, and what to do.
    """
    if reason := extra.missing():
        raise IndexFileError(f"files cannot be read: {reason}")
    if not directory.is_dir():
        raise IndexFileError(f"{directory} is no directory: give the one that has the documents")
    directory = directory.resolve()
    done = Indexed(out or directory / DEFAULT_NAME)
    base = f"{base_url or directory.as_uri()}".rstrip("/") + "/"
    reader = DocumentReader(_LIMITS)
    try:
        with IndexWriter(done.path, base) as writer, asyncio.Runner() as loop:
            bar = tqdm(list(_files(directory)), unit="file", disable=None, leave=False)
            for path in bar:
                name = path.relative_to(directory).as_posix()
                shown = name.encode(errors="replace").decode()
                try:
                    _take(path, name, lambda *file: loop.run(reader.read(*file)), writer, done)
                except (MediaError, OSError) as error:
                    done.skipped[shown] = str(error)
                    with tqdm.external_write_mode():
                        say(f"{shown} is left out: {error}")
    finally:
        reader.close()
    return done


def _take(
    path: Path,
    name: str,
    read: Callable[[str, bytes], Document],
    writer: IndexWriter,
    done: Indexed,
) -> None:
    if path.suffix.lower() not in _EXTENSIONS:
        done.others += 1
        return
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise MediaError("its name is not UTF-8", "invalid_file") from error
    about = path.stat()
    stamp = f"{about.st_size} {about.st_mtime_ns}"
    if writer.keep(name, stamp):
        done.kept += 1
        return
    # It is not even opened.
    if about.st_size > _LIMITS.bytes:
        raise MediaError(f"it has more than {_LIMITS.bytes:,} bytes", "file_too_large")
    data = path.read_bytes()
    document = read(path.name, data)
    texts = [page.text for page in document.pages if page.text]
    if not texts:
        raise MediaError("it has no text", "invalid_file")
    writer.add(Entry(name, stamp, _title(document, data) or document.name, texts))
    done.read += 1


def _files(directory: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(directory):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            within = path.resolve().is_relative_to(directory)
            if not name.startswith(".") and within and path.is_file():
                yield path


def _title(document: Document, data: bytes) -> str:
    """What a document calls itself, on one line; "" if it does not say."""
    said = ""
    if document.kind == HTML.name:
        # The reader gives what is seen on the page.
        found = _TITLE.search(data[:_LOOK_WITHIN])
        said = html.unescape(found[1].decode(errors="replace")) if found else ""
    elif heading := _HEADING.match(document.pages[0].text):
        said = heading[1]
    return " ".join(said.split())[:_TITLE_CHARACTERS]
