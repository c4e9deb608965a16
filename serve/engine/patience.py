"""How often each tier has been passed over, and which is due: to go first, once.

Knows nothing of queues or rows.
"""

from collections import Counter
from collections.abc import Collection

from serve.engine.sequence import Phase, Sequence
from serve.engine.types import Tier


class Patience:
    """Counts the rows that higher tiers got while something of a tier was kept waiting.

    A tier is due after so many. Then one of its sequences goes first, to its end; the next one is
    due when that has ended, so that what is due never takes more than a row from higher tiers.

    Args:
        limit: how many rows those are.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._passed: Counter[Tier] = Counter()
        self._hastened: dict[Tier, Sequence] = {}

    def passed(self, by: Tier, kept_waiting: Collection[Tier]) -> None:
        """A sequence of the tier `by` got a row while some of the others were kept waiting."""
        self._passed.update(tier for tier in kept_waiting if tier > by)

    @property
    def due(self) -> list[Tier]:
        """The tiers of which one sequence is to go first now."""
        return [
            tier
            for tier, times in self._passed.items()
            if times >= self._limit
            and ((first := self.foremost(tier)) is None or first.phase is Phase.FINISHED)
        ]

    def foremost(self, tier: Tier) -> Sequence | None:
        """The sequence that went first for a tier last."""
        return self._hastened.get(tier)

    def hastened(self, sequence: Sequence) -> None:
        """It goes first, for its tier, which begins to wait anew."""
        tier = sequence.request.tier
        self._hastened[tier] = sequence
        self._passed[tier] = 0
