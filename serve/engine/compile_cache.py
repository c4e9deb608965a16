"""Where JAX keeps compiled programs for the next start.

A cache saves time and nothing else: a directory that cannot be used is told of, and done without;
so is a program that cannot be read or written, once for all of them.
"""

import glob
import importlib
import inspect
import logging
import math
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any
from uuid import uuid4

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache

logger = logging.getLogger(__name__)

UNFINISHED = "unfinished-"
# What lies unfinished for so long has no writer any more.
_ABANDONED_SECONDS = 3600


def keep_programs(directory: Path) -> "KeptPrograms":
    """Have JAX keep whatever it compiles from now on, as far as the directory allows.

    One that can only be read is read: it may have been filled when an image was built.
    """
    least_seconds = 0.0
    kept = KeptPrograms(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        logger.warning(
            "compiled programs are not kept: %s cannot be written (%s); give another directory "
            "with --compile-cache, or off",
            directory,
            error.strerror,
        )
        kept.writable = False
        if not directory.is_dir():
            return kept
        # JAX would try to write each program, and warn of each.
        least_seconds = math.inf
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", least_seconds)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # Of a directory that JAX has used before it would not let go.
    reset_cache()
    kept.mend()
    return kept


class KeptPrograms:
    """Mends what JAX keeps in a directory while it is used.

    JAX warns of each program that cannot be read, at every start, because it never writes where a
    file is already; and it writes in place, so that a kill, a full disk or another server's start
    leave half a file. Here a program that cannot be read is deleted and so written again, and what
    is written gets its name when it is whole.

    Args:
        directory: where they are kept.

    Attributes:
        directory: the same.
        writable: whether anything can be kept there, or only read.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.writable = True
        self._mends = False
        self._aside = threading.local()
        self._lock = threading.Lock()
        self._unread: list[Exception] = []
        self._unwritten: list[Exception] = []

    def mend(self) -> None:
        """Stand between JAX and the directory from now on.

        These functions are JAX's own affair, the same since 0.4 and in 0.10. Where they are gone,
        or JAX was told to raise such errors, it is left alone.
        """
        if jax.config.values.get("jax_raise_persistent_cache_errors"):
            return
        with suppress(ImportError, AttributeError):
            internals: Any = importlib.import_module("jax._src.compilation_cache")
            # An earlier engine may stand there.
            read = inspect.unwrap(internals.get_executable_and_time)
            write = inspect.unwrap(internals.put_executable_and_time)
            internals.get_executable_and_time = _around(read, self._read)
            internals.put_executable_and_time = _around(write, self._write)
            self._mends = True
            self._clear()

    @contextmanager
    def set_aside(self) -> Generator[bool]:
        """Have JAX compile anew what this thread compiles, and keep none of it.

        Yields:
            Whether that is how it will be: not where JAX is left alone.
        """
        self._aside.now = True
        try:
            yield self._mends
        finally:
            self._aside.now = False

    def tell(self) -> None:
        """Log what could not be read or written since the last time: a line for each, if any."""
        with self._lock:
            unread, self._unread = self._unread, []
            unwritten, self._unwritten = self._unwritten, []
        if unread:
            logger.warning(
                "compiled programs in %s that could not be read and were compiled anew: %d "
                "(the first: %s)",
                self.directory,
                len(unread),
                reason(unread[0]),
            )
        if unwritten:
            logger.warning(
                "compiled programs that could not be kept in %s: %d (the first: %s); the next "
                "start compiles them again",
                self.directory,
                len(unwritten),
                reason(unwritten[0]),
            )

    def _read(self, read: Callable[..., Any], key: str, *rest: Any, **named: Any) -> Any:
        if self._is_aside:
            return None, None
        try:
            return read(key, *rest, **named)
        except Exception as error:  # noqa: BLE001  (a damaged program can fail in any way)
            with self._lock:
                self._unread.append(error)
            with suppress(OSError):
                self._delete(key)
            return None, None

    def _write(self, write: Callable[..., Any], key: str, *rest: Any, **named: Any) -> None:
        if self._is_aside:
            return
        # With a bound on its size JAX notes beside each program when it was used, under a lock.
        bounded = jax.config.values.get("jax_compilation_cache_max_size", -1) != -1
        prefix = "" if bounded else f"{UNFINISHED}{uuid4().hex}-"
        try:
            write(prefix + key, *rest, **named)
            for file in self._files(prefix + key):
                file.replace(file.with_name(file.name.removeprefix(prefix)))
        except Exception as error:  # noqa: BLE001  (nothing that happens here may end a start)
            with self._lock:
                self._unwritten.append(error)
            if prefix:
                with suppress(OSError):
                    self._delete(prefix + key)

    @property
    def _is_aside(self) -> bool:
        return getattr(self._aside, "now", False)

    def _files(self, key: str) -> list[Path]:
        """What JAX has written under a key: to which it adds an ending."""
        return list(self.directory.glob(f"{glob.escape(key)}*"))

    def _delete(self, key: str) -> None:
        for file in self._files(key):
            file.unlink(missing_ok=True)

    def _clear(self) -> None:
        """Delete what a killed process left unfinished."""
        delete_abandoned(self.directory, f"{UNFINISHED}*")


def delete_abandoned(directory: Path, pattern: str, seconds: float = _ABANDONED_SECONDS) -> None:
    """Delete files of a directory that nobody has touched for so long."""
    with suppress(OSError):
        for file in directory.glob(pattern):
            if time.time() - file.stat().st_mtime > seconds:
                file.unlink(missing_ok=True)


def _around(function: Callable[..., Any], around: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*arguments: Any, **named: Any) -> Any:
        return around(function, *arguments, **named)

    return wrapper


def reason(error: Exception) -> str:
    """Why, in a line."""
    # Without the path, which an OSError says too and which is of no use to anyone.
    said = error.strerror if isinstance(error, OSError) else None
    return (said or str(error) or type(error).__name__).partition("\n")[0]
