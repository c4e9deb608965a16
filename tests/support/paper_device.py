"""A device made of paper: executes step plans on a page pool of plain tokens.

Its "model" continues a text by a number computed from all of its tokens, read back through
the page table. A wrong table, a page given to two rows, a stale fork or a recomputation that
differs therefore shows up as a wrong text.
"""

import numpy as np

from serve.engine.config import EngineConfig
from serve.engine.moves import Gathered, Moves
from serve.engine.plan import Pass, Place, Sampled, StepPlan, StepResult, Telling
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

    def enter(self, slot: int, position: int, pages: list[int]) -> None:
        """Bring a slot's table up to date with the page of a token, as a step does."""
        entry = position // self.config.page_size
        table = self.tables.setdefault(slot, [])
        table += [0] * (entry + 1 - len(table))
        table[entry] = pages[entry]

    def move(self, moves: Moves) -> list[Gathered]:
        """All that goes out in one array, before anything comes in."""
        gathered = []
        if moves.saves:
            pages = np.array([self.pool[save.page] for save in moves.saves], np.int64)
            gathered.append(Gathered(moves.saves, pages))
        for restore in moves.restores:
            self.pool[restore.page] = restore.held.view(np.int64).tolist()
        return gathered

    def execute(self, plan: StepPlan) -> StepResult:
        for sequence in plan.loads:
            self.choice[sequence.slot] = sequence.choice
        for seat in plan.seats:
            self.tables[seat.slot] = list(seat.table)
        prompts, groups = [], []
        for each in plan.passes:
            self.compute(each)
            prompts += [
                self.told(chunk.slot, chunk.start, chunk.telling)
                for chunk in each.prefill
                if chunk.telling is not None
            ]
            if places := each.places:
                groups.append(places)
        for source, target in plan.copies:
            self.pool[target] = list(self.pool[source])
        return StepResult([self.draw(places) for places in groups], prompts)

    def draw(self, places: list[Place]) -> Sampled:
        """After drafts as if they were right; remembered is what agrees with them."""
        assert len(places) <= self.config.max_rows
        tokens, agrees = [], True
        for place in places:
            agrees = place.before == 0 or (agrees and tokens[-1] == place.given)
            tokens.append(self.sample(place.sequence.slot, place.position))
            if agrees:
                self.last[place.sequence.slot] = tokens[-1]
        return Sampled(tokens, [None] * len(tokens))

    def compute(self, each: Pass) -> None:
        """All at once: every token is written before any is read."""
        for chunk in each.prefill:
            assert 1 <= len(chunk.tokens) <= self.config.prefill_chunk
            for offset, token in enumerate(chunk.tokens):
                self.enter(chunk.slot, chunk.start + offset, chunk.table)
                self.write(chunk.slot, chunk.start + offset, token)
        for row in each.decode:
            slot = row.sequence.slot
            for offset, token in enumerate((self.last[slot], *row.drafted)):
                self.enter(slot, row.position + offset, row.sequence.pages)
                self.write(slot, row.position + offset, token)
        total = sum(1 + len(row.drafted) for row in each.decode)
        total += sum(len(chunk.tokens) for chunk in each.prefill)
        assert total <= self.config.token_buckets[-1]
        assert len(each.decode) + len(each.prefill) <= self.config.max_rows
        assert not (self.config.deterministic and each.prefill and each.decode)

    def told(self, slot: int, start: int, telling: Telling) -> PromptLogprobs:
        """As a log-probability, what the device makes of the text up to each place."""
        count, first = len(telling.tokens), start + telling.first
        values = [continuation(self.read(slot, first + place), 0) for place in range(1, count + 1)]
        none = np.zeros((count, 0))
        return PromptLogprobs(
            np.array(telling.tokens), np.array(values), np.ones(count), none, none
        )

    def sample(self, slot: int, length: int) -> int:
        tokens = self.read(slot, length)
        assert -1 not in tokens, "a token was read that nobody wrote"
        return continuation(tokens, self.choice[slot])
