"""Server-sent events: the frames, and the comment that keeps an idle stream open.

Knows nothing of what the events say.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterable
from typing import Generic, TypeVar

T = TypeVar("T")

KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}


def event(data: str) -> bytes:
    """One event; `data` is one line."""
    return f"data: {data}\n\n".encode()


class Paced(Generic[T]):
    """The items of a source, and None whenever none has come for a while.

    The source is read by a task of its own, because waiting for its next item with a time
    limit would end it. Use as `async with Paced(source, seconds) as items`: leaving the block
    stops the reading. What the source raises is raised here after the items before it.
    """

    def __init__(self, source: AsyncIterable[T], seconds: float) -> None:
        self._source = source
        self._seconds = seconds
        self._items: deque[T] = deque()
        self._changed = asyncio.Event()
        self._idle = self._silent = False

    async def __aenter__(self) -> "Paced[T]":
        self._loop = asyncio.get_running_loop()
        self._last = self._spoken = self._loop.time()
        self._timer = self._loop.call_later(self._seconds, self._look)
        self._reader = asyncio.create_task(self._read())
        self._reader.add_done_callback(lambda _: self._changed.set())
        return self

    def stop(self) -> None:
        """Stop reading: whoever iterates gets what is there and then `CancelledError`."""
        self._reader.cancel()

    def silent(self) -> None:
        """The latest item has come to nothing: the while goes on as if it had not come."""
        self._silent = True
        self._last = self._spoken

    def hasten(self, seconds: float) -> None:
        """From now on a while is at most `seconds`."""
        self._seconds = min(self._seconds, seconds)
        self._timer.cancel()
        self._look()

    async def __aexit__(self, *exception: object) -> None:
        self._timer.cancel()
        self._reader.cancel()
        await asyncio.wait({self._reader})
        if not self._reader.cancelled():
            self._reader.exception()  # raised by `__anext__`, or of no interest any more

    async def _read(self) -> None:
        async for item in self._source:
            self._items.append(item)
            self._last = self._loop.time()
            self._changed.set()

    def __aiter__(self) -> "Paced[T]":
        return self

    async def __anext__(self) -> T | None:
        if not self._silent:
            self._spoken = self._last
        self._silent = False
        while not self._items:
            if self._reader.done():
                self._reader.result()
                raise StopAsyncIteration
            if self._idle:
                self._idle = False
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._items.popleft()

    def _look(self) -> None:
        # One timer that looks when it has to, rather than one for each item.
        left = self._last + self._seconds - self._loop.time()
        if left <= 0:
            self._idle = True
            self._changed.set()
            self._last = self._loop.time()
            left = self._seconds
        self._timer = self._loop.call_later(left, self._look)
