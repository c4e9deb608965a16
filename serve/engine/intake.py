"""How many choices the engine takes in, of whom, and how long whoever finds no room may wait.

Counts choices from being submitted to their end, whether they run or wait. Used by several threads.
Knows nothing of rows in use, pages or turns.
"""

import math
import threading
from collections import Counter

from serve.engine.config import EngineConfig
from serve.engine.types import GenerationRequest, QueueFullError

# Beyond the queue's limit nobody waits but callers below their share, and together so many times
# the limit at most: whoever can make up callers cannot make it grow without end.
MOST_FULL = 2
# How much the latest step, and the latest answer, count in a running mean.
_WEIGHT = 0.1
_LONGEST_WAIT = 600


class Intake:
    """What may still come in.

    A request finds room while rows and queue together have some. Where they have none, it finds
    room still while its caller has less than its share: the whole, divided by all callers there
    are.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._rows = config.max_rows
        self._size = config.most_choices
        self._lock = threading.Lock()
        self._of: Counter[str] = Counter()
        self._total = 0
        # The most tokens that the answers of all that are here can have together.
        self._bound = 0
        self._answer_tokens = math.inf
        self._step_seconds = 0.0

    @property
    def choices(self) -> int:
        """Choices that are here."""
        return self._total

    def enter(self, request: GenerationRequest) -> None:
        """A request comes in with all its choices.

        Raises:
            QueueFullError: there is no room for it.
        """
        caller, choices = request.caller, request.choices
        with self._lock:
            share = self._size // len(self._of.keys() | {caller})
            too_many = self._total + choices - self._size
            above_share = self._of[caller] + choices - share
            far_too_many = self._total + choices - MOST_FULL * self._size
            missing = min(too_many, max(above_share, far_too_many))
            if missing > 0:
                raise QueueFullError(self._total, self._size, self._seconds_until(missing))
            self._of[caller] += choices
            self._total += choices
            self._bound += choices * request.max_tokens

    def leave(self, request: GenerationRequest, answer_tokens: int) -> None:
        """A choice of a request has ended after so many tokens; 0 if it never began."""
        caller = request.caller
        with self._lock:
            self._total -= 1
            self._bound -= request.max_tokens
            self._of[caller] -= 1
            if not self._of[caller]:
                del self._of[caller]
            if answer_tokens:
                self._answer_tokens = _mean(self._answer_tokens, answer_tokens)

    def step_took(self, seconds: float) -> None:
        """Take note of how long a step took."""
        self._step_seconds = _mean(self._step_seconds or math.inf, seconds)

    def _seconds_until(self, ended: int) -> int:
        """How long it is likely to take until so many choices have ended.

        All rows are at work, each for as many steps as answers have tokens: those of late, and no
        more than the answers asked for now can have.
        """
        tokens = min(self._answer_tokens, self._bound / max(1, self._total))
        seconds = ended * tokens * self._step_seconds / self._rows
        return max(1, min(_LONGEST_WAIT, math.ceil(seconds)))


def _mean(mean: float, value: float) -> float:
    return value if math.isinf(mean) else mean + _WEIGHT * (value - mean)
