"""The event loop's side of the engine: deliveries become async iteration.

Everything here runs on the event loop, except `_on_step`, which the engine thread calls once
per step.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

from serve.engine.engine import Engine
from serve.engine.scheduler import Delivery
from serve.engine.types import (
    EngineInfo,
    EngineState,
    EngineStats,
    EngineUnavailableError,
    GenerationRequest,
    PromptLogprobs,
    TokenEvent,
)


class BridgedGeneration:
    """A request in progress; see `serve.engine.types.Generation`."""

    def __init__(self, bridge: "EngineBridge", request: GenerationRequest) -> None:
        self._bridge = bridge
        self._request = request
        self._events: asyncio.Queue[list[TokenEvent] | EngineUnavailableError] = asyncio.Queue()
        self._running = set(range(request.choices))
        self._cached_tokens = 0
        self._prompt_logprobs: list[PromptLogprobs] = []

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens that the prefix cache supplied."""
        return self._cached_tokens

    @property
    def prompt_logprobs(self) -> Sequence[PromptLogprobs]:
        """Log-probabilities of the prompt, in parts."""
        return self._prompt_logprobs

    def deliver(self, events: list[TokenEvent | PromptLogprobs], cached_tokens: int) -> None:
        """Take what a step tells."""
        self._cached_tokens = max(self._cached_tokens, cached_tokens)
        self._prompt_logprobs += [each for each in events if isinstance(each, PromptLogprobs)]
        self._events.put_nowait([each for each in events if isinstance(each, TokenEvent)])

    def fail(self, error: EngineUnavailableError) -> None:
        """End the iteration with an error."""
        self._events.put_nowait(error)

    async def __aiter__(self) -> AsyncIterator[Sequence[TokenEvent]]:
        """The events of one step at a time."""
        while self._running:
            events = await self._events.get()
            if isinstance(events, EngineUnavailableError):
                raise events
            current = [event for event in events if event.choice in self._running]
            for event in current:
                if event.last:
                    self._end(event.choice)
                if event.failure is not None:
                    self.cancel()
                    raise event.failure
            if current:
                yield current

    def cancel(self, choice: int | None = None) -> None:
        """Stop one choice, or all that still run."""
        stopped = self._running.copy() if choice is None else self._running & {choice}
        for index in stopped:
            self._end(index)
        if stopped:
            self._bridge.cancel(self._request.id, choice)

    def _end(self, choice: int) -> None:
        self._running.discard(choice)
        if not self._running:
            self._bridge.forget(self._request.id)


class EngineBridge:
    """An `EngineClient` for the event loop it is made on."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._generations: dict[str, BridgedGeneration] = {}
        engine.death.add_done_callback(lambda _: self._call(self._on_death))

    @property
    def info(self) -> EngineInfo:
        """Facts about the model and engine."""
        return self._engine.info

    @property
    def state(self) -> EngineState:
        """Where the engine is in its life."""
        return self._engine.state

    @property
    def stats(self) -> EngineStats:
        """A snapshot of counters and gauges."""
        return self._engine.stats

    @property
    def open(self) -> int:
        """Requests in progress."""
        return len(self._generations)

    def submit(self, request: GenerationRequest) -> BridgedGeneration:
        """Queue a request; see `serve.engine.types.EngineClient.submit`."""
        generation = BridgedGeneration(self, request)
        self._generations[request.id] = generation
        try:
            self._engine.submit(request)
        except BaseException:
            del self._generations[request.id]
            raise
        return generation

    def cancel(self, request_id: str, choice: int | None) -> None:
        """Pass a cancellation on to the engine."""
        self._engine.cancel(request_id, choice)

    def forget(self, request_id: str) -> None:
        """The request has ended: its late events are nobody's."""
        self._generations.pop(request_id, None)

    def on_step(self, deliveries: Sequence[Delivery]) -> None:
        """The engine's listener: one call into the event loop per step."""
        self._call(self._deliver, deliveries)

    def _call(self, function: object, *args: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *args)  # type: ignore[arg-type]

    def _deliver(self, deliveries: Sequence[Delivery]) -> None:
        grouped: dict[str, tuple[list[TokenEvent | PromptLogprobs], int]] = {}
        for request_id, cached_tokens, event in deliveries:
            grouped.setdefault(request_id, ([], cached_tokens))[0].append(event)
        for request_id, (events, cached_tokens) in grouped.items():
            generation = self._generations.get(request_id)
            if generation is not None:
                generation.deliver(events, cached_tokens)

    def _on_death(self) -> None:
        for generation in list(self._generations.values()):
            generation.fail(EngineUnavailableError(EngineState.DEAD))
