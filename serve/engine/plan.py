"""What one engine step does: the scheduler writes it, the runner executes it and answers."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serve.engine.sequence import Sequence
from serve.engine.types import PromptLogprobs, TokenLogprobs


@dataclass(frozen=True, slots=True)
class Telling:
    """What is to be told of a prompt with one of its chunks: log-probabilities of what comes after.

    Attributes:
        sequence: whose prompt it is.
        tokens: of the prompt, those that come after each of the chunk's.
    """

    sequence: Sequence
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
    """

    slot: int
    start: int
    tokens: list[int]
    table: list[int]
    sampling: list[Sequence] = field(default_factory=list[Sequence])
    telling: Telling | None = None


@dataclass(frozen=True, slots=True)
class Fork:
    """A slot that starts out as a copy: its page table, and the last page to be copied.

    Attributes:
        slot: the new row's slot.
        table: its pages.
        source: page to copy, or −1 when the prompt fills its pages.
        target: page to copy to.
    """

    slot: int
    table: list[int]
    source: int
    target: int


@dataclass(frozen=True, slots=True)
class DecodeRow:
    """One token of a running sequence.

    Attributes:
        sequence: whose it is.
        position: position of the token that is fed in; the sampled one comes after it.
        page: page that holds that position.
    """

    sequence: Sequence
    position: int
    page: int


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step, executed in the order of the fields.

    Attributes:
        loads: sequences that have just got a slot: their settings go to the device.
        prefill: prompt chunks.
        forks: choices that start from a prompt completed in this step.
        decode: running sequences.
    """

    loads: list[Sequence]
    prefill: list[PrefillChunk]
    forks: list[Fork]
    decode: list[DecodeRow]

    @property
    def prefill_tokens(self) -> int:
        """Prompt tokens run in the step."""
        return sum(len(chunk.tokens) for chunk in self.prefill)

    def samples(self) -> list[list[Sequence]]:
        """The sequences that get a token, grouped by sampling call, in execution order."""
        groups = [chunk.sampling for chunk in self.prefill if chunk.sampling]
        if self.decode:
            groups.append([row.sequence for row in self.decode])
        return groups

    def tellings(self) -> list[Telling]:
        """What is to be told of prompts, in execution order."""
        return [chunk.telling for chunk in self.prefill if chunk.telling is not None]

    def constrained(self) -> list[Sequence]:
        """The sequences that may sample only what their constraints allow."""
        return [
            sequence
            for group in self.samples()
            for sequence in group
            if sequence.matcher is not None
        ]


@dataclass(frozen=True, slots=True)
class Mask:
    """What a row may sample next.

    Attributes:
        slot: row slot.
        allowed: one bit per token; see `Matcher.fill`.
    """

    slot: int
    allowed: NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Sampled:
    """What came of one sampling call: an entry per sequence of a group of `samples()`.

    Attributes:
        tokens: the sampled ids.
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
