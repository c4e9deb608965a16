"""A device made of paper: executes step plans on a page pool of plain tokens.

Its "model" continues a text by a number computed from all of its tokens, read back through
the page table. A wrong table, a page given to two rows, a stale fork or a recomputation that
differs therefore shows up as a wrong text.
"""

import numpy as np

from serve.engine.config import EngineConfig
from serve.engine.moves import Gathered, Moves
from serve.engine.plan import Pass, Place, PrefillChunk, Sampled, StepPlan, StepResult, Telling
from serve.engine.prompt_images import PromptImage, image_across, images_within
from serve.engine.types import GenerationRequest, PromptLogprobs

VOCAB = 97


def continuation(tokens: list[int], choice: int) -> int:
    """The next token of a text, for a choice."""
    value = 17 * choice + 1
    for token in tokens:
        value = (value * 31 + token + 7) % 1_000_003
    return value % VOCAB


def vector_of(image: PromptImage, index: int) -> int:
    """What stands for a token of an image."""
    return int.from_bytes(image.digest[:4]) + index


def seen_prompt(request: GenerationRequest) -> list[int]:
    """A prompt's tokens, with what stands for those of its images."""
    tokens = list(request.prompt)
    for image in request.images:
        for index in range(image.tokens):
            tokens[image.start + index] = vector_of(image, index)
    return tokens


def expected_answer(request: GenerationRequest, choice: int) -> list[int]:
    """What a choice must answer, without the end-of-turn token."""
    tokens, answer = seen_prompt(request), []
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
        self.vectors = [-1] * config.image_vectors
        self.looked: list[bytes] = []

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
        for image, slots in plan.looks:
            self.looked.append(image.digest)
            for index, slot in enumerate(slots):
                self.vectors[slot] = vector_of(image, index)
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
            most = max(self.config.prefill_chunk, self.config.whole_image)
            assert 1 <= len(chunk.tokens) <= most
            for offset, token in enumerate(self.seen(chunk)):
                self.enter(chunk.slot, chunk.start + offset, chunk.table)
                self.write(chunk.slot, chunk.start + offset, token)
        for row in each.decode:
            slot = row.sequence.slot
            for offset, token in enumerate((self.last[slot], *row.drafted)):
                self.enter(slot, row.position + offset, row.sequence.pages)
                self.write(slot, row.position + offset, token)
        total = sum(1 + len(row.drafted) for row in each.decode)
        total += sum(len(chunk.tokens) for chunk in each.prefill)
        sees = any(chunk.seen for chunk in each.prefill)
        buckets = self.config.seeing_buckets if sees else self.config.token_buckets
        assert total <= buckets[-1]
        assert len(each.decode) + len(each.prefill) <= self.config.max_rows
        assert not (self.config.deterministic and each.prefill and each.decode)

    def seen(self, chunk: PrefillChunk) -> list[int]:
        """A chunk's tokens, with what stands for those of images."""
        tokens, end = list(chunk.tokens), chunk.start + len(chunk.tokens)
        within = list(images_within(chunk.images, chunk.start, end))
        assert [image for image, _ in chunk.seen] == within
        if self.config.whole_image:
            assert image_across(chunk.images, end) is None
        for image, slots in chunk.seen:
            for index, slot in enumerate(slots):
                place = image.start + index - chunk.start
                if 0 <= place < len(tokens):
                    tokens[place] = self.vectors[slot]
        return tokens

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
