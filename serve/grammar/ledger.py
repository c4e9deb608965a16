"""What following one compiled grammar costs, over all the answers that do.

A library's limits bound one mask; a stranger's grammar could reach them with every token. And
what the library works out about a grammar is kept for all who follow it, up to a limit at which
it gives up: so a compiled grammar has an age, at which it is compiled anew. Knows nothing of
grammars.
"""

import threading

# Masks of large vocabularies and schemas take a millisecond of one core at most on average.
_SECONDS_A_MASK = 0.005
_GRACE_SECONDS = 0.5
# A virtual machine that stood still may count that as work of whoever ran. The library's own
# limits end a mask after tenths of a second.
_MOST_SECONDS_AT_ONCE = 0.2
# Few against the limit of automaton states, many against the cost of compiling.
_LIFETIME_MASKS = 2_000


class Ledger:
    """Counts for one compiled grammar; any thread may add to it.

    Attributes:
        failed: an answer could not go on, for what had been worked out is all that may be.
    """

    def __init__(self) -> None:
        self.failed = False
        self._masks = 0
        self._seconds = 0.0
        self._lock = threading.Lock()

    def add(self, seconds: float, masks: int = 0) -> None:
        """Note what was spent.

        Args:
            seconds: of one core, not of the clock: the machine may have other things to do. No
                more than a mask can take counts.
            masks: how many were made.
        """
        with self._lock:
            self._seconds += min(seconds, _MOST_SECONDS_AT_ONCE)
            self._masks += masks

    @property
    def overdrawn(self) -> bool:
        """Whether answers cost more than any that is worth it."""
        return self._seconds > _GRACE_SECONDS + _SECONDS_A_MASK * self._masks

    @property
    def worn(self) -> bool:
        """Whether the next answer should have the grammar compiled anew."""
        return self.failed or self._masks >= _LIFETIME_MASKS
