"""The engine's border: what goes in, what comes out, what can go wrong.

Imports no JAX, so that HTTP code can use it freely.
"""

import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from model.vision.config import AnyVisionConfig
from sampling.params import SamplingParams
from serve.engine.prompt_images import PromptImage

FinishReason = Literal["stop", "length"]
# Where a prompt's pages were found, and whether its request belongs to a group.
CacheTier = Literal["device", "host", "directory"]
CacheClass = Literal["none", "grouped"]


class ConstraintError(Exception):
    """A choice cannot go on under its constraint; the message says why, for who asked."""


class Matcher(Protocol):
    """Follows one choice through its constraint, token by token. For one thread at a time."""

    @property
    def accepting(self) -> bool:
        """Whether what has been sampled satisfies the constraint: the choice may end."""
        ...

    @property
    def finished(self) -> bool:
        """Whether nothing may follow: the choice must end."""
        ...

    def accept(self, token: int) -> None:
        """Go on by one sampled token, which is not an end id.

        Raises:
            ConstraintError: the token is not allowed, or following it takes too much.
        """
        ...

    def fill(self, allowed: NDArray[np.uint32]) -> None:
        """Write one bit per token that may come next: token t is bit t mod 32 of word ⌊t / 32⌋.

        End ids are among them exactly where the choice may end.

        Raises:
            ConstraintError: finding out takes too much.
        """
        ...

    def copy(self) -> "Matcher":
        """One at the same place, which goes on by itself; cheap."""
        ...

    def forced(self) -> list[int]:
        """The tokens that must come next, one after the other, as far as there is no choice.

        Each is what `fill` would leave alone when those before it are accepted. There may be
        more such tokens than these; no end id is among them.
        """
        ...

    def allows(self, tokens: Sequence[int]) -> int:
        """How many of `tokens`, none of them an end id, could be accepted one after the other.

        Masks may have fewer: those after which only one text may follow have it in one spelling.
        """
        ...


class Constraint(Protocol):
    """What the answers of a request must look like, compiled."""

    def matcher(self) -> Matcher:
        """Follows one choice from its beginning; cheap, and called on the engine thread."""
        ...


