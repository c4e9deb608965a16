"""A scheduler and a paper device, which together answer requests step by step."""

from support.paper_device import PaperDevice, continuation, expected_answer, seen_prompt

from sampling.params import SamplingParams
from serve.engine.cache_tiers import CacheTiers
from serve.engine.config import EngineConfig
from serve.engine.scheduler import Scheduler
from serve.engine.sequence import Phase
from serve.engine.types import GenerationRequest, PromptLogprobs, TokenEvent


class House:
    """A scheduler and a paper device, with one step in flight as in the engine."""

    def __init__(self, config: EngineConfig, cache_tiers: CacheTiers | None = None) -> None:
        self.cache_tiers = cache_tiers or CacheTiers()
        self.scheduler = Scheduler(config, cache_tiers=self.cache_tiers)
        self.device = PaperDevice(config)
        self.running = None
        self.requests: dict[str, GenerationRequest] = {}
        self.events: dict[tuple[str, int], list[TokenEvent]] = {}
        self.prompts: dict[str, list[PromptLogprobs]] = {}
        self.cached: dict[str, int] = {}
        self.cancelled: set[tuple[str, int]] = set()

    def submit(self, name: str, prompt: list[int], tokens: int = 5, **fields) -> None:
        sampling = fields.pop("sampling", SamplingParams())
        request = GenerationRequest(name, prompt, sampling, tokens, **fields)
        self.requests[name] = request
        self.prompts[name] = []
        for choice in range(request.choices):
            self.events[name, choice] = []
        self.scheduler.submit(request)

    def cancel(self, name: str, choice: int | None) -> None:
        self.scheduler.cancel(name, choice)
        choices = range(self.requests[name].choices) if choice is None else [choice]
        self.cancelled.update((name, each) for each in choices)

    def step(self) -> bool:
        if self.scheduler.awaits_tokens:
            self.commit()
        plan = self.scheduler.plan()
        self.move_pages()
        tokens = None if plan is None else self.device.execute(plan)
        self.commit()
        self.running = None if plan is None else (plan, tokens)
        self.scheduler.check_integrity()
        return plan is not None

    def move_pages(self) -> None:
        """What is to be filled belongs to one sequence, and nobody else has seen it."""
        moves = self.cache_tiers.take_moves()
        filled = [restore.page for restore in moves.restores]
        assert len(set(filled)) == len(filled)
        running = self.scheduler._slots.running
        for page in filled:
            holders = [each for each in running if page in each.pages]
            assert holders
            assert all(each.pages.index(page) < each.registered for each in holders)
        self.cache_tiers.carry(self.device.move(moves))

    def commit(self) -> None:
        if self.running is None:
            return
        running, self.running = self.running, None
        for name, cached, event in self.scheduler.commit(*running):
            self.cached[name] = cached
            if isinstance(event, PromptLogprobs):
                self.prompts[name].append(event)
                continue
            assert (name, event.choice) not in self.cancelled
            self.events[name, event.choice].append(event)
        for each in self.scheduler._slots.running:
            if each.phase is Phase.DECODING and not each.in_flight:
                assert each.computed == len(each.tokens) - 1

    def run(self, limit: int = 10_000) -> int:
        steps = 0
        while self.scheduler.has_work or self.running:
            self.step()
            steps += 1
            assert steps < limit, "the engine makes no progress"
        return steps

    def check_answers(self) -> None:
        for (name, choice), events in self.events.items():
            request = self.requests[name]
            wanted = expected_answer(request, choice)
            got = [event.token for event in events if event.token is not None]
            finishes = [event.finish_reason for event in events if event.finish_reason]
            if (name, choice) in self.cancelled:
                assert got == wanted[: len(got)]
                continue
            assert got == wanted
            assert finishes == ["length" if len(wanted) == request.max_tokens else "stop"]
            assert events[-1].finish_reason
            if choice == 0:
                self.check_prompt(request)

    def check_prompt(self, request: GenerationRequest) -> None:
        """All of its prompt is told, in order and once, where it asks for that."""
        prompt, parts = list(request.prompt), self.prompts[request.id]
        if request.prompt_logprobs is None:
            assert not parts
            return
        assert all(len(part.tokens) for part in parts)
        assert [token for part in parts for token in part.tokens] == prompt[1:]
        assert [value for part in parts for value in part.logprobs] == [
            continuation(seen_prompt(request)[:length], 0) for length in range(1, len(prompt))
        ]
        assert self.cached[request.id] == 0

    def check_empty(self) -> None:
        stats = self.scheduler.stats()
        assert (stats.running, stats.waiting) == (0, 0)
        assert stats.pages_free + stats.pages_cached == stats.pages_total


def house(cache_tiers: CacheTiers | None = None, **fields) -> House:
    defaults = {
        "context_length": 64,
        "cache_tokens": 256,
        "max_rows": 4,
        "page_size": 4,
        "prefill_chunk": 16,
    }
    return House(EngineConfig(**(defaults | fields)), cache_tiers)
