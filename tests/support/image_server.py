"""A server of a few raw answers, on this machine, for whoever fetches."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def response(
    body: bytes = b"", *headers: str, status: str = "200 OK", length: int | None = None
) -> Answer:
    """An answer that is there at once."""
    size = len(body) if length is None else length
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {size}", *headers, "", ""])
    return raw(head.encode() + body)


def redirect(to: str, status: str = "302 Found") -> Answer:
    """An answer that sends elsewhere."""
    return response(b"", f"Location: {to}", status=status)


def raw(data: bytes) -> Answer:
    """These bytes."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return write


def drop_by_drop(data: bytes, seconds: float = 0.02) -> Answer:
    """These bytes, one after the other, without end."""

    async def write(writer: asyncio.StreamWriter) -> None:
        while True:
            for byte in data:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(seconds)

    return write


class ImageServer:
    """What was asked of it, and what it answers.

    Attributes:
        port: where it listens.
        answers: by path.
        asked: the heads of requests.
        visited: set when it is asked.
        left: set when somebody has left before the answer's end.
    """

    def __init__(self) -> None:
        self.port = 0
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.visited = asyncio.Event()
        self.left = asyncio.Event()

    @property
    def paths(self) -> list[str]:
        """Of the requests."""
        return [head.split()[1] for head in self.asked]

    async def visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.asked.append(head)
            self.visited.set()
            answer = asyncio.ensure_future(self.answers[head.split()[1]](writer))
            gone = asyncio.ensure_future(reader.read())
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            answer.cancel()
            gone.cancel()
            ended, _ = await asyncio.gather(answer, gone, return_exceptions=True)
            if ended is not None:
                self.left.set()
        except (asyncio.IncompleteReadError, OSError):
            self.left.set()
        finally:
            writer.close()


@asynccontextmanager
async def image_server(
    host: str = "127.0.0.1", port: int = 0, context: ssl.SSLContext | None = None
) -> AsyncIterator[ImageServer]:
    """One on a free port, or on this one."""
    told = ImageServer()
    server = await asyncio.start_server(told.visit, host, port, ssl=context)
    told.port = server.sockets[0].getsockname()[1]
    try:
        yield told
    finally:
        server.close()
        await server.wait_closed()
