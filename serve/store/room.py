"""How many bytes the store holds, and whether more may come.

Counted in memory, and anew at each sweep, for other servers may share the database.
"""

from serve.store.errors import StoreFullError
from serve.store.metrics import StoreMetrics


class Room:
    """The bytes of one store.

    Args:
        most: bytes that it may hold.
        metrics: shown how many it holds.
    """

    def __init__(self, most: int, metrics: StoreMetrics) -> None:
        self._most = most
        self._metrics = metrics
        self._held = 0

    def check(self, more: int) -> None:
        """Raises StoreFullError if `more` bytes are too many."""
        if self._held + more > self._most:
            raise StoreFullError(f"it holds {self._held} bytes of {self._most}")

    def add(self, count: int) -> None:
        """So many bytes have come, or gone."""
        self.count(self._held + count)

    def count(self, held: int) -> None:
        """There are so many bytes, as somebody has counted."""
        self._held = max(held, 0)
        self._metrics.holds(self._held)
