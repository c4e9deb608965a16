"""The row slots: who has one, and who gives it up first.

Knows nothing of pages, of queues, or of why a slot is given up.
"""

from collections import Counter
from operator import attrgetter
from typing import NamedTuple

from serve.engine.sequence import Phase, Sequence


class Seniority(NamedTuple):
    """Where a row stands among all; the one that compares greatest is given up first.

    Attributes:
        standing: the sequence's.
        number: its number among those of its caller at that standing; the oldest is the first.
        arrival: the sequence's.
        sequence: has the row.
    """

    standing: int
    number: int
    arrival: int
    sequence: Sequence


class Slots:
    """The slots of a batch.

    Args:
        count: that there are.

    Attributes:
        running: the sequences that have one.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = list(range(count - 1, -1, -1))
        self.running: list[Sequence] = []

    @property
    def free(self) -> int:
        """Slots that nobody has."""
        return len(self._free)

    @property
    def prefilling(self) -> list[Sequence]:
        """Those whose prompts have begun."""
        return [each for each in self.running if each.phase is Phase.PREFILLING]

    def seat(self, sequence: Sequence) -> None:
        """Give a sequence a free slot."""
        sequence.slot = self._free.pop()
        self.running.append(sequence)

    def vacate(self, sequence: Sequence) -> None:
        """Take a sequence's slot back."""
        self._free.append(sequence.slot)
        sequence.slot = -1
        self.running.remove(sequence)

    def by_seniority(self) -> list[Seniority]:
        """All rows; the last one is the first to be given up: the latest of whoever has most.

        Of those of the lowest tier, that is. So nobody loses a row to somebody of the same tier
        who has more. The oldest row of those that stand first stays the first, whatever is given
        up or comes after it: so there always is progress.
        """
        numbers: Counter[tuple[int, str]] = Counter()
        order: list[Seniority] = []
        for sequence in sorted(self.running, key=attrgetter("arrival")):
            standing = sequence.standing
            numbers[standing, sequence.caller] += 1
            number = numbers[standing, sequence.caller]
            order.append(Seniority(standing, number, sequence.arrival, sequence))
        # Arrivals differ, so that sequences are never compared.
        order.sort()
        return order

    def check(self) -> None:
        """Verify the slots.

        Raises:
            AssertionError: one is lost or counted twice.
        """
        slots = sorted([*self._free, *(running.slot for running in self.running)])
        if slots != list(range(self._count)):
            raise AssertionError("the row slots are not exactly the free and the running ones")
