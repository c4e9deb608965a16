"""Whose prompt is computed next, of those that wait and those that have begun.

Owns the order and what it has to remember. Knows nothing of rows, or of how long a chunk is.
"""

from collections.abc import Collection, Iterable
from itertools import islice

from serve.engine.config import EngineConfig
from serve.engine.holdings import Holdings
from serve.engine.sequence import Phase, Sequence

# So many of the queue are looked at in a step: which of them could go before others?
_CONSIDERED = 32


class Turns:
    """The prompt that ends soonest goes first, but whoever came first is passed over only once.

    So a short prompt need not wait until a long one has gone through all its chunks; and among
    equals, as the one that has begun has less left, it is first come, first served. Short
    prompts that keep coming leave a long one every other step. Answers that were put back go
    before all: somebody is reading them.
    """

    def __init__(self, config: EngineConfig, holdings: Holdings) -> None:
        self._page_size = config.page_size
        self._holdings = holdings
        self._first: Sequence | None = None
        self._passed_over: Sequence | None = None

    def order(self, begun: list[Sequence], waiting: Iterable[Sequence]) -> list[Sequence]:
        """The sequences in the order in which they get what a step can compute.

        Args:
            begun: those whose prompts have begun.
            waiting: those that could begin.
        """
        left = {each: len(each.tokens) - each.computed for each in begun}
        for sequence in islice(waiting, _CONSIDERED):
            spared = self._holdings.spared(sequence)
            if not self.shares_later(sequence, spared, begun):
                left[sequence] = len(sequence.tokens) - spared
        order = sorted(left, key=lambda each: (not each.sampled, left[each], each.arrival))
        self._first = min(order, key=lambda each: each.arrival, default=None)
        if self._passed_over in left:
            order.sort(key=lambda each: each is not self._passed_over)
        return order

    def shares_later(self, sequence: Sequence, spared: int, begun: Iterable[Sequence]) -> bool:
        """Whether a prompt that has begun will compute the page that a waiting one needs next.

        Args:
            sequence: the one that waits.
            spared: how many of its tokens are spared by now.
            begun: the sequences whose prompts have begun.
        """
        page = spared // self._page_size
        wanted = sequence.names[page : page + 1]
        return bool(wanted) and any(
            each.computed <= spared and each.names[page : page + 1] == wanted for each in begun
        )

    def taken(self, served: Collection[Sequence]) -> None:
        """Take note of who got a chunk in the step that was ordered last."""
        due = self._passed_over
        if due is None or due in served or due.phase is Phase.FINISHED:
            self._passed_over = None if self._first in served else self._first
