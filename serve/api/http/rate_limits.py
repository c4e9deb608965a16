"""How many requests and tokens a caller may have in a minute.

Both are counted by GCRA: whoever has not asked for a minute has all of them, and what is used comes
back evenly, the whole in a minute. A request counts when it comes, its prompt when it is known, its
answer when it has ended, cancelled or not. What there is too little left for then is owed, and paid
before the next prompt is taken. So only what was used counts, and in the long run nobody gets more
than the limit. Knows nothing of who a caller is. For one event loop.
"""

import math
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

from throttled import RateLimiterType, Throttled, rate_limiter
from throttled.store import MemoryStore

from serve.api.exchange import Exchange
from serve.api.wire.errors import ApiError

# So many callers are remembered; of more, those that have not asked for longest are forgotten.
_MOST_CALLERS = 2**16
_SECONDS = 60

_Kind = Literal["requests", "tokens"]


class RateLimits:
    """Counts what callers ask for, and tells them by headers of their answers.

    Args:
        limits: requests and tokens that each caller may have in a minute; None for any number.
    """

    def __init__(self, limits: tuple[int, int] | None) -> None:
        self._buckets = limits and (_Bucket("requests", limits[0]), _Bucket("tokens", limits[1]))

    def take_request(self, caller: str, exchange: Exchange) -> None:
        """A request has come.

        Raises:
            ApiError: 429, its caller has had all that it may have, of requests or of tokens.
        """
        if self._buckets:
            requests, tokens = self._buckets
            with self._told(caller, exchange):
                requests.take(caller, 1)
                tokens.take(caller, 0)

    def take_prompt(self, caller: str, length: int, exchange: Exchange) -> None:
        """Its prompt has so many tokens. Its answer is counted when the exchange ends.

        Raises:
            ApiError: 429, there is not so much left of the caller's tokens.
        """
        if self._buckets:
            _, tokens = self._buckets
            with self._told(caller, exchange):
                tokens.take(caller, length)
            exchange.on_close(lambda: tokens.charge(caller, exchange.completion_tokens))

    @contextmanager
    def _told(self, caller: str, exchange: Exchange) -> Generator[None]:
        try:
            yield
        finally:
            for bucket in self._buckets or ():
                exchange.headers |= bucket.headers(caller)


class _Bucket:
    def __init__(self, kind: _Kind, limit: int) -> None:
        self._kind: _Kind = kind
        self._limit = limit
        self._owed: Counter[str] = Counter()
        self._filled = Throttled(
            using=RateLimiterType.GCRA.value,
            quota=rate_limiter.per_min(limit),
            store=MemoryStore(options={"MAX_SIZE": _MOST_CALLERS}),
        )

    def take(self, caller: str, amount: int) -> None:
        """Count what a caller wants. What is more than a whole minute's is owed for the rest.

        Raises:
            ApiError: 429; it would be too much now, or there is nothing left at all.
        """
        self.charge(caller, 0)
        at_once = min(max(amount, 1), self._limit)
        missing = self._owed[caller] + at_once - self._filled.peek(caller).remaining
        if missing > 0:
            raise self._refusal(at_once, math.ceil(missing * _SECONDS / self._limit))
        self.charge(caller, amount)

    def charge(self, caller: str, amount: int) -> None:
        """Count what a caller has had, or owes."""
        owed = self._owed.pop(caller, 0) + amount
        paid = min(owed, self._filled.peek(caller).remaining)
        self._filled.limit(caller, cost=paid)
        if owed > paid:
            self._owed[caller] = owed - paid

    def headers(self, caller: str) -> dict[str, str]:
        """What is told of the bucket with every answer."""
        state = self._filled.peek(caller)
        reset = state.reset_after + self._owed[caller] * _SECONDS / self._limit
        return {
            f"x-ratelimit-limit-{self._kind}": str(self._limit),
            f"x-ratelimit-remaining-{self._kind}": str(state.remaining),
            f"x-ratelimit-reset-{self._kind}": f"{reset:.3f}s",
        }

    def _refusal(self, wanted: int, seconds: int) -> ApiError:
        return ApiError(
            429,
            f"Rate limit reached on {self._kind} per minute: the limit is {self._limit}, and "
            f"{wanted} more would be too many now. Try again in {seconds} s.",
            type=self._kind,
            code="rate_limit_exceeded",
            headers={"Retry-After": str(seconds)},
        )
