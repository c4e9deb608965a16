"""The engine thread: commands in, plan → execute → commit, deliveries out.

Owns the scheduler, the runner and the thread they live on. Other threads talk to it through
`submit` and `cancel`; it answers through one call of the listener per step. It knows nothing
of event loops or text.
"""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import replace
from typing import Protocol

from sampling.batch import check_end_ids
from sampling.params import BAN
from serve.engine.cache_tiers import CacheTiers
from serve.engine.compilations import CompilationCounter
from serve.engine.config import EngineConfig
from serve.engine.images import check_images
from serve.engine.intake import Intake
from serve.engine.masks import MaskMaker
from serve.engine.moves import Gathered, Moves
from serve.engine.plan import Mask, StepPlan, StepResult
from serve.engine.scheduler import Delivery, Scheduler
from serve.engine.types import (
    EngineInfo,
    EngineState,
    EngineStats,
    EngineUnavailableError,
    GenerationRequest,
    StepReport,
)

logger = logging.getLogger(__name__)

Listener = Callable[[Sequence[Delivery]], None]
Observer = Callable[[StepReport], None]
Command = Callable[[], None]

# How often is looked whether a step with chunks has ended. The next one is dispatched by then.
_GLANCE_SECONDS = 0.001


class StepHandle(Protocol):
    """A step whose forward calls are dispatched.

    Attributes:
        dispatched: `perf_counter()` when the device had got its forward calls.
    """

    dispatched: float

    def sample(self, masks: Sequence[Mask]) -> None:
        """Dispatch its draws, after the masks of the rows that have one."""
        ...

    @property
    def ready(self) -> bool:
        """Whether the device has done it, after its draws are dispatched."""
        ...

    def fetch(self) -> StepResult:
        """Wait until the device has done it."""
        ...


class StepRunner(Protocol):
    """What executes plans."""

    def compile(self, on_progress: Callable[[int, int, str], None]) -> None:
        """Have all programs ready."""
        ...

    def move(self, moves: Moves) -> Sequence[Gathered]:
        """Dispatch what is to be copied before the next step; gives back what goes out."""
        ...

    def execute(self, plan: StepPlan) -> StepHandle:
        """Dispatch a step's forward calls without waiting for them."""
        ...


def _ignore(told: object) -> None:
    del told