class Tier(IntEnum):
    """How soon a request is served: those of a lower number go first, and are put back last."""

    PRIORITY = 1
    DEFAULT = 2
    FLEX = 3

    @property
    def label(self) -> str:
        """Its name in requests, answers and metrics."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One request, validated and tokenized.

    Attributes:
        id: unique among the requests in the engine.
        prompt: token ids, at least one.
        sampling: settings shared by all choices; choice i draws with a key of (seed, i).
        max_tokens: bound on the sampled tokens of each choice, at least 1. The caller has
            clamped it so that prompt and answer fit the context.
        choices: how many answers to generate from the one prompt.
        end_ids: sampling one of these ends a choice with `stop`, and so does one of the sampling
            settings' `stop_ids`.
        constraint: what each choice must satisfy, if anything. A choice that has satisfied it
            and can only end ends with `stop` at once.
        caller: who asks; rows and the queue are shared out fairly among callers.
        tells_stop_id: the event of a sampled stop id has it as its token.
        prompt_logprobs: how many of the likeliest tokens to tell of at each place of the prompt,
            at most 20; None to tell nothing of it. No token of a prompt that is told of is
            taken from the prefix cache.
        prediction: tokens that the answers may well have; drafts of them change no answer.
        adapter: which of `EngineInfo.adapters` answers; None for the model itself.
        tier: how soon it is served beside others.
        cache_scope: cache pages are shared with requests of the same scope only: a secret digest
            of who asks, or empty for all who share.
        cache_group: the scope's group of requests whose pages are kept by the group's last use;
            empty for none.
        cached_for_days: its pages also go to the directory of pages.
        images: pictures of the prompt, in their order.
    """

    id: str
    prompt: Sequence[int]
    sampling: SamplingParams
    max_tokens: int
    choices: int = 1
    end_ids: frozenset[int] = frozenset()
    constraint: Constraint | None = None
    caller: str = ""
    tells_stop_id: bool = False
    prompt_logprobs: int | None = None
    prediction: Sequence[int] = ()
    adapter: int | None = None
    tier: Tier = Tier.DEFAULT
    cache_scope: bytes = b""
    cache_group: str = ""
    cached_for_days: bool = False
    images: Sequence[PromptImage] = ()


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Log-probabilities at one position, from the raw logits: the model's own distribution.

    Attributes:
        sampled: of the sampled token, exact however unlikely it is.
        top_ids: the likeliest tokens, likeliest first, ties by lower id: 20, or as many as the
            vocabulary has.
        top_logprobs: theirs.
    """

    sampled: float
    top_ids: tuple[int, ...]
    top_logprobs: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PromptLogprobs:
    """Log-probabilities at consecutive places of a prompt, from the raw logits.

    Arrays, as a long prompt has many; T places, of each the K likeliest tokens.

    Attributes:
        tokens: [T], the prompt's own.
        logprobs: [T], theirs, exact however unlikely they are.
        ranks: [T], how many tokens are at least as likely as they are, themselves among them.
        top_ids: [T, K], the likeliest tokens, likeliest first, ties by lower id.
        top_logprobs: [T, K], theirs.
    """

    tokens: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    ranks: NDArray[np.int32]
    top_ids: NDArray[np.int32]
    top_logprobs: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One step's outcome for one choice.

    Attributes:
        choice: index of the choice, from 0.
        token: the sampled id, or None where the choice ended without one more: on an
            end-of-turn token, a stop id that is not told, or in a failure.
        finish_reason: set on the last event of a choice that has not failed, and only there.
        logprobs: of a sampled token whose request asked for them, else None.
        failure: why the choice cannot go on; its last event.
        predicted: the token was drafted from the request's prediction.
        mispredicted: tokens that were drafted from it and refused in the step that the event is
            from; told by the step's last event of the choice.
    """

    choice: int
    token: int | None
    finish_reason: FinishReason | None = None
    logprobs: TokenLogprobs | None = None
    failure: ConstraintError | None = None
    predicted: bool = False
    mispredicted: int = 0

    @property
    def last(self) -> bool:
        """Whether the choice has ended with this event."""
        return self.finish_reason is not None or self.failure is not None


class EngineState(Enum):
    """Where the engine is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    DEAD = "dead"


class EngineUnavailableError(Exception):
    """The engine takes no request now, or has dropped one: see `state`."""

    def __init__(self, state: EngineState) -> None:
        super().__init__(f"the engine is {state.value}")
        self.state = state


class QueueFullError(Exception):
    """Neither rows nor queue have room for the request's choices.

    Attributes:
        retry_after: seconds after which there is likely to be room.
    """

    def __init__(self, choices: int, limit: int, retry_after: int) -> None:
        super().__init__(f"{choices} choices run or wait already, and there is room for {limit}")
        self.retry_after = retry_after


class Generation(Protocol):
    """A request in progress.

    Iterating yields the events of one engine step at a time, in order, until every choice
    has ended; it raises `EngineUnavailableError` if the engine dies meanwhile, and
    `ConstraintError` where a choice cannot go on, which ends the others too. Leaving the
    iteration early does not cancel: call `cancel`.

    Attributes:
        cached_tokens: how many prompt tokens the prefix cache supplied; final once the
            first event has come.
        prompt_logprobs: where the request asks for them, of all of the prompt's tokens but the
            first, in order; complete once the first choice has ended, unless it was cancelled.
    """

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens that the prefix cache supplied."""
        ...

    @property
    def prompt_logprobs(self) -> Sequence[PromptLogprobs]:
        """Log-probabilities of the prompt, in parts."""
        ...

    def __aiter__(self) -> AsyncIterator[Sequence[TokenEvent]]: ...

    def cancel(self, choice: int | None = None) -> None:
        """Stop one choice, or all that still run. Harmless if they have ended."""
        ...


