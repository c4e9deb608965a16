"""Connections within one process: messages in order, and every way to lose the other end."""

import os
import queue
from multiprocessing.connection import Connection

import numpy as np
import pytest

from serve.hosts import link as links
from serve.hosts.link import Link, encode

SECONDS = 20


class Heard:
    def __init__(self, connection: Connection) -> None:
        self.messages: queue.Queue[object] = queue.Queue()
        self.losses: queue.Queue[str] = queue.Queue()
        self.link = Link(connection, self.messages.put, self.losses.put)
        self.link.start()


def test_messages_arrive_whole_and_in_order_among_beats(ends, monkeypatch):
    monkeypatch.setattr(links, "BEAT_SECONDS", 0.001)
    here, there = map(Heard, ends)
    large = np.arange(1 << 20)
    for number in range(50):
        here.link.send(encode(("step", number, large[:number])))
    here.link.send(encode(large))
    for number in range(50):
        name, count, array = there.messages.get(timeout=SECONDS)
        assert (name, count, len(array)) == ("step", number, number)
    np.testing.assert_array_equal(there.messages.get(timeout=SECONDS), large)
    here.link.close()
    assert there.losses.get(timeout=SECONDS) == "has gone"
    here.link.wait(SECONDS)
    there.link.close()
    assert here.losses.empty()


def test_an_end_that_says_nothing_is_lost(ends, monkeypatch):
    monkeypatch.setattr(links, "SILENCE_SECONDS", 1)
    silent, listening = ends
    heard = Heard(listening)
    assert heard.losses.get(timeout=SECONDS) == "has said nothing for 1 s"
    assert not silent.closed


def test_an_end_that_stops_in_the_middle_of_a_message_is_lost(ends, monkeypatch):
    monkeypatch.setattr(links, "SILENCE_SECONDS", 1)
    stuck, listening = ends
    heard = Heard(listening)
    # Four bytes of length, of which a part never comes.
    os.write(stuck.fileno(), b"\0\0\1\0abc")
    assert heard.losses.get(timeout=SECONDS) == "has said nothing for 1 s"


def test_an_end_that_beats_is_not_lost(ends, monkeypatch):
    monkeypatch.setattr(links, "SILENCE_SECONDS", 1)
    monkeypatch.setattr(links, "BEAT_SECONDS", 0.1)
    here, there = map(Heard, ends)
    with pytest.raises(queue.Empty):
        here.losses.get(timeout=2.5)
    here.link.send(encode("still here"))
    assert there.messages.get(timeout=SECONDS) == "still here"
    here.link.close()
    there.link.close()


def test_what_cannot_be_sent_is_an_error(ends):
    here, there = map(Heard, ends)
    there.link.close()
    assert here.losses.get(timeout=SECONDS) == "has gone"
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        here.link.send(encode(bytes(1 << 24)))
