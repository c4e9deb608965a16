"""Clients that send the same at once, in a process of their own.

So what they do does not hold up whoever measures others in the meantime. Knows nothing of what they
send.
"""

import asyncio
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Literal, Self
from urllib.parse import SplitResult, urlsplit

Reading = Literal["whole", "slowly", "never"]

# What a client that does not read all stays for.
_NICENESS = 19
_HOLD_SECONDS = 2.0
_SLOW_BYTES, _SLOW_SECONDS = 64, 0.02


@dataclass(frozen=True, slots=True)
class Sending:
    """What each client does.

    Attributes:
        body: of the request; empty to connect and say nothing.
        headers: besides the usual ones.
        clients: how many.
        reads: how they read the answer.
        seconds: after which those without a whole answer leave.
    """

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    clients: int = 6
    reads: Reading = "whole"
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one client got.

    Attributes:
        status: of the response; 0 where none came.
        seconds: from connecting to the end of the answer, or to leaving.
        start: the first bytes of the answer's body.
    """

    status: int
    seconds: float
    start: bytes = b""


class Crowd:
    """The process, from entering to leaving the block.

    Args:
        url: where to send.
        make: makes what is sent, of what `prepare` is given; runs in that process.
    """

    def __init__(self, url: str, make: Callable[..., Sending]) -> None:
        context = multiprocessing.get_context("spawn")
        self._link, far = context.Pipe()
        self._process = context.Process(target=_work, args=(far, url, make), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.join()

    def prepare(self, *asked: object) -> Sending:
        """Have made what is sent next; returns it without its body."""
        self._link.send(asked)
        return self._link.recv()

    def go(self) -> None:
        """Send it, by all clients at once."""
        self._link.send(())

    @property
    def done(self) -> bool:
        """Whether all have their answers, or have left."""
        return self._link.poll()

    def answers(self) -> list[Answer]:
        """What they got; waits for it."""
        return self._link.recv()


def _work(link: Connection, url: str, make: Callable[..., Sending]) -> None:
    # Clients are on other machines: these must not take the server's cores from it.
    os.nice(_NICENESS)
    while True:
        sending = make(*link.recv())
        link.send(Sending(b"", sending.headers, sending.clients, sending.reads, sending.seconds))
        link.recv()
        link.send(asyncio.run(_all(url, sending)))


async def _all(url: str, sending: Sending) -> list[Answer]:
    parts = urlsplit(url)
    fields = {"Host": parts.netloc, "Content-Type": "application/json", "Connection": "close"}
    fields |= {"Content-Length": str(len(sending.body)), **sending.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    head = f"POST {parts.path}/chat/completions HTTP/1.1\r\n{lines}\r\n".encode()
    clients = (_one(parts, head, sending) for _ in range(sending.clients))
    return await asyncio.gather(*clients)


async def _one(parts: SplitResult, head: bytes, sending: Sending) -> Answer:
    began = time.perf_counter()
    data = bytearray()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(sending.seconds):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                if sending.body:
                    writer.write(head)
                    writer.write(sending.body)
                await _read(reader, data, sending.reads)
            finally:
                writer.transport.abort()
    seconds = time.perf_counter() - began
    first, _, rest = bytes(data).partition(b"\r\n")
    status = int(first.split()[1]) if first.startswith(b"HTTP/1.1 ") else 0
    return Answer(status, seconds, rest.partition(b"\r\n\r\n")[2][:400])


async def _read(reader: asyncio.StreamReader, data: bytearray, reads: Reading) -> None:
    if reads == "never":
        await asyncio.sleep(_HOLD_SECONDS)
    end = time.perf_counter() + _HOLD_SECONDS
    while reads == "whole" or (reads == "slowly" and time.perf_counter() < end):
        piece = await reader.read(1 << 16 if reads == "whole" else _SLOW_BYTES)
        if not piece:
            break
        if len(data) < 1 << 16:
            data += piece
        if reads == "slowly":
            await asyncio.sleep(_SLOW_SECONDS)
