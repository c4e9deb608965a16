"""What one engine step does: the scheduler writes it, the runner executes it and answers."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serve.engine.drafts import Draft
from serve.engine.images import Look
from serve.engine.prompt_images import PromptImage
from serve.engine.sequence import Sequence
from serve.engine.types import PromptLogprobs, TokenLogprobs


@dataclass(frozen=True, slots=True)
class Telling:
    """What is to be told of a prompt with one of its chunks: log-probabilities of what comes after.

    Attributes:
        sequence: whose prompt it is.
        first: the first of the chunk's tokens after which something is told, counted from 0.
        tokens: of the prompt, those that come after that one and the next ones.
    """

    sequence: Sequence
    first: int
    tokens: list[int]


@dataclass(frozen=True, slots=True)
class PrefillChunk:
    """Tokens `start : start + len(tokens)` of a sequence, to be written to its pages.

    Attributes:
        slot: row slot.
        start: position of the first token.
        tokens: ids.
        table: the sequence's pages.
        sampling: the sequences that sample their next token from the logits after the last
            token: none unless the prompt is complete, else the sequence itself and the
            choices that fork from it.
        telling: what is to be told of the prompt, if anything.
        adapter: that the tokens run through; None for the model alone.
        images: of the whole prompt.
        seen: those of them that have tokens in the chunk.
    """

    slot: int
    start: int
    tokens: list[int]
    table: list[int]
    sampling: list[Sequence] = field(default_factory=list[Sequence])
    telling: Telling | None = None
    adapter: int | None = None
    images: tuple[PromptImage, ...] = ()
    seen: list[Look] = field(default_factory=list[Look])


@dataclass(frozen=True, slots=True)
class Seat:
    """A slot whose row finds some of its tokens computed: its page table.

    Attributes:
        slot: the new row's slot.
        table: its pages.
    """

    slot: int
    table: list[int]


@dataclass(frozen=True, slots=True)
class DecodeRow:
    """One token of a running sequence.

    Attributes:
        sequence: whose it is.
        position: position of the token that is fed in; the sampled one comes after it.
        draft: tokens that may be the next ones, fed in after it and verified.
    """

    sequence: Sequence
    position: int
    draft: Draft | None = None

    @property
    def drafted(self) -> list[int]:
        """The draft's tokens."""
        return [] if self.draft is None else self.draft.tokens


class Place(NamedTuple):
    """A token to be sampled.

    Attributes:
        sequence: whose it is.
        position: that it will have.
        before: how many drafts of the sequence come before it.
        given: the last of these.
    """

    sequence: Sequence
    position: int
    before: int = 0
    given: int = 0


class ConstrainedRow(NamedTuple):
    """A row whose next tokens have masks.

    Attributes:
        sequence: whose it is.
        draw: the sampling call.
        place: of its first token in that call; those after its drafts are the next ones.
        drafts: tokens.
    """

    sequence: Sequence
    draw: int
    place: int
    drafts: list[int]


@dataclass(frozen=True)
class Pass:
    """What is computed in one pass over the weights, and then sampled from together.

    Attributes:
        prefill: prompt chunks.
        decode: running sequences.
    """

    prefill: list[PrefillChunk]
    decode: list[DecodeRow]

    @cached_property
    def places(self) -> list[Place]:
        """The tokens to be sampled."""
        places = [
            Place(sequence, chunk.start + len(chunk.tokens))
            for chunk in self.prefill
            for sequence in chunk.sampling
        ]
        for row in self.decode:
            places.append(Place(row.sequence, row.position + 1))
            places += [
                Place(row.sequence, row.position + 1 + before, before, given)
                for before, given in enumerate(row.drafted, start=1)
            ]
        return places


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step, executed in the order of the fields.

    Attributes:
        loads: sequences that have just got a slot: their settings go to the device.
        seats: those of them whose first tokens are computed, or will be in this step.
        passes: one, unless the engine is deterministic.
        copies: pages to copy, and where to: a fork's partly filled last one.
        looks: images of which the tower makes vectors, before all else.
    """

    loads: list[Sequence]
    seats: list[Seat]
    passes: list[Pass]
    copies: list[tuple[int, int]]
    looks: list[Look] = field(default_factory=list[Look])

    @property
    def prefill(self) -> list[PrefillChunk]:
        """All prompt chunks."""
        return [chunk for each in self.passes for chunk in each.prefill]

    @property
    def decode(self) -> list[DecodeRow]:
        """All running sequences."""
        return [row for each in self.passes for row in each.decode]

    @property
    def prefill_tokens(self) -> int:
        """Prompt tokens run in the step."""
        return sum(len(chunk.tokens) for chunk in self.prefill)

    def samples(self) -> list[list[Place]]:
        """The tokens to be sampled, grouped by sampling call, in execution order."""
        return [places for each in self.passes if (places := each.places)]

    def tellings(self) -> list[Telling]:
        """What is to be told of prompts, in execution order."""
        return [chunk.telling for chunk in self.prefill if chunk.telling is not None]

    def constrained(self) -> list[ConstrainedRow]:
        """The rows that may sample only what their constraints allow."""
        rows: list[ConstrainedRow] = []
        for draw, places in enumerate(self.samples()):
            for index, place in enumerate(places):
                if place.sequence.matcher is None:
                    continue
                if place.before:
                    rows[-1].drafts.append(place.given)
                else:
                    rows.append(ConstrainedRow(place.sequence, draw, index, []))
        return rows


@dataclass(frozen=True, slots=True)
class Mask:
    """What one token may be.

    Attributes:
        draw: the sampling call.
        place: which of its tokens.
        allowed: one bit per token; see `Matcher.fill`.
    """

    draw: int
    place: int
    allowed: NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Sampled:
    """What came of one sampling call: an entry per place of a group of `samples()`.

    Attributes:
        tokens: the sampled ids; of a sequence none counts behind one that its draft does not agree
            with.
        logprobs: of the sequences whose requests asked for them.
    """

    tokens: list[int]
    logprobs: list[TokenLogprobs | None]


@dataclass(frozen=True, slots=True)
class StepResult:
    """What came of a step.

    Attributes:
        sampled: one for each group of its plan's `samples()`.
        prompts: one for each of `tellings()`.
    """

    sampled: list[Sampled]
    prompts: list[PromptLogprobs] = field(default_factory=list[PromptLogprobs])
