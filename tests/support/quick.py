"""Programs of tiny models, compiled without optimizations: those would take longer than all runs.

What optimized programs compute, the tests of `sampling`, of the HTTP side and of real servers see.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import jax


@contextmanager
def compiled_quickly() -> Iterator[None]:
    """In this block, on all threads, XLA compiles quickly rather than well."""
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
