"""Who gives up what for whom, before a step is planned: a row with its pages, or that one step.

Knows nothing of what is then done with them.
"""

from collections.abc import Callable
from itertools import islice

from serve.engine.config import EngineConfig
from serve.engine.fair_queue import Left
from serve.engine.holdings import Holdings
from serve.engine.sequence import Sequence
from serve.engine.slots import Seniority, Slots
from serve.engine.tiered_queue import TieredQueue, gives_way
from serve.engine.types import Tier

# So many of the queue are looked at in a step.
CONSIDERED = 32
# So many steps in a row are for prompts of `priority` and nothing of a lower tier.
MOST_HURRIED = 4


class GivingWay:
    """Has rows wait for those who come before them: in the queue, or where they are.

    Args:
        config: the engine's settings.
        queue: who waits.
        slots: who has rows.
        holdings: who has pages.
        put_back: takes a sequence's row and pages.
    """

    def __init__(
        self,
        config: EngineConfig,
        queue: TieredQueue,
        slots: Slots,
        holdings: Holdings,
        put_back: Callable[[Sequence], None],
    ) -> None:
        self._config = config
        self._queue = queue
        self._slots = slots
        self._holdings = holdings
        self._put_back = put_back
        self._hurried = 0

    def make_room(self, order: list[Seniority], left: Left) -> None:
        """Take the last rows of `order`, for those who wait and come before them.

        As many as this step can compute the prompts of. What is put back is not lost: its pages are
        kept while there is room. A deterministic engine puts nothing back.

        Args:
            order: all rows; loses those that are put back.
            left: as in `FairQueue.turns`.
        """
        if self._config.deterministic or not order or not self._queue.claims(order[-1]):
            return
        budget = self._config.prefill_chunk
        turns = list(islice(self._queue.turns(left), CONSIDERED))
        for rank, turn in enumerate(turns, start=1):
            budget -= turn.left
            if budget < 0 and rank > 1:
                return
            while order and gives_way(order[-1], turn):
                if self._has_room(turn.sequence, rank):
                    break
                self._put_back(order.pop().sequence)

    def last_standing(self, left: Left) -> int:
        """The last standing that the next step serves, once there is room for whoever gets a row.

        A prompt of `priority` is computed with nothing beside it but answers of that tier, so that
        it has its first token about as soon as on an idle server. But of so many steps one is for
        all who have a row.

        Args:
            left: as in `FairQueue.turns`.
        """
        hurries = self._hurried < MOST_HURRIED and self._has_urgent_prompt(left)
        self._hurried = self._hurried + 1 if hurries else 0
        return Tier.PRIORITY if hurries else max(Tier)

    def _has_urgent_prompt(self, left: Left) -> bool:
        if any(each.standing == Tier.PRIORITY for each in self._slots.prefilling):
            return True
        if not self._queue.waiting(Tier.PRIORITY):
            return False
        turns = islice(self._queue.turns(left), min(self._slots.free, CONSIDERED))
        next_ones = (turn.sequence for turn in turns)
        return any(each.standing == Tier.PRIORITY and self._has_room(each, 1) for each in next_ones)

    def _has_room(self, sequence: Sequence, slots: int) -> bool:
        """Whether so many slots are free, and the pages that the sequence needs."""
        margin = len(self._slots.running)
        return self._slots.free >= slots and self._holdings.has_room(sequence, margin)
