"""Two ends of one connection, within one process."""

import queue
import threading
from collections.abc import Iterator
from multiprocessing.connection import Client, Connection, Listener

import pytest


@pytest.fixture
def ends() -> Iterator[tuple[Connection, Connection]]:
    with Listener(("127.0.0.1", 0), authkey=b"key") as listener:
        accepted: queue.Queue[Connection] = queue.Queue()
        thread = threading.Thread(target=lambda: accepted.put(listener.accept()))
        thread.start()
        client = Client(listener.address, authkey=b"key")
        thread.join()
    server = accepted.get()
    yield server, client
    server.close()
    client.close()
