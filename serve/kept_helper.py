"""A helper process that is there when it is needed: started, ended, replaced.

Knows nothing of what it is asked.
"""

import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from serve.helper import Helper


class AbandonedError(Exception):
    """Nobody waits for what was asked any more."""


class KeptHelper:
    """One process, started when it is first needed and again after it has ended.

    Args:
        module: whose `main()` it runs.
        purpose: what the process does, as in "the process that … does not start".
        parts: what it is sent first.
        path: where it finds what is not ours; where this process does, if it is not given.
    """

    def __init__(
        self,
        module: str,
        purpose: str,
        parts: Callable[[], bytes],
        path: Sequence[str] | None = None,
    ) -> None:
        self._module = module
        self._purpose = purpose
        self._parts = parts
        self._path = path
        self._starting = threading.Lock()
        self._lock = threading.Lock()
        self._helper: Helper | None = None
        self._end: weakref.finalize[..., Any] | None = None
        self._closed = False

    def start(self) -> tuple[Helper, bool]:
        """Have the process run; returns when it can be asked.

        Returns:
            the process, and whether it has just been started.

        Raises:
            AbandonedError: it is closed.
            OSError: it does not start.
        """
        with self._starting:
            return (self._helper, False) if self._helper else (self._started(), True)

    def close(self) -> None:
        """End the process for good, whatever it does. For any thread."""
        with self._lock:
            self._closed = True
            if self._helper is not None:
                self._helper.kill()

    def _started(self) -> Helper:
        if self._closed:
            raise AbandonedError
        path = self._path
        if path is None:
            # From where this process imports, and nowhere else.
            path = [each for each in sys.path if Path(each).is_absolute()]
        helper = Helper(self._module, path)
        with self._lock:
            self._helper, self._end = helper, weakref.finalize(self, helper.close)
        try:
            helper.set_up(self._parts())
        except OSError as error:
            self._forget()
            if self._closed:
                raise AbandonedError from error
            raise OSError(f"the process that {self._purpose} does not start: {error}") from error
        return helper

    def _forget(self) -> None:
        """End the process; another takes its place when it is needed."""
        with self._lock:
            if self._end is not None:
                self._end()
            self._end = self._helper = None
