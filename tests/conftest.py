"""Settings for the whole suite: CPU only, shapes checked."""

import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Several virtual CPU devices deadlock on small machines without a larger thread pool.
os.environ.setdefault("NPROC", "16")

import pytest
from jaxtyping import install_import_hook

install_import_hook(("model", "sampling"), "beartype.beartype")


@pytest.fixture(scope="session")
def cache_home(tmp_path_factory) -> Path:
    """An `XDG_CACHE_HOME` for the processes that tests start: each program compiles once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def compile_cache(cache_home) -> Path:
    """Where those processes keep compiled programs, which is Parlance's default below it."""
    return cache_home / "parlance" / "xla"