@dataclass(frozen=True, slots=True)
class TierStats:
    """What of the engine's snapshot is told of each tier.

    Attributes:
        waiting: choices that have no row.
        preemptions: rows put back to the queue; counter.
    """

    waiting: int = 0
    preemptions: int = 0


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What pages outside the device's pool do; see `EngineStats`.

    Attributes:
        hits: prompt tokens that were found, by where they were and by class; counters.
        host_bytes: what pages in host memory take.
        directory_bytes: what the files of pages take.
        moved: pages moved, by direction; counters.
        dropped: pages that were not saved because too many were on their way; counter.
        failures: of pages, by what failed: save, write, read; counters.
    """

    hits: Mapping[tuple[CacheTier, CacheClass], int] = field(
        default_factory=dict[tuple[CacheTier, CacheClass], int]
    )
    host_bytes: int = 0
    directory_bytes: int = 0
    moved: Mapping[str, int] = field(default_factory=dict[str, int])
    dropped: int = 0
    failures: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class EngineStats:
    """A snapshot for metrics. Counters only grow; gauges say how it is now.

    Attributes:
        running: choices that occupy a row.
        waiting: choices in the queue.
        pages_total: cache pages there are.
        pages_free: pages that hold nothing.
        pages_cached: pages that only the prefix cache keeps (evictable).
        prompt_tokens: prompt tokens accepted, counter.
        cached_tokens: of those, supplied by the prefix cache, counter.
        generated_tokens: tokens sampled and delivered, counter.
        preemptions: rows put back to the queue, for want of pages, for another caller or for a
            higher tier; counter.
        cancelled: choices cancelled, counter.
        steps: engine steps, counter.
        compilations: XLA compilations since the engine became ready, counter; stays 0.
        tiers: the same of each tier that has anything to tell.
        cache: of the prompt cache's tiers.
    """

    running: int = 0
    waiting: int = 0
    pages_total: int = 0
    pages_free: int = 0
    pages_cached: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    preemptions: int = 0
    cancelled: int = 0
    steps: int = 0
    compilations: int = 0
    tiers: Mapping[Tier, TierStats] = field(default_factory=dict[Tier, TierStats])
    cache: CacheStats = field(default_factory=CacheStats)


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one engine step took; handed to the metrics from the engine thread.

    Attributes:
        rows: choices decoded in the step.
        prefill_tokens: prompt tokens run through prefill in the step.
        host_seconds: time of the host between having the last step's tokens and having
            dispatched the next step's forward call: what the device could have waited for.
        step_seconds: from this step's dispatch to the next one's.
        mask_seconds: what each grammar mask took that was made since the last report.
    """

    rows: int
    prefill_tokens: int
    host_seconds: float
    step_seconds: float
    mask_seconds: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Facts about the loaded model and engine that do not change.

    Attributes:
        context_length: most tokens that prompt and answer have together.
        vocab_size: ids are below this.
        fingerprint: `fp_` and a digest of all that can change the numbers.
        description: name → value lines for the start-up log and `/metrics` info.
        most_choices: choices that rows and queue hold together: a request of more never fits.
        adapters: names of the adapters that requests may ask for.
        vision: the shape of the vision tower; None for a model that does not see.
        image_tokens: most tokens of an image: one of more never fits.
    """

    context_length: int
    vocab_size: int
    fingerprint: str
    description: Mapping[str, str] = field(default_factory=dict[str, str])
    most_choices: int = sys.maxsize
    adapters: tuple[str, ...] = ()
    vision: AnyVisionConfig | None = None
    image_tokens: int = sys.maxsize


class EngineClient(Protocol):
    """The engine as the event loop sees it."""

    @property
    def info(self) -> EngineInfo:
        """Facts about the model and engine."""
        ...

    @property
    def state(self) -> EngineState:
        """Where the engine is in its life."""
        ...

    @property
    def stats(self) -> EngineStats:
        """A snapshot of counters and gauges."""
        ...

    def submit(self, request: GenerationRequest) -> Generation:
        """Queue a request. Called on the event loop; returns at once.

        Raises:
            QueueFullError: no room for the request's choices.
            EngineUnavailableError: the engine is not ready.
        """
        ...
