"""What one HTTP request leaves for its log line and its metrics, and what its end must undo.

The middleware makes an `Exchange` for each request and closes it when the client has gone or
the last byte is sent; handlers find it with `exchange_of` and note what they know.
"""

import re
import secrets
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol, cast

_SCOPE_KEY = "parlance.exchange"
_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Intake(Protocol):
    """A body that is read as it comes."""

    async def wanted(self) -> None:
        """Wait until more of it is wanted."""
        ...

    def drop(self) -> None:
        """The rest is not read."""
        ...


@dataclass(slots=True)
class Exchange:
    """One request and its response.

    Attributes:
        request_id: the caller's own, if it is sane, or a fresh one.
        method: of the request.
        route: the pattern that matched; never the raw path, which could be anything.
        started: `perf_counter()` when the request came.
        status: of the response; None until it starts.
        complete: whether the whole response was sent.
        prompt_tokens: of a completion.
        completion_tokens: of a completion, as far as it came.
        key: a digest of the API key that it came with, where one is asked for; never logged.
        caller: hash of who asks, where the request says so.
        adapter: name of the one that the request asks for.
        metadata: the request's.
        tier: name of the one that a completion got.
        headers: of the response, besides those that its handler gives.
        body_used: to be called when the request's body is no longer held.
        intake: of a body that is read as it comes; None where it is held whole.
    """

    request_id: str
    method: str
    route: str = "unmatched"
    started: float = field(default_factory=perf_counter)
    status: int | None = None
    complete: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0
    key: str | None = field(default=None, repr=False)
    caller: str | None = None
    adapter: str | None = None
    metadata: Mapping[str, str] | None = None
    tier: str | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body_used: Callable[[], object] = lambda: None
    intake: Intake | None = None
    _cleanups: list[Callable[[], object]] = field(default_factory=list[Callable[[], object]])
    _closed: bool = False
    _on_half_close: Callable[[], object] | None = None
    _half_closed: bool = False

    def on_close(self, cleanup: Callable[[], object]) -> None:
        """Have `cleanup` called when the exchange ends, or now if it has ended."""
        self._cleanups.append(cleanup)
        if self._closed:
            self.close()

    def close(self) -> None:
        """Run what `on_close` was given, the last first. The client is gone or has it all."""
        self._closed = True
        while self._cleanups:
            self._cleanups.pop()()

    def on_half_close(self, notice: Callable[[], object]) -> None:
        """Have `notice` called when the client closes its sending side, or now if it has."""
        self._on_half_close = notice
        if self._half_closed:
            notice()

    def half_close(self) -> None:
        """The client sends nothing more. Whether it still reads, only writing to it tells."""
        self._half_closed = True
        if self._on_half_close is not None:
            self._on_half_close()

    @property
    def seconds(self) -> float:
        """Time since the request came."""
        return perf_counter() - self.started


def request_id_of(given: str) -> str:
    """The caller's request id if it is short and plain, else a fresh one."""
    return given if _SANE_ID.fullmatch(given) else f"req_{secrets.token_hex(16)}"


def attach(scope: MutableMapping[str, Any], exchange: Exchange) -> None:
    """Make `exchange` known to the handlers of this ASGI scope."""
    scope[_SCOPE_KEY] = exchange


def exchange_of(scope: Mapping[str, Any] | object) -> Exchange:
    """The exchange of an ASGI scope."""
    return cast("Mapping[str, Exchange]", scope)[_SCOPE_KEY]
