"""Whose body is prepared next: callers take turns, however much one of them sends.

All on one event loop. Knows nothing of bodies but their size, nor of what is done with them.
"""

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass

from serve.api.wire.errors import ApiError

# Bodies that may wait, and what they may have together, in largest bodies.
MOST_WAITING = 512
MOST_WAITING_BODIES = 16
# What a caller is told who is refused: the wait is of seconds.
_RETRY_AFTER = 2


@dataclass(eq=False, slots=True)
class _Waiting:
    """One body that waits.

    Attributes:
        weight: its bytes, or its part of the room.
        large: whether it leaves a place to others.
        place: done when it has a place.
    """

    weight: int
    large: bool
    place: asyncio.Future[None]


class WaitingRoom:
    """Gives out places.

    Args:
        places: that there are.
        most_bytes: of all bodies that wait.
    """

    def __init__(self, places: int, most_bytes: int) -> None:
        self._free = places
        self._free_for_large = max(1, places - 1)
        self._most_bytes = most_bytes
        self._least_weight = most_bytes // MOST_WAITING
        self._waiting: OrderedDict[str, deque[_Waiting]] = OrderedDict()

    async def take(self, caller: str, size: int, *, large: bool) -> None:
        """Wait for a place; who has one gives it back with `release`.

        Args:
            caller: whose body it is.
            size: its bytes.
            large: whether it leaves a place to others.

        Raises:
            ApiError: 429; the room is full, and nobody has more in it than this caller.
        """
        place = asyncio.get_running_loop().create_future()
        waiting = _Waiting(max(size, self._least_weight), large, place)
        if self._has_place(waiting):
            self._give(waiting)
            return
        self._make_room(caller, waiting.weight)
        self._waiting.setdefault(caller, deque()).append(waiting)
        try:
            await place
        except asyncio.CancelledError:
            self._remove(caller, waiting)
            if not place.cancelled() and place.exception() is None:
                self.release(large=large)
            raise

    def release(self, *, large: bool) -> None:
        """Give back a place, that of a large body or another: to the caller whose turn it is."""
        self._free += 1
        if large:
            self._free_for_large += 1
        for caller, bodies in tuple(self._waiting.items()):
            # Whoever has left may not have been removed yet.
            next_one = next(
                (each for each in bodies if self._has_place(each) and not each.place.done()), None
            )
            if next_one is not None:
                self._remove(caller, next_one)
                if caller in self._waiting:
                    self._waiting.move_to_end(caller)
                self._give(next_one)
                return

    def _has_place(self, waiting: _Waiting) -> bool:
        return self._free > 0 and (not waiting.large or self._free_for_large > 0)

    def _give(self, waiting: _Waiting) -> None:
        self._free -= 1
        if waiting.large:
            self._free_for_large -= 1
        waiting.place.set_result(None)

    def _make_room(self, caller: str, weight: int) -> None:
        """Refuse the last body of whoever has most, this one included, until there is room."""
        loads = {name: sum(body.weight for body in of) for name, of in self._waiting.items()}
        while sum(loads.values()) + weight > self._most_bytes:
            greediest = max(loads, key=lambda name: loads[name], default=caller)
            if loads.get(greediest, 0) <= loads.get(caller, 0) + weight:
                raise _full()
            last = self._waiting[greediest][-1]
            loads[greediest] -= last.weight
            self._remove(greediest, last)
            last.place.set_exception(_full())

    def _remove(self, caller: str, waiting: _Waiting) -> None:
        bodies = self._waiting.get(caller, deque())
        if waiting in bodies:
            bodies.remove(waiting)
            if not bodies:
                del self._waiting[caller]


def _full() -> ApiError:
    return ApiError(
        429,
        f"The server is at its limit: too many long requests wait to be read. Try again in "
        f"{_RETRY_AFTER} s.",
        type="rate_limit_error",
        code="queue_full",
        headers={"Retry-After": str(_RETRY_AFTER)},
    )
