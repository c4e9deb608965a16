"""Pages as files of a directory, for a day at most, also over restarts.

A page is read only whole: its file says by its name and first bytes what it is, and a keyed digest
covers all of it. Files are written under another name and renamed. One server at a time has the
directory. Knows nothing of devices or requests; may be used by several threads.
"""

import fcntl
import logging
import os
import secrets
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np

from serve.engine.config import EngineConfigError
from serve.engine.moves import PageBytes

logger = logging.getLogger(__name__)

LIFE_SECONDS = 24 * 3600.0
# So often is looked for files that are too old; they are not read before that either.
_SWEEP_SECONDS = 60.0
# Another form of file has another first line.
_FORM = b"parlance page 1\n"
_SUFFIX, _UNFINISHED = ".page", ".part"
_KEY_FILE, _LOCK_FILE = "key", "lock"
_DIGEST_BYTES = 32
# When it was written, in seconds since 1970, and the page's length.
_FACTS = struct.Struct("<dQ")
_HEAD_BYTES = len(_FORM) + _DIGEST_BYTES + _FACTS.size


class _Entry(NamedTuple):
    """A file: its length in bytes, and when it was written, in seconds since 1970."""

    size: int
    written: float


class PageDirectory:
    """The directory.

    Args:
        path: of the directory, which is made if need be.
        limit: bytes that its files may take; those go first that nobody has used for longest.
        clock: seconds since 1970.

    Raises:
        EngineConfigError: it cannot be had, or another server has it.

    Attributes:
        key: a secret that stays the same as long as the directory does.
        unusable: files that were there and not whole.
    """

    def __init__(self, path: Path, limit: int, clock: Callable[[], float] = time.time) -> None:
        self._path, self._limit, self._clock = path, limit, clock
        self._mutex = threading.Lock()
        # By last use, the oldest first.
        self._files: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0
        self._maker = b""
        self._swept = 0.0
        self._told = False
        self.unusable = 0
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _locked(path)
            self.key = _key(path / _KEY_FILE)
            self._look_round()
        except OSError as error:
            raise EngineConfigError(
                f"cache_dir {path} cannot be used ({error.strerror or error}); give a directory "
                f"that this user may write to (--cache-dir)"
            ) from error

    def made_by(self, maker: str) -> None:
        """Say what all that decides on a page's numbers is called; pages of another are others."""
        self._maker = maker.encode()

    @property
    def size(self) -> int:
        """Bytes that the files take."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._files)

    def close(self) -> None:
        """Let another server have the directory; harmless if that has been done."""
        held, self._lock = self._lock, -1
        if held >= 0:
            os.close(held)

    def has(self, name: bytes) -> bool:
        """Whether there is a file of that page which is not too old."""
        entry = self._files.get(self._file_name(name))
        return entry is not None and not self._too_old(entry.written)

    def read(self, name: bytes) -> PageBytes | None:
        """The page; None if it is not there, or not whole. Takes as long as the disk does."""
        file = self._file_name(name)
        try:
            data = (self._path / file).read_bytes()
        except OSError:
            self._drop(file)
            return None
        if (page := self._checked(name, data)) is None:
            self.unusable += 1
            self._drop(file)
            return None
        self._use(file)
        return page

    def write(self, name: bytes, page: PageBytes) -> bool:
        """Keep a page from now on; False if that fails, which is told once."""
        file, written = self._file_name(name), self._clock()
        payload = page.tobytes()
        facts = _FACTS.pack(written, len(payload))
        head = _FORM + self._digest(name, facts, payload) + facts
        size = len(head) + len(payload)
        if size > self._limit:
            return False
        self._make_room(size)
        unfinished = self._path / f"{file}{_UNFINISHED}"
        try:
            _write(unfinished, head, payload)
            os.utime(unfinished, (written, written))
            unfinished.replace(self._path / file)
        except OSError as error:
            self._failed(unfinished, error)
            return False
        with self._mutex:
            self._forget(file)
            self._files[file] = _Entry(size, written)
            self._bytes += size
        return True

    # --- files -------------------------------------------------------------------------

    def _file_name(self, name: bytes) -> str:
        return blake2b(name + self._maker, key=self.key, digest_size=16).hexdigest() + _SUFFIX

    def _digest(self, name: bytes, facts: bytes, payload: bytes) -> bytes:
        digest = blake2b(key=self.key, digest_size=_DIGEST_BYTES)
        for part in (len(self._maker).to_bytes(4), self._maker, name, facts, payload):
            digest.update(part)
        return digest.digest()

    def _checked(self, name: bytes, data: bytes) -> PageBytes | None:
        """The page that a file's bytes hold, if they are whole, of that name and not too old."""
        head, payload = data[:_HEAD_BYTES], data[_HEAD_BYTES:]
        if len(head) < _HEAD_BYTES or not head.startswith(_FORM):
            return None
        told, facts = head[len(_FORM) : -_FACTS.size], head[-_FACTS.size :]
        written, length = _FACTS.unpack(facts)
        if length != len(payload) or self._too_old(written):
            return None
        if not secrets.compare_digest(told, self._digest(name, facts, payload)):
            return None
        return np.frombuffer(payload, np.uint8)

    def _too_old(self, written: float) -> bool:
        # A page of the future is one whose age nobody knows.
        return not 0 <= self._clock() - written <= LIFE_SECONDS

    def _look_round(self) -> None:
        """Find the files that are there, and delete what is of no use."""
        found: list[tuple[float, str, _Entry]] = []
        for entry in os.scandir(self._path):
            facts = entry.stat(follow_symlinks=False)
            if entry.name.endswith(_SUFFIX) and not self._too_old(facts.st_mtime):
                # The time of use is written by us, whatever the file system does by itself.
                each = _Entry(facts.st_size, facts.st_mtime)
                found.append((facts.st_atime, entry.name, each))
            elif entry.name.endswith((_SUFFIX, _UNFINISHED)):
                Path(entry.path).unlink()
        for _, file, entry in sorted(found):
            self._files[file] = entry
            self._bytes += entry.size
        self._make_room(0)

    def _make_room(self, size: int) -> None:
        """Delete what is too old, now and then, and as much else as must go for `size` bytes."""
        gone: list[str] = []
        with self._mutex:
            if abs(self._clock() - self._swept) > _SWEEP_SECONDS:
                self._swept = self._clock()
                gone += [file for file, each in self._files.items() if self._too_old(each.written)]
                for file in gone:
                    self._forget(file)
            while self._files and self._bytes + size > self._limit:
                gone.append(next(iter(self._files)))
                self._forget(gone[-1])
        for file in gone:
            with suppress(OSError):
                (self._path / file).unlink()

    def _use(self, file: str) -> None:
        with self._mutex:
            entry = self._files.get(file)
            if entry is None:
                return
            self._files.move_to_end(file)
        with suppress(OSError):
            os.utime(self._path / file, (self._clock(), entry.written))

    def _drop(self, file: str) -> None:
        with self._mutex:
            self._forget(file)
        with suppress(OSError):
            (self._path / file).unlink()

    def _forget(self, file: str) -> None:
        entry = self._files.pop(file, None)
        self._bytes -= 0 if entry is None else entry.size

    def _failed(self, unfinished: Path, error: OSError) -> None:
        with suppress(OSError):
            unfinished.unlink()
        if not self._told:
            self._told = True
            logger.warning("pages cannot be written to %s: %s", self._path, error)


def _write(path: Path, *parts: bytes) -> None:
    """Write a file that nobody else may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.writelines(parts)


def _locked(path: Path) -> int:
    """A descriptor that holds the directory's lock as long as it is open."""
    held = os.open(path / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise EngineConfigError(
            f"cache_dir {path} is in use by another server; give each a directory of its own "
            f"(--cache-dir)"
        ) from None
    return held


def _key(path: Path) -> bytes:
    """The secret in a file, which is made if it is not there, or not one."""
    with suppress(FileNotFoundError):
        if len(key := path.read_bytes()) == _DIGEST_BYTES:
            return key
    key = secrets.token_bytes(_DIGEST_BYTES)
    unfinished = path.with_suffix(_UNFINISHED)
    _write(unfinished, key)
    unfinished.replace(path)
    return key
