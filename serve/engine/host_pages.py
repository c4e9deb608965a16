"""Pages in the host's memory: those that have left the device's pool, as long as there is room.

Used by the engine thread alone.
"""

from collections.abc import Callable

from serve.engine.moves import PageBytes
from serve.engine.retention import Group, Retention


class HostPages:
    """Name → page.

    Args:
        capacity: how many pages there is room for.
        clock: seconds.
    """

    def __init__(self, capacity: int, clock: Callable[[], float]) -> None:
        self.capacity = capacity
        self._pages: dict[bytes, PageBytes] = {}
        self._order: Retention[bytes] = Retention(capacity, clock)

    def __len__(self) -> int:
        return len(self._pages)

    def add(self, name: bytes, page: PageBytes, group: Group | None) -> None:
        """Keep a page, in the place of others if need be."""
        if not self.capacity:
            return
        while name not in self._pages and len(self._pages) >= self.capacity:
            gone, _ = self._order.give_up()
            del self._pages[gone]
        self._pages[name] = page
        self._order.keep(name, group)

    def find(self, name: bytes) -> PageBytes | None:
        """The page of that name, if it is here."""
        return self._pages.get(name)

    def use(self, name: bytes, group: Group | None) -> None:
        """A page is wanted again: it is given up after those that were wanted before."""
        if name in self._pages:
            self._order.keep(name, group)

    def use_group(self, group: Group | None) -> None:
        """Somebody uses the group."""
        self._order.use(group)
