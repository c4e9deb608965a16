"""A follower's end, with a connection in place of process 0."""

import queue
from multiprocessing.connection import Connection

import pytest

from serve.hosts import follower as followers
from serve.hosts.follower import Follower
from serve.hosts.messages import CannotStart

SECONDS = 20


@pytest.fixture
def left(monkeypatch) -> queue.SimpleQueue[int]:
    """The exit codes with which the process would have ended."""
    codes: queue.SimpleQueue[int] = queue.SimpleQueue()
    monkeypatch.setattr(followers, "leave_at_once", codes.put)
    return codes


@pytest.fixture
def process_0_and_follower(ends) -> tuple[Connection, Follower]:
    process_0, connection = ends
    return process_0, Follower(connection)


def _next_message(connection: Connection) -> object:
    """What the follower sends, beats aside."""
    return next(message for message in iter(connection.recv, ...) if message is not None)


def test_the_loss_of_process_0_ends_it(left, process_0_and_follower):
    process_0, _ = process_0_and_follower
    process_0.close()
    assert left.get(timeout=SECONDS) == 1


def test_a_process_0_that_ends_on_hearing_why_is_not_lost(
    left, process_0_and_follower, monkeypatch
):
    process_0, follower = process_0_and_follower
    link = follower._link
    close = link.close

    def close_last() -> None:
        assert _next_message(process_0) == CannotStart("no room")
        process_0.close()
        link.wait(SECONDS)
        close()

    monkeypatch.setattr(link, "close", close_last)
    follower.cannot_start("no room")
    assert left.empty()
