"""One choice of a request on its way through the engine.

Owns the choice's tokens, pages and counters. The counters run ahead of the tokens: a step is
planned while the one before it still runs, so `sampled` counts tokens that the device has
been told to sample, and `outputs` those that have come back.
"""

from enum import Enum

import numpy as np

from serve.engine.drafts import Draft, Drafter
from serve.engine.prefix_cache import root_of
from serve.engine.retention import Group
from serve.engine.types import GenerationRequest


class Phase(Enum):
    """Where a sequence is."""

    WAITING = "waiting"
    PREFILLING = "prefilling"
    DECODING = "decoding"
    FINISHED = "finished"


class Sequence:
    """A prompt and one growing answer.

    Attributes:
        request: what was asked.
        caller: who asks.
        choice: index among the request's choices.
        phase: see `Phase`.
        matcher: follows `tokens` through the request's constraint, if it has one.
        banned: ids that the request's biases remove.
        slot: row slot while it has one, else −1.
        tokens: the prompt and the answer's tokens that have come back.
        pages: cache pages held, in order; together they cover `computed` tokens and more.
        computed: tokens whose keys and values are written, or will be by planned steps.
        sampled: answer tokens sampled, or that planned steps will sample: of a step with a draft
            one, until it is known how many agree.
        drafter: finds drafts, if there are any to be found.
        draft: the draft of a step that has not come back.
        told: tokens of the prompt after which log-probabilities are told, or will be by planned
            steps; all but the last where they are not wanted. The first choice tells for all.
        names: prefix-cache names of the first full pages of `tokens`.
        registered: how many of its pages the prefix cache has been told of.
        cached_tokens: prompt tokens the prefix cache supplied at first admission; −1 before.
        arrival: order of arrival; the youngest is put back first.
        standing: the number of its tier, or 0 since it has been passed over long enough
            (`tiered_queue.py`). The lowest goes first, and is put back last.
    """

    __slots__ = (
        "arrival",
        "banned",
        "cached_tokens",
        "caller",
        "choice",
        "computed",
        "draft",
        "drafter",
        "matcher",
        "names",
        "pages",
        "phase",
        "registered",
        "request",
        "sampled",
        "slot",
        "standing",
        "tokens",
        "told",
    )

    def __init__(
        self, request: GenerationRequest, choice: int, arrival: int, drafter: Drafter | None = None
    ) -> None:
        self.request = request
        self.caller = request.caller
        self.choice = choice
        self.arrival = arrival
        self.standing = int(request.tier)
        self.phase = Phase.WAITING
        self.matcher = None if request.constraint is None else request.constraint.matcher()
        self.banned = np.array(request.sampling.banned, np.uint32)
        self.drafter = drafter
        self.draft: Draft | None = None
        self.slot = -1
        self.tokens = list(request.prompt)
        self.pages: list[int] = []
        self.names: list[bytes] = []
        self.registered = 0
        self.computed = 0
        self.sampled = 0
        self.cached_tokens = -1
        tells = choice == 0 and request.prompt_logprobs is not None
        self.told = 0 if tells else self.prompt_length - 1

    @property
    def prompt_length(self) -> int:
        """Tokens of the prompt."""
        return len(self.request.prompt)

    @property
    def root(self) -> bytes:
        """What the names of its pages begin with."""
        return root_of(self.request.adapter, self.request.cache_scope)

    @property
    def group(self) -> Group | None:
        """The group that its pages belong to."""
        request = self.request
        return (request.cache_scope, request.cache_group) if request.cache_group else None

    @property
    def spareable(self) -> int:
        """Tokens that need not be computed anew if their keys and values are there.

        What the others leave behind is wanted: the last one's logits, and those before each token
        of the prompt that is still to be told of.
        """
        tells = self.told < self.prompt_length - 1
        return self.told if tells else len(self.tokens) - 1

    @property
    def outputs(self) -> int:
        """Answer tokens that have come back."""
        return len(self.tokens) - self.prompt_length

    @property
    def in_flight(self) -> int:
        """Sampled tokens that have not come back."""
        return self.sampled - self.outputs

    @property
    def length(self) -> int:
        """Tokens there will be when all that is in flight has come back."""
        return self.prompt_length + self.sampled

    @property
    def awaited(self) -> bool:
        """Whether there may be a draft for it as soon as all its tokens have come back."""
        return self.draft is not None or (self.drafter is not None and not self.drafter.resting)

    @property
    def exhausted(self) -> bool:
        """Whether the bound on the answer is reached, counting what is in flight."""
        return self.sampled >= self.request.max_tokens
