"""Who gets the next row, over tiers: a fair queue for each, the higher tier's before the lower's.

Owns who has been passed over long enough to go before all. Shares of callers are those of one tier.
Knows as little of pages, chunks and time as `fair_queue.py`.
"""

from collections.abc import Collection, Iterator
from itertools import chain

from serve.engine.fair_queue import FairQueue, Left, Turn
from serve.engine.patience import Patience
from serve.engine.sequence import Phase, Sequence
from serve.engine.slots import Seniority
from serve.engine.types import Tier

# The standing of a sequence that goes before all tiers.
DUE = 0


class TieredQueue:
    """A line for each standing, the lowest first; see `Sequence.standing`.

    Args:
        patience: how many rows higher tiers get while a lower one waits, until it goes first once.
    """

    def __init__(self, patience: int) -> None:
        self._lines = {standing: FairQueue() for standing in (DUE, *map(int, Tier))}
        self._patience = Patience(patience)

    def __len__(self) -> int:
        """Choices that wait."""
        return sum(map(len, self._lines.values()))

    def __iter__(self) -> Iterator[Sequence]:
        """All that wait, in no order."""
        return chain.from_iterable(self._lines.values())

    def rows(self, sequence: Sequence) -> int:
        """How many rows the caller of a sequence has at its standing."""
        return self._line(sequence).rows(sequence)

    def waiting(self, tier: Tier) -> int:
        """How many choices of a tier wait. May be asked from any thread."""
        first = self._patience.foremost(tier)
        return len(self._lines[tier]) + (first is not None and first.phase is Phase.WAITING)

    # --- who comes and goes ------------------------------------------------------------

    def add(self, sequence: Sequence) -> None:
        """A sequence begins to wait."""
        self._line(sequence).add(sequence)

    def seat(self, sequence: Sequence, begun: Collection[Sequence]) -> None:
        """A sequence that waits gets a row.

        Args:
            sequence: gets it.
            begun: those whose prompts have begun; they may be passed over as well.
        """
        self._line(sequence).seat(sequence)
        kept = {tier for tier in Tier if self._lines[tier]}
        kept.update(each.request.tier for each in begun if each.standing != DUE)
        self._patience.passed(sequence.request.tier, kept)

    def put_back(self, sequence: Sequence) -> None:
        """A sequence loses its row, and waits again."""
        self._line(sequence).put_back(sequence)

    def end(self, sequence: Sequence, *, seated: bool) -> None:
        """A sequence ends, with or without a row."""
        self._line(sequence).end(sequence, seated=seated)

    def _line(self, sequence: Sequence) -> FairQueue:
        return self._lines[sequence.standing]

    # --- whose turn it is --------------------------------------------------------------

    def turns(self, left: Left) -> Iterator[Turn]:
        """Who gets a row first, who next and so on; see `FairQueue.turns`."""
        return chain.from_iterable(line.turns(left) for line in self._lines.values())

    def hasten(self, begun: Collection[Sequence], left: Left) -> None:
        """Have one of each tier that is due go before all: the oldest that has begun, or the next.

        Args:
            begun: those whose prompts have begun.
            left: as in `turns`.
        """
        for tier in self._patience.due:
            of_tier = (each for each in begun if each.standing == tier)
            oldest = min(of_tier, key=lambda each: each.arrival, default=None)
            turn = None if oldest else next(self._lines[tier].turns(left), None)
            if sequence := oldest or (turn and turn.sequence):
                self._patience.hastened(sequence)
                self._move(sequence)

    def _move(self, sequence: Sequence) -> None:
        """Have a sequence stand before all tiers."""
        seated = sequence.phase is not Phase.WAITING
        self.end(sequence, seated=seated)
        sequence.standing = DUE
        self.add(sequence)
        if seated:
            self._line(sequence).seat(sequence)

    # --- who gives way -----------------------------------------------------------------

    def claims(self, row: Seniority) -> bool:
        """Whether somebody who waits may take that row."""
        fewest = self._lines[row.standing].fewest_rows
        uneven = fewest is not None and row.number > fewest + 1
        return uneven or any(self._lines[above] for above in range(row.standing))


def gives_way(row: Seniority, turn: Turn) -> bool:
    """Whether a row is given up for whoever's turn it is.

    A lower tier's for a higher one's; and within one, that of a caller with two rows more than
    the other. Who is due takes any but those of `priority`: else it might wait long for its pages,
    and all behind it.
    """
    waits = turn.sequence
    if waits.standing == DUE:
        return row.standing > Tier.PRIORITY
    even = row.standing != waits.standing or row.number <= turn.rows + 1
    return row.standing > waits.standing or not even
