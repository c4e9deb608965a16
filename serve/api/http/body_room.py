"""How much memory the bodies that are being read may take together.

Each body is read up to a few KiB whatever the others take. Before it is read on, room is taken
for all of it, so that bodies that have begun can always end; and from one network no more than is
left for others.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from serve.api.settings import ApiSettings
from serve.api.wire.errors import ApiError
from serve.shares import Shares


class BodyRoom:
    """The room for all bodies.

    Args:
        settings: say how much there is.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self.free_bytes = settings.free_body_bytes
        self._most_bytes = settings.max_body_bytes
        self._seconds = settings.body_wait_seconds
        self._retry_after = settings.retry_after_seconds
        self._shares = Shares(max(settings.held_body_bytes, settings.max_body_bytes))
        self._waiting: deque[tuple[str, int, asyncio.Future[None]]] = deque()

    async def take(self, said: int | None, network: str) -> Callable[[], None]:
        """Wait for room for one body; whoever came first gets it first.

        Args:
            said: the length that its headers say, or None.
            network: where it comes from.

        Returns:
            what gives the room back; may be called more than once.

        Raises:
            ApiError: 503; there was none for too long.
        """
        # One that says it is too long is refused and dropped, not held.
        size = self._most_bytes if said is None else said if said <= self._most_bytes else 0
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((network, size, turn))
        self._admit()
        try:
            async with asyncio.timeout(self._seconds):
                await turn
        except TimeoutError:
            raise ApiError(
                503,
                f"Other requests with long bodies take all the room there is for them. Try again "
                f"in {self._retry_after} s.",
                type="server_error",
                code="too_many_bodies",
                headers={"Retry-After": str(self._retry_after)},
            ) from None
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give(network, size)
            raise
        finally:
            turn.cancel()
        given = [size]
        return lambda: self._give(network, given.pop() if given else 0)

    def _give(self, network: str, size: int) -> None:
        self._shares.give(network, size)
        self._admit()

    def _admit(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        held_up = False
        for network, size, turn in waiting:
            if turn.done():
                continue
            if held_up or not self._shares.fits(network, size):
                self._waiting.append((network, size, turn))
                # One that is too large for what is left would wait for ever, if what came later
                # went before it.
                held_up = held_up or size > self._shares.left
                continue
            self._shares.take(network, size)
            turn.set_result(None)
