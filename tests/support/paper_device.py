"""A device made of paper: executes step plans on a page pool of plain tokens.

Its "model" continues a text by a number computed from all of its tokens, read back through
the page table. A wrong table, a page given to two rows, a stale fork or a recomputation that
differs therefore shows up as a wrong text.
"""

import numpy as np

from serve.engine.config import EngineConfig
from serve.engine.plan import Sampled, StepPlan, StepResult, Telling
from serve.engine.types import GenerationRequest, PromptLogprobs

VOCAB = 97


def continuation(tokens: list[int], choice: int) -> int:
    """The next token of a text, for a choice."""
    value = 17 * choice + 1
    for token in tokens:
        value = (value * 31 + token + 7) % 1_000_003
    return value % VOCAB


def expected_answer(request: GenerationRequest, choice: int) -> list[int]:
    """What a choice must answer, without the end-of-turn token."""
    tokens, answer = list(request.prompt), []
    while len(answer) < request.max_tokens:
        token = continuation(tokens, choice)
        if token in request.end_ids:
            break
        answer.append(token)
        tokens.append(token)
    return answer


class PaperDevice:
    """Executes plans at once; keeps what they wrote."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.pool = [[-1] * config.page_size for _ in range(config.num_pages)]
        self.tables: dict[int, list[int]] = {}
        self.last: dict[int, int] = {}
        self.choice: dict[int, int] = {}

    def write(self, slot: int, position: int, token: int) -> None:
        size = self.config.page_size
        self.pool[self.tables[slot][position // size]][position % size] = token

    def read(self, slot: int, length: int) -> list[int]:
        size = self.config.page_size
        return [self.pool[self.tables[slot][i // size]][i % size] for i in range(length)]

    def execute(self, plan: StepPlan) -> StepResult:
        for sequence in plan.loads:
            self.choice[sequence.slot] = sequence.choice
        for chunk in plan.prefill:
            assert 1 <= len(chunk.tokens) <= self.config.prefill_chunk
            self.tables[chunk.slot] = list(chunk.table)
            for offset, token in enumerate(chunk.tokens):
                self.write(chunk.slot, chunk.start + offset, token)
        for new in plan.forks:
            self.tables[new.slot] = list(new.table)
            if new.source >= 0:
                self.pool[new.target] = list(self.pool[new.source])
        prompts = [
            self.told(chunk.slot, chunk.start, chunk.telling)
            for chunk in plan.prefill
            if chunk.telling is not None
        ]
        groups = []
        for chunk in plan.prefill:
            if chunk.sampling:
                length = chunk.start + len(chunk.tokens)
                groups.append([self.sample(s.slot, length) for s in chunk.sampling])
        if plan.decode:
            assert len(plan.decode) <= self.config.max_rows
            for row in plan.decode:
                slot, entry = row.sequence.slot, row.position // self.config.page_size
                table = self.tables[slot]
                table[entry : entry + 1] = [row.page]
                self.write(slot, row.position, self.last[slot])
            groups.append([self.sample(r.sequence.slot, r.position + 1) for r in plan.decode])
        return StepResult([Sampled(tokens, [None] * len(tokens)) for tokens in groups], prompts)

    def told(self, slot: int, start: int, telling: Telling) -> PromptLogprobs:
        """As a log-probability, what the device makes of the text up to each place."""
        count = len(telling.tokens)
        values = [continuation(self.read(slot, start + place), 0) for place in range(1, count + 1)]
        none = np.zeros((count, 0))
        return PromptLogprobs(
            np.array(telling.tokens), np.array(values), np.ones(count), none, none
        )

    def sample(self, slot: int, length: int) -> int:
        tokens = self.read(slot, length)
        assert -1 not in tokens, "a token was read that nobody wrote"
        self.last[slot] = continuation(tokens, self.choice[slot])
        return self.last[slot]
