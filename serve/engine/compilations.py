"""Counting XLA compilations, so that "none after ready" can be seen and tested."""

from typing import Any

import jax

_EVENT = "/jax/core/compile/backend_compile_duration"


class CompilationCounter:
    """Counts the process's compilations from `start` on.

    Attributes:
        count: compilations since then.
    """

    def __init__(self) -> None:
        self.count = 0
        self._counting = False

    def start(self) -> None:
        """Begin to count."""
        if not self._counting:
            self._counting = True
            jax.monitoring.register_event_duration_secs_listener(self._on_event)

    def _on_event(self, event: str, duration_secs: float, **kwargs: Any) -> None:
        del duration_secs, kwargs
        if event == _EVENT:
            self.count += 1
