"""Settings for the whole suite: CPU only, shapes checked, and how tests run side by side.

What a run compiles is kept in one folder until its end: by the workers' own JAX, and by the
servers and notebooks that they start. So each program is compiled once in a run, whoever needs it.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Several virtual CPU devices deadlock on small machines without a larger thread pool.
os.environ.setdefault("NPROC", "16")

# Set by the first process of a run, which removes the folder, and inherited by its workers.
_CACHE_HOME = "TESTS_CACHE_HOME"
_OWNS_CACHE = _CACHE_HOME not in os.environ
if _OWNS_CACHE:
    os.environ[_CACHE_HOME] = tempfile.mkdtemp(prefix="parlance-tests-")
_COMPILE_CACHE = Path(os.environ[_CACHE_HOME]) / "parlance" / "xla"
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(_COMPILE_CACHE)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import pytest  # noqa: E402  (JAX reads the environment when it is imported)
from jaxtyping import install_import_hook  # noqa: E402

install_import_hook(("model", "sampling"), "beartype.beartype")

from support.quick import compiled_quickly  # noqa: E402  (it imports JAX)

# Which files' tests run on one worker, one after another, because they share what is dear: real
# servers, or engines. The tests of any other file stay together by themselves.
_SHARING = {
    "servers": [
        f"tests/e2e/test_{name}.py"
        for name in (
            "adapters",
            "client",
            "clients",
            "controls",
            "drafts",
            "hosts",
            "load",
            "logprobs",
            "mesh",
            "offline",
            "tools",
        )
    ],
    "engines": [
        f"tests/serve/engine/test_{name}.py"
        for name in (
            "adapters",
            "constraints",
            "drafted_answers",
            "engine",
            "prompt_logprobs",
            "running_ahead",
        )
    ],
}
_GROUPS = {file: group for group, files in _SHARING.items() for file in files}
# They take longest and begin first, so that no worker is left alone with one of them.
_LONG = {"servers", "tests/model/test_mesh.py"}


def _group_of(nodeid: str) -> str:
    file = nodeid.partition("::")[0]
    return _GROUPS.get(file, file)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order in which groups are given out."""
    items.sort(key=lambda item: _group_of(item.nodeid) not in _LONG)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Gives whole groups to workers. Only asked where there are workers.

    pytest-xdist's own groups (`--dist loadgroup`) change node ids in a way that pytest 9.2 ignores.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group_of(nodeid)

    return ByGroup(config, log)


def pytest_unconfigure(config: pytest.Config) -> None:
    """The last word of a run."""
    if _OWNS_CACHE:
        shutil.rmtree(os.environ[_CACHE_HOME], ignore_errors=True)


@pytest.fixture(scope="module")
def quickly() -> Iterator[None]:
    """Programs of this module's tests are compiled without optimizations."""
    with compiled_quickly():
        yield


@pytest.fixture(scope="session")
def cache_home() -> Path:
    """An `XDG_CACHE_HOME` for the processes that tests start."""
    return Path(os.environ[_CACHE_HOME])


@pytest.fixture(scope="session")
def compile_cache() -> Path:
    """Where those processes keep compiled programs, which is Parlance's default below it."""
    return _COMPILE_CACHE
