"""Giving memory that has been freed back to the system."""

import ctypes
from collections.abc import Callable
from functools import cache


def release_memory() -> None:
    """Give memory that has been freed back to the system.

    The C library keeps what threads free, each thread's for its own: after compiling this came
    to more than all that a server needs. What gives it back is glibc's alone.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