class Engine:
    """A scheduler and a runner on a thread of their own.

    Args:
        runner: executes plans.
        config: the engine's settings.
        info: facts about the model and engine.
        cache_tiers: where pages are that the pool gives up; nowhere if not given.

    Attributes:
        info: facts about the model and engine.
        death: completes with the exception when the thread dies of one, or with None when it
            was stopped.
    """

    def __init__(
        self,
        runner: StepRunner,
        config: EngineConfig,
        info: EngineInfo,
        cache_tiers: CacheTiers | None = None,
    ) -> None:
        self.info = info
        self.death: Future[BaseException | None] = Future()
        self._runner = runner
        self._config = config
        self._intake = Intake(config)
        self._masks = MaskMaker(info.vocab_size)
        self._cache_tiers = cache_tiers or CacheTiers()
        self._scheduler = Scheduler(
            config, self._intake.leave, self._masks.holding, self._cache_tiers
        )
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._listener: Listener = _ignore
        self._observer: Observer = _ignore
        self._state = EngineState.STARTING
        self._compilations = CompilationCounter()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    # --- for other threads -------------------------------------------------------------

    def start(
        self,
        listener: Listener,
        observer: Observer,
        on_progress: Callable[[int, int, str], None],
    ) -> None:
        """Have the programs ready, then take requests.

        Returns when ready; meant to be called on a thread.

        Args:
            listener: called on the engine thread with the deliveries of each step.
            observer: called on the engine thread with a report of each step.
            on_progress: called with (programs ready, programs in all, what is being done).
        """
        self._listener, self._observer = listener, observer
        self._runner.compile(on_progress)
        self._compilations.start()
        self._state = EngineState.READY
        self._thread.start()

    @property
    def state(self) -> EngineState:
        """Where the engine is in its life."""
        return self._state

    @property
    def stats(self) -> EngineStats:
        """A snapshot of counters and gauges."""
        stats = self._scheduler.stats()
        # What is submitted counts at once, though the thread has not seen it yet.
        waiting = max(0, self._intake.choices - stats.running)
        return replace(stats, waiting=waiting, compilations=self._compilations.count)

    def submit(self, request: GenerationRequest) -> None:
        """Queue a request. Returns at once.

        Raises:
            EngineUnavailableError: the engine is not ready.
            QueueFullError: no room for the request's choices.
            ValueError: prompt and answer cannot fit the context, the prompt is empty, there are
                more choices than rows and queue hold together, the bias or the stop ids name one
                that is not the model's, every token is banned, more end ids are to be banned
                than a row has room for, there is no such adapter, or images are not such as the
                model's tower takes, or not where the prompt has their tokens.
        """
        if self._state is not EngineState.READY:
            raise EngineUnavailableError(self._state)
        total = len(request.prompt) + request.max_tokens
        if not request.prompt or request.max_tokens < 1 or total > self._config.context_length:
            raise ValueError(
                f"{len(request.prompt)} prompt tokens and {request.max_tokens} more do not fit "
                f"a context of {self._config.context_length}; both must be at least 1"
            )
        if request.choices > self._config.most_choices:
            raise ValueError(
                f"{request.choices} choices never fit: rows and queue hold "
                f"{self._config.most_choices} together"
            )
        adapters = len(self.info.adapters)
        if request.adapter is not None and not 0 <= request.adapter < adapters:
            raise ValueError(f"adapter is {request.adapter}; there are {adapters}, numbered from 0")
        check_images(request.images, request.prompt, self.info.vision, self._config)
        check_end_ids(request.sampling, request.end_ids, self._config.end_ids)
        vocab, sampling = self.info.vocab_size, request.sampling
        named = [("logit_bias", token) for token, _ in sampling.logit_bias]
        named += [("stop_ids", token) for token in sampling.stop_ids]
        for field, token in named:
            if not 0 <= token < vocab:
                raise ValueError(f"{field} names token {token}; ids are 0 to {vocab - 1}")
        banned = {*sampling.banned, *sampling.early_ids(request.end_ids)}
        if len(banned) >= vocab:
            raise ValueError(
                f"logit_bias, with what min_tokens and ignore_eos ban, bans all {vocab} tokens; "
                f"leave one above {BAN:g}"
            )
        self._intake.enter(request)
        self._commands.put(lambda: self._scheduler.submit(request))

    def cancel(self, request_id: str, choice: int | None = None) -> None:
        """End a choice, or all choices of a request; harmless if they have ended."""
        self._commands.put(lambda: self._scheduler.cancel(request_id, choice))

    def drain(self) -> None:
        """Take no more requests; those in the engine go on."""
        if self._state is EngineState.READY:
            self._state = EngineState.DRAINING

    def stop(self) -> None:
        """End the thread, dropping what still runs. Returns when it has ended."""
        self.drain()
        self._commands.put(self._stop)
        if self._thread.is_alive():
            self._thread.join()
        self._cache_tiers.close()

    def fail(self, error: BaseException) -> None:
        """Die of what the thread cannot see: it may be waiting for ever for the device."""
        logger.error("the engine dies: %s", error)
        self._end(error)

    # --- on the engine thread ----------------------------------------------------------

    def _stop(self) -> None:
        self._stopping = True

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException as error:
            logger.exception("the engine thread died")
            self._end(error)
        else:
            self._end(None)

    def _end(self, error: BaseException | None) -> None:
        self._state = EngineState.DEAD
        # It dies once, of whatever came first.
        with contextlib.suppress(InvalidStateError):
            self.death.set_result(error)

    def _loop(self) -> None:
        scheduler = self._scheduler
        running: tuple[StepPlan, StepHandle] | None = None
        deliveries: list[Delivery] = []
        ended: list[Delivery] = []
        fetched = dispatched = time.perf_counter()
        while True:
            if running is None and not scheduler.has_work:
                self._rest()
            self._take_commands()
            if self._stopping:
                return
            follows = running is not None
            if running is not None and scheduler.awaits_tokens:
                # A draft goes on from what has come.
                deliveries += self._finish(*running)
                running, fetched = None, time.perf_counter()
            plan = scheduler.plan()
            self._move_pages()
            step = None if plan is None else self._runner.execute(plan)
            now = time.perf_counter()
            if plan is not None and step is not None and follows:
                self._observer(
                    StepReport(
                        rows=len(plan.decode),
                        prefill_tokens=plan.prefill_tokens,
                        host_seconds=step.dispatched - fetched,
                        step_seconds=now - dispatched,
                        mask_seconds=self._masks.take_seconds(),
                    )
                )
                self._intake.step_took(now - dispatched)
            dispatched = now
            constrained = [] if plan is None else plan.constrained()
            if step is not None and not constrained:
                step.sample([])
            # Told only now that the device has its next step: whoever listens takes time.
            if deliveries:
                self._listener(deliveries)
                deliveries = []
            if running is not None:
                deliveries = self._finish(*running)
                fetched = time.perf_counter()
            # What the step still tells of a prompt comes before the end of its answer.
            deliveries, ended = [*deliveries, *ended], []
            if step is not None and constrained:
                # While the forward calls run: what may come next depends on what has come.
                masks, without = self._masks.make(constrained)
                step.sample(masks)
                ended = [scheduler.end(*each) for each in without]
            if not scheduler.has_work and deliveries:
                self._listener(deliveries)
                deliveries = []
            running = None if plan is None or step is None else (plan, step)
            if running is None and scheduler.has_work:
                # All that wait do so for pages that are read on another thread.
                time.sleep(_GLANCE_SECONDS)

    def _move_pages(self) -> None:
        """Have pages copied before the step that has been planned, or by themselves."""
        if moves := self._cache_tiers.take_moves():
            self._cache_tiers.carry(self._runner.move(moves))

    def _finish(self, plan: StepPlan, step: StepHandle) -> list[Delivery]:
        """Wait for a step, and take what came of it."""
        self._take_commands_during(plan, step)
        return self._scheduler.commit(plan, step.fetch())

    def _rest(self) -> None:
        """Wait for a command; the device has nothing to do but to give out pages."""
        self._move_pages()
        while self._cache_tiers.unsaved and self._commands.empty():
            time.sleep(_GLANCE_SECONDS)
            self._cache_tiers.collect()
            self._move_pages()
        if self._config.check_integrity:
            self._scheduler.check_integrity()
        self._commands.get()()

    def _take_commands_during(self, plan: StepPlan, step: StepHandle) -> None:
        """Take commands while chunks of prompts are computed: that can take seconds.

        Whoever has left gives up rows and pages at once, though the chunk runs to its end.
        """
        # Not `get(timeout=…)`: CPython's waits for ever where it finds its lock free, no command,
        # and its time up, as it may on a busy machine.
        while plan.prefill and not step.ready and not self._stopping:
            self._take_commands()
            time.sleep(_GLANCE_SECONDS)

    def _take_commands(self) -> None:
        while not self._commands.empty():
            self._commands.get()()
