"""Well-known clients against a real server: each program in tests/clients, and docs/clients.md."""

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from support.server_process import ServerProcess, end_server, start_server

from tools.client_senses import write_sense_flags
from tools.clients import CLIENTS, FLAGS, SEEING_FLAGS, Cell, Client, Servers, StandardTest
from tools.greedy_model import GREEDY_FLAGS, write_greedy_model
from tools.seeing_model import write_seeing_model
from tools.try_clients import PAGE, missing, page_of, surprises, try_client, try_standard_tests

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def needs(*, for_node: bool) -> None:
    """Skips where the clients are not installed; continuous integration must have them."""
    if os.environ.get("CI") != "true" and (absent := missing(for_node=for_node)):
        pytest.skip(f"there are not {absent}")


@pytest.fixture(scope="module")
def greedy_model(tmp_path_factory) -> Path:
    return write_greedy_model(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def plain_server(compile_cache, greedy_model) -> Iterator[ServerProcess]:
    running = start_server(compile_cache, "--model", str(greedy_model), *GREEDY_FLAGS)
    yield running
    assert end_server(running) == 0, "".join(running.lines)


@pytest.fixture(scope="module")
def flagged_server(compile_cache, greedy_model) -> Iterator[ServerProcess]:
    """A server that shows thoughts, and lets the model refuse."""
    running = start_server(compile_cache, "--model", str(greedy_model), *GREEDY_FLAGS, *FLAGS)
    yield running
    assert end_server(running) == 0, "".join(running.lines)


@pytest.fixture(scope="module")
def seeing_server(compile_cache, tmp_path_factory) -> Iterator[ServerProcess]:
    """A server whose model sees, and that hears and searches."""
    directory: Path = tmp_path_factory.mktemp("models")
    model, senses = write_seeing_model(directory / "seeing"), write_sense_flags(directory / "pages")
    running = start_server(compile_cache, "--model", str(model), *SEEING_FLAGS, *senses)
    yield running
    assert end_server(running) == 0, "".join(running.lines)


@pytest.fixture(scope="module")
def servers(
    plain_server: ServerProcess, flagged_server: ServerProcess, seeing_server: ServerProcess
) -> Servers:
    return Servers(plain_server.url, flagged_server.url, seeing_server.url)


@pytest.fixture(scope="module")
def tried(servers: Servers) -> Callable[[Client], dict[str, Cell]]:
    """What a client's program tells; it runs once at each server."""
    return cache(lambda client: try_client(client, servers))


@pytest.fixture(scope="module")
def standard(servers: Servers) -> list[StandardTest]:
    """What LangChain's own tests tell."""
    needs(for_node=False)
    return try_standard_tests(servers)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.title)
def test_a_client_does_what_its_program_says(client, tried):
    needs(for_node=client.for_node)
    cells = tried(client)
    assert surprises(cells) == {}
    assert len(cells) >= 5


def test_langchains_own_tests_pass_but_for_those_that_are_known_to_fail(standard):
    assert [test for test in standard if test.outcome == "failed"] == []
    assert sum(test.outcome == "passed" for test in standard) > 40


def test_the_page_tells_what_was_seen(tried, standard):
    needs(for_node=True)
    seen = {client: tried(client) for client in CLIENTS}
    page = PAGE.read_text(encoding="utf-8")
    assert page_of(page, seen, standard) == page, "run: python -m tools.try_clients"
