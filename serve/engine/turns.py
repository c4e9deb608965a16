"""Whose prompt is computed next, of those that have begun and those that get a row now.

Owns the order and what it has to remember. Knows nothing of the queue's order, or of how long a
chunk is.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable

from serve.engine.sequence import Phase, Sequence

# A standing, and a caller.
_Party = tuple[int, str]


class Turns:
    """The prompt that ends soonest goes first, but whoever came first is passed over only once.

    So a short prompt need not wait until a long one has gone through all its chunks; and among
    equals, as the one that has begun has less left, it is first come, first served. Short
    prompts that keep coming leave a long one every other step. Answers that were put back go
    before all: somebody is reading them. All that among the prompts of one caller: between callers,
    whoever has fewer rows goes first; and before all of that, whoever is of the higher tier.

    Args:
        page_size: tokens per cache page.
        rows: how many rows the caller of a sequence has.
    """

    def __init__(self, page_size: int, rows: Callable[[Sequence], int]) -> None:
        self._page_size = page_size
        self._rows = rows
        self._first: Sequence | None = None
        self._passed_over: Sequence | None = None

    def order(self, left: dict[Sequence, int]) -> list[Sequence]:
        """The sequences in the order in which they get what a step can compute.

        Args:
            left: how many tokens of each one's prompt must be computed.
        """
        order = sorted(left, key=lambda each: (not each.sampled, left[each], each.arrival))
        # What a caller has at a standing, without the rows that are in this order.
        rows = Counter({_party(each): self._rows(each) for each in order})
        rows.subtract(_party(each) for each in order if each.phase is not Phase.WAITING)
        level: dict[Sequence, int] = {}
        before: Counter[_Party] = Counter()
        for sequence in order:
            party = _party(sequence)
            level[sequence] = rows[party] + before[party]
            before[party] += 1
        order.sort(key=lambda each: level[each])
        self._first = min(order, key=lambda each: (each.standing, each.arrival), default=None)
        due = self._passed_over
        # One that has no row yet would take the room of those who have fewer.
        if due in left and (
            due.phase is not Phase.WAITING or rows[_party(due)] <= _fewest(rows, due.standing)
        ):
            order.sort(key=lambda each: each is not due)
        order.sort(key=lambda each: each.standing)
        return order

    def shares_later(self, sequence: Sequence, spared: int, begun: Iterable[Sequence]) -> bool:
        """Whether a prompt that has begun will compute the page that a waiting one needs next.

        One of a lower tier may be long in coming to it.

        Args:
            sequence: the one that waits.
            spared: how many of its tokens are spared by now.
            begun: the sequences whose prompts have begun.
        """
        page = spared // self._page_size
        wanted = sequence.names[page : page + 1]
        return bool(wanted) and any(
            each.standing <= sequence.standing
            and each.computed <= spared
            and each.names[page : page + 1] == wanted
            for each in begun
        )

    def taken(self, served: Collection[Sequence]) -> None:
        """Take note of who got a chunk in the step that was ordered last."""
        first, due = self._first, self._passed_over
        outranked = first and due and first.standing < due.standing
        if due is None or due in served or due.phase is Phase.FINISHED or outranked:
            self._passed_over = None if first in served else first


def _party(sequence: Sequence) -> _Party:
    return sequence.standing, sequence.caller


def _fewest(rows: Counter[_Party], standing: int) -> int:
    return min(count for party, count in rows.items() if party[0] == standing)
