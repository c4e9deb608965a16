"""Waiting for what knows no events: another thread's state, a log, a directory."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    """Wait until a condition holds.

    Args:
        condition: asked every millisecond, on the event loop.
        seconds: how long it may take.

    Raises:
        TimeoutError: it does not hold by then.
    """
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
