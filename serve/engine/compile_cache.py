"""Where JAX keeps compiled programs for the next start.

A cache saves time and nothing else: a directory that cannot be used is told of, and done without.
"""

import logging
import math
import tempfile
from pathlib import Path

import jax

logger = logging.getLogger(__name__)


def keep_programs(directory: Path) -> None:
    """Have JAX keep whatever it compiles from now on, as far as the directory allows.

    One that can only be read is read: it may have been filled when an image was built.
    """
    least_seconds = 0.0
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
        if not directory.is_dir():
            return
        # JAX would try to write each program, and warn of each.
        least_seconds = math.inf
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", least_seconds)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
