"""Real servers for the end-to-end tests."""

from collections.abc import Iterator

import pytest
from support.server_process import ServerProcess, end_server, start_server


@pytest.fixture(scope="session")
def server(compile_cache) -> Iterator[ServerProcess]:
    """A server as `make serve` starts it."""
    running = start_server(compile_cache)
    yield running
    assert end_server(running) == 0, "".join(running.lines)


@pytest.fixture(scope="session")
def deterministic_server(compile_cache) -> Iterator[ServerProcess]:
    """A server in deterministic mode, with few rows so that tests stay short."""
    running = start_server(compile_cache, "--deterministic", "--rows", "16")
    yield running
    assert end_server(running) == 0, "".join(running.lines)
