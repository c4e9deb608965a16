"""When the tokens of an answer came: the time to the first, and from each to the next."""

from time import perf_counter

from serve.api.answering.choices import ChoiceDelta
from serve.metrics import Metrics


class TokenClock:
    """Tells the metrics of times.

    Args:
        metrics: are told.
        started: `perf_counter()` when the request came.
        tier: name of the one that the request got.
    """

    def __init__(self, metrics: Metrics, started: float, tier: str) -> None:
        self._metrics = metrics
        self._started = started
        self._tier = tier
        self._last: dict[int, float] = {}

    def tick(self, deltas: list[ChoiceDelta]) -> None:
        """Some choices have more tokens now."""
        now = perf_counter()
        for delta in deltas:
            if not delta.events:
                continue
            last = self._last.get(delta.index)
            if last is not None:
                self._metrics.observe_between((now - last) / len(delta.events))
            elif not self._last:
                self._metrics.observe_first_token(now - self._started, self._tier)
            self._last[delta.index] = now
