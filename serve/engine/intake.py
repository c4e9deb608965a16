"""How many choices the engine takes in, of whom, and how long whoever finds no room may wait.

A tier takes no room from a higher one: a request sees the choices of its own tier and of those
above.
Counts choices from being submitted to their end, whether they run or wait. Used by several threads.
Knows nothing of rows in use, pages or turns.
"""

import math
import threading
from collections import Counter

from serve.engine.config import EngineConfig
from serve.engine.types import GenerationRequest, QueueFullError, Tier

# Beyond the queue's limit nobody waits but callers below their share, and together so many times
# the limit at most: whoever can make up callers cannot make it grow without end.
MOST_FULL = 2
# How much the latest step, and the latest answer, count in a running mean.
_WEIGHT = 0.1
_LONGEST_WAIT = 600


class Intake:
    """What may still come in, of each tier.

    A request finds room while rows and queue together have some. Where they have none, it finds
    room still while its caller has less than its share: the whole, divided by all callers there
    are. What is of a lower tier counts for nothing of that.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._rows = config.max_rows
        self._size = config.most_choices
        self._lock = threading.Lock()
        # What a request of each tier sees: who has how many choices.
        self._seen: dict[Tier, Counter[str]] = {tier: Counter() for tier in Tier}
        self._totals = Counter(dict.fromkeys(Tier, 0))
        # The most tokens that the answers of all that are here can have together.
        self._bound = 0
        self._answer_tokens = math.inf
        self._step_seconds = 0.0

    @property
    def choices(self) -> int:
        """Choices that are here."""
        return self._totals[max(Tier)]

    def enter(self, request: GenerationRequest) -> None:
        """A request comes in with all its choices.

        Raises:
            QueueFullError: there is no room for it.
        """
        caller, choices = request.caller, request.choices
        with self._lock:
            seen, total = self._seen[request.tier], self._totals[request.tier]
            share = self._size // len(seen.keys() | {caller})
            too_many = total + choices - self._size
            above_share = seen[caller] + choices - share
            far_too_many = total + choices - MOST_FULL * self._size
            missing = min(too_many, max(above_share, far_too_many))
            if missing > 0:
                raise QueueFullError(total, self._size, self._seconds_until(missing))
            self._count(request, choices)
            self._bound += choices * request.max_tokens

    def leave(self, request: GenerationRequest, answer_tokens: int) -> None:
        """A choice of a request has ended after so many tokens; 0 if it never began."""
        with self._lock:
            self._count(request, -1)
            self._bound -= request.max_tokens
            if answer_tokens:
                self._answer_tokens = _mean(self._answer_tokens, answer_tokens)

    def _count(self, request: GenerationRequest, choices: int) -> None:
        for tier in Tier:
            if tier >= request.tier:
                seen = self._seen[tier]
                seen[request.caller] += choices
                self._totals[tier] += choices
                if not seen[request.caller]:
                    del seen[request.caller]

    def step_took(self, seconds: float) -> None:
        """Take note of how long a step took."""
        self._step_seconds = _mean(self._step_seconds or math.inf, seconds)

    def _seconds_until(self, ended: int) -> int:
        """How long it is likely to take until so many choices have ended.

        All rows are at work, each for as many steps as answers have tokens: those of late, and no
        more than the answers asked for now can have.
        """
        tokens = min(self._answer_tokens, self._bound / max(1, self.choices))
        seconds = ended * tokens * self._step_seconds / self._rows
        return max(1, min(_LONGEST_WAIT, math.ceil(seconds)))


def _mean(mean: float, value: float) -> float:
    return value if math.isinf(mean) else mean + _WEIGHT * (value - mean)
