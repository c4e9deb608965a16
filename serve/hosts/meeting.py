"""How the processes find each other's ends of their connections, and agree.

Process 0 listens on a free port and lets all know, by one collective over the devices, its
address, the port and a random key, which whoever connects must prove to have. After that the
followers say what they were started with, and are refused where that differs.
"""

import logging
import secrets
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import NamedTuple, cast

import numpy as np
from jax.experimental.multihost_utils import broadcast_one_to_all

from serve.hosts.agreement import disagreement
from serve.hosts.errors import HostsError
from serve.hosts.follower import Follower
from serve.hosts.leader import Leader
from serve.hosts.messages import End, Hello, Welcome
from serve.hosts.processes import Processes
from serve.leaving import leave_at_once

logger = logging.getLogger(__name__)

_KEY_BYTES = 32
_ADDRESS_BYTES = 256
_CONNECT_SECONDS = 20.0
_PARTING_SECONDS = 5.0


class _Address(NamedTuple):
    """Where process 0 listens, and what it lets in."""

    host: str
    port: int
    key: bytes


def meet(processes: Processes, facts: Mapping[str, str], leaves_on_loss: bool) -> Leader | Follower:
    """Connect with the other processes, and see that all were started alike.

    Args:
        processes: who they are, and which this is.
        facts: what must be the same in all; see `agreement.py`.
        leaves_on_loss: see `Leader`.

    Raises:
        HostsError: they were not.
    """
    if processes.index:
        return _meet_leader(processes, facts)
    return _meet_followers(processes, facts, leaves_on_loss)


def _meet_leader(processes: Processes, facts: Mapping[str, str]) -> Follower:
    place = _announced(None)
    with _limited():
        connection = Client((place.host, place.port), authkey=place.key)
        connection.send(Hello(processes.index, facts))
        reply: Welcome | End = connection.recv()
    if isinstance(reply, End):
        raise HostsError(reply.reason)
    return Follower(cast("Connection", connection))


def _meet_followers(processes: Processes, facts: Mapping[str, str], leaves_on_loss: bool) -> Leader:
    key = secrets.token_bytes(_KEY_BYTES)
    # On all interfaces: by which of its names the others reach this machine, it cannot know.
    every_interface = ("0.0.0.0", 0)  # noqa: S104
    with Listener(every_interface, backlog=processes.count, authkey=key) as listener:
        _announced(_Address(processes.address, int(listener.address[1]), key))
        with _limited():
            connections, hellos = _accept(listener, processes.count - 1)
    differences = [
        difference
        for hello in hellos
        if (difference := disagreement(hello.process, hello.facts, facts))
    ]
    reply = End(2, differences[0]) if differences else Welcome()
    for connection in connections.values():
        connection.send(reply)
    if differences:
        # JAX's service in this process must outlive those that have joined it.
        for connection in connections.values():
            connection.poll(_PARTING_SECONDS)
        raise HostsError(differences[0])
    return Leader(connections, leaves_on_loss)


def _accept(listener: Listener, count: int) -> tuple[dict[int, Connection], list[Hello]]:
    """The followers' connections, and what they say."""
    connections: dict[int, Connection] = {}
    hellos: list[Hello] = []
    while len(connections) < count:
        try:
            connection = listener.accept()
        except (AuthenticationError, EOFError, OSError) as error:
            logger.warning("a connection that is none of ours was refused: %s", error)
            continue
        hello: Hello = connection.recv()
        hellos.append(hello)
        connections[hello.process] = cast("Connection", connection)
    return connections, hellos


def _announced(address: _Address | None) -> _Address:
    """Process 0's address, which is given there and learned elsewhere."""
    told = np.zeros(_KEY_BYTES + 2 + _ADDRESS_BYTES, np.uint8)
    if address is not None:
        sent = address.key + address.port.to_bytes(2) + address.host.encode()
        told[: len(sent)] = np.frombuffer(sent, np.uint8)
    heard = np.asarray(broadcast_one_to_all(told)).tobytes()
    key, port, host = heard[:_KEY_BYTES], heard[_KEY_BYTES:][:2], heard[_KEY_BYTES + 2 :]
    return _Address(host.rstrip(b"\0").decode(), int.from_bytes(port), key)


@contextmanager
def _limited() -> Generator[None]:
    """End the process where the others, who have met under JAX, do not connect."""
    last = threading.Timer(_CONNECT_SECONDS, _give_up)
    last.daemon = True
    last.start()
    try:
        yield
    finally:
        last.cancel()


def _give_up() -> None:
    logger.error("the other processes did not connect within %g s", _CONNECT_SECONDS)
    leave_at_once(1)
