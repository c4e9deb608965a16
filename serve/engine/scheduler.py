"""Which sequence does what in the next step, and what came of the last one.

Who waits, and whose turn it is, is the affair of `tiered_queue.py` and `turns.py`; who has which
row that of `slots.py`, and who gives it up for whom that of `giving_way.py`; which pages, that of
`holdings.py`, and which drafts, that of `speculation.py`. Knows nothing of devices, threads or
text. `plan` decides a step and advances the counters as if it had run; `commit` takes the tokens
when they come back, one step later. What a step writes, all steps planned after it can read,
because the device runs them in order: so pages may be shared, freed and given out again at planning
time.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import NamedTuple

from serve.engine.cache_tiers import CacheTiers
from serve.engine.config import EngineConfig
from serve.engine.giving_way import CONSIDERED, GivingWay
from serve.engine.holdings import Holdings
from serve.engine.images import Images
from serve.engine.plan import (
    DecodeRow,
    Pass,
    PrefillChunk,
    Seat,
    StepPlan,
    StepResult,
    Telling,
)
from serve.engine.sequence import Phase, Sequence
from serve.engine.slots import Seniority, Slots
from serve.engine.speculation import Speculation, foretold, kept
from serve.engine.tiered_queue import TieredQueue
from serve.engine.turns import Turns
from serve.engine.types import (
    ConstraintError,
    EngineStats,
    FinishReason,
    GenerationRequest,
    PromptLogprobs,
    Tier,
    TierStats,
    TokenEvent,
    TokenLogprobs,
)


class Delivery(NamedTuple):
    """What a request is told, and how much of its prompt came from the prefix cache."""

    request_id: str
    cached_tokens: int
    event: TokenEvent | PromptLogprobs


def _ignore(request: GenerationRequest, answer_tokens: int) -> None:
    del request, answer_tokens


def _whole(sequence: Sequence, draft: list[int]) -> list[int]:
    del sequence
    return draft


class Scheduler:
    """Continuous batching over row slots and cache pages.

    Args:
        config: the engine's settings.
        on_end: called for every choice that has ended, however it did, with its request and how
            many tokens it has.
        holding: how much of a draft a sequence's constraint allows.
        cache_tiers: where pages are that the pool gives up; nowhere if not given.
    """

    def __init__(
        self,
        config: EngineConfig,
        on_end: Callable[[GenerationRequest, int], None] = _ignore,
        holding: Callable[[Sequence, list[int]], list[int]] = _whole,
        cache_tiers: CacheTiers | None = None,
    ) -> None:
        self._config = config
        self._on_end = on_end
        self._cache_tiers = cache_tiers or CacheTiers()
        self._holdings = Holdings(config, self._cache_tiers)
        self._speculation = Speculation(config, self._holdings, holding)
        self._images = Images(config)
        self._queue = TieredQueue(config.flex_patience)
        self._turns = Turns(config.page_size, self._queue.rows)
        self._slots = Slots(config.max_rows)
        self._giving_way = GivingWay(
            config, self._queue, self._slots, self._holdings, self._put_back
        )
        self._requests: dict[str, list[Sequence]] = {}
        self._arrivals = 0
        self._prompt_tokens = 0
        self._cached_tokens = 0
        self._generated_tokens = 0
        self._preemptions: Counter[Tier] = Counter()
        self._cancelled = 0
        self._steps = 0

    # --- requests in and out -----------------------------------------------------------

    def submit(self, request: GenerationRequest) -> None:
        """Queue a request's choices."""
        drafter = self._speculation.drafter(request)
        sequences = [
            Sequence(request, choice, self._arrivals + choice, drafter and drafter.sibling())
            for choice in range(request.choices)
        ]
        self._arrivals += request.choices
        self._requests[request.id] = sequences
        for sequence in sequences:
            self._queue.add(sequence)
        self._prompt_tokens += len(request.prompt)

    def cancel(self, request_id: str, choice: int | None = None) -> None:
        """End one choice of a request, or all, without an event; harmless if it has ended."""
        for sequence in list(self._requests.get(request_id, ())):
            wanted = choice is None or sequence.choice == choice
            if wanted and sequence.phase is not Phase.FINISHED:
                self._cancelled += 1
                self._finish(sequence)

    @property
    def has_work(self) -> bool:
        """Whether any choice waits or runs."""
        return bool(self._requests)

    # --- planning ----------------------------------------------------------------------

    def plan(self) -> StepPlan | None:
        """The next step, or None when nothing can be done before tokens or pages come.

        Before it is executed, the pages must be moved that `CacheTiers.take_moves` tells of.
        """
        self._cache_tiers.collect()
        begun = self._slots.prefilling
        left = partial(self._left, begun)
        self._queue.hasten(begun, left)
        order = self._slots.by_seniority()
        self._giving_way.make_room(order, left)
        last = self._giving_way.last_standing(left)
        decode = self._plan_decode(order, last)
        plan = StepPlan([], [], [], [])
        prefill = self._plan_prefill(plan, len(decode), last)
        if not decode and not prefill:
            return None
        self._steps += 1
        plan.looks.extend(self._images.take_looks())
        margin = len(self._slots.running)
        decode = self._speculation.with_drafts(decode, prefill, margin)
        plan.passes.extend(self._passes(prefill, decode))
        return plan

    def _passes(self, prefill: list[PrefillChunk], decode: list[DecodeRow]) -> list[Pass]:
        """All at once; in deterministic mode nothing whose bits could depend on a neighbour."""
        if not self._config.deterministic:
            return [Pass(prefill, decode)]
        alone = [Pass([chunk], []) for chunk in prefill]
        return [*alone, Pass([], decode)] if decode else alone

    def _plan_decode(self, order: list[Seniority], last: int) -> list[DecodeRow]:
        """The rows that go on, of those that stand no further back than `last`."""
        rows: list[DecodeRow] = []
        for standing, *_, sequence in order:
            if standing > last:
                break
            if sequence.phase is not Phase.DECODING or sequence.exhausted or sequence.draft:
                continue
            position = sequence.length - 1
            if not self._cover(sequence, position, order):
                continue
            rows.append(DecodeRow(sequence, position))
            sequence.computed = position + 1
            sequence.sampled += 1
        return rows

    @property
    def awaits_tokens(self) -> bool:
        """Whether a plan made once all tokens have come back may hold drafts."""
        return any(each.phase is Phase.DECODING and each.awaited for each in self._slots.running)

    def _cover(self, sequence: Sequence, position: int, order: list[Seniority]) -> bool:
        """Make sure of the page for `position`, putting back the last rows of `order` if need be.

        Returns False when the sequence itself was the last and has been put back.
        """
        while position // self._config.page_size >= len(sequence.pages):
            if self._holdings.grow(sequence):
                continue
            last = order.pop().sequence
            self._put_back(last)
            if last is sequence:
                return False
        return True

    def _put_back(self, sequence: Sequence) -> None:
        """Give up the sequence's row and pages; its tokens will be computed anew."""
        self._preemptions[sequence.request.tier] += 1
        self._vacate(sequence)
        sequence.phase = Phase.WAITING
        self._queue.put_back(sequence)

    def _plan_prefill(self, plan: StepPlan, running: int, last: int) -> list[PrefillChunk]:
        """The chunks beside so many running rows, of those that stand no further than `last`."""
        chunks: list[PrefillChunk] = []
        served: list[Sequence] = []
        begun, slots = self._slots.prefilling, min(self._slots.free, CONSIDERED)
        left = {each: len(each.tokens) - each.computed for each in begun}
        turns = self._queue.turns(partial(self._left, begun))
        left |= {turn.sequence: turn.left for turn in islice(turns, slots)}
        whole = budget = self._config.prompt_tokens(running, len(left))
        admitting = True
        self._images.begin_step()
        for sequence in self._turns.order(left):
            if sequence.standing > last:
                break
            start, waits = sequence.computed, sequence.phase is Phase.WAITING
            if waits:
                start = self._holdings.spared(sequence)
                if not admitting or self._waits(sequence, start, self._slots.prefilling):
                    continue
            elif sequence.phase is not Phase.PREFILLING:
                continue  # Taken along by a fork just now.
            end = self._chunk_end(sequence, start, budget, alone=budget == whole)
            if end <= start:
                break
            if waits:
                admitting = self._admit(sequence)
                if not admitting:
                    continue
                plan.loads.append(sequence)
                if start:
                    plan.seats.append(Seat(sequence.slot, sequence.pages))
            self._plan_chunk(sequence, end, chunks, plan)
            if end == len(sequence.tokens) or 2 * (end - start) >= whole:
                served.append(sequence)
            budget -= end - start
        self._turns.taken(served)
        return chunks

    def _left(self, begun: list[Sequence], sequence: Sequence) -> int | None:
        """Tokens to compute before a waiting sequence can be decoded; None if it should wait."""
        if self._holdings.arriving(sequence):
            return None
        spared = self._holdings.spared(sequence)
        return None if self._waits(sequence, spared, begun) else len(sequence.tokens) - spared

    def _waits(self, sequence: Sequence, spared: int, begun: list[Sequence]) -> bool:
        """Whether a prompt that has begun will spare it more than what is spared now."""
        later = self._turns.shares_later(sequence, spared, begun)
        return later or self._follows_first(sequence)

    def _follows_first(self, sequence: Sequence) -> bool:
        """Whether its sibling's prompt has begun, which it can share when that is computed."""
        first = self._requests[sequence.request.id][0]
        return first is not sequence and first.phase is Phase.PREFILLING

    def _admit(self, sequence: Sequence) -> bool:
        """Give a waiting sequence a slot and pages, if there are enough."""
        if not self._slots.free or sequence.in_flight:
            return False
        # Leave the running rows a page each, or they would soon put this one back again.
        margin = 0 if self._config.deterministic else len(self._slots.running)
        if not self._holdings.begin(sequence, margin):
            return False
        if sequence.cached_tokens < 0:
            # What a choice takes from the first one's prompt was computed for this request.
            sequence.cached_tokens = self._requests[sequence.request.id][0].cached_tokens
        if sequence.cached_tokens < 0:
            sequence.cached_tokens = min(sequence.computed, sequence.prompt_length)
            self._cached_tokens += sequence.cached_tokens
        self._seat(sequence, Phase.PREFILLING)
        return True

    def _chunk_end(self, sequence: Sequence, start: int, budget: int, *, alone: bool) -> int:
        """Where the chunk ends that begins at `start`; there if nothing can be computed.

        In deterministic mode how a prompt is cut depends on the prompt alone: chunks end at
        multiples of `prefill_chunk`, whatever else the step holds. An image that must not be cut
        may be longer than the budget, if no other prompt is in the step.
        """
        if budget <= 0:
            return start
        size, deterministic = self._config.prefill_chunk, self._config.deterministic
        request = sequence.request
        end = (start // size + 1) * size if deterministic else start + budget
        end = self._images.chunk_end(request, start, min(end, len(sequence.tokens)))
        if not self._images.fits(request, start, end):
            return start
        return end if end - start <= budget or (alone and not deterministic) else start

    def _plan_chunk(
        self, sequence: Sequence, end: int, chunks: list[PrefillChunk], plan: StepPlan
    ) -> None:
        """Add the sequence's next chunk, and begin to decode where it is the last."""
        start = sequence.computed
        chunk = PrefillChunk(
            sequence.slot,
            start,
            sequence.tokens[start:end],
            sequence.pages,
            telling=self._telling(sequence, start, end),
            adapter=sequence.request.adapter,
            images=tuple(sequence.request.images),
            seen=self._images.hold(sequence.request, start, end),
        )
        chunks.append(chunk)
        sequence.computed = end
        self._holdings.register(sequence)
        if end == len(sequence.tokens):
            self._begin_decoding(sequence, chunk)
            if sequence.choice == 0 and not sequence.outputs:
                self._fork_siblings(sequence, chunk, plan)

    def _telling(self, sequence: Sequence, start: int, end: int) -> Telling | None:
        """What the chunk from `start` to `end` leaves to be told of the prompt.

        Nothing of what is computed anew.
        """
        told, last = sequence.told, min(end, sequence.prompt_length - 1)
        if last <= told:
            return None
        sequence.told = last
        tokens = list(sequence.request.prompt[told + 1 : last + 1])
        return Telling(sequence, told - start, tokens)

    def _begin_decoding(self, sequence: Sequence, chunk: PrefillChunk) -> None:
        sequence.phase = Phase.DECODING
        sequence.sampled += 1
        chunk.sampling.append(sequence)

    def _fork_siblings(self, first: Sequence, chunk: PrefillChunk, plan: StepPlan) -> None:
        """Start the request's other choices from the prompt just computed.

        They hold its full pages and get a copy of the last, partly filled one. A choice for
        which there is no slot or page now, or that would get it before its turn, starts later by
        itself, from the prefix cache.
        """
        slots = self._slots.free
        next_ones = {turn.sequence for turn in islice(self._queue.turns(lambda _: 0), slots)}
        for sequence in self._requests[first.request.id][1:]:
            if sequence not in next_ones or sequence.sampled:
                continue
            if not self._holdings.can_share(first, sequence):
                return
            source, target = self._holdings.share(first, sequence)
            sequence.cached_tokens = first.cached_tokens
            self._seat(sequence, Phase.DECODING)
            plan.loads.append(sequence)
            plan.seats.append(Seat(sequence.slot, sequence.pages))
            if source >= 0:
                plan.copies.append((source, target))
            self._begin_decoding(sequence, chunk)

    def _seat(self, sequence: Sequence, phase: Phase) -> None:
        self._queue.seat(sequence, self._slots.prefilling)
        self._slots.seat(sequence)
        sequence.phase = phase

    # --- results -----------------------------------------------------------------------

    def commit(self, plan: StepPlan, result: StepResult) -> list[Delivery]:
        """Take what came of a step.

        Returns:
            What there is to tell of prompts; and then an event for every choice that got a token
            and had not been cancelled.
        """
        deliveries = [
            self._delivery(telling.sequence, part)
            for telling, part in zip(plan.tellings(), result.prompts, strict=True)
        ]
        for places, sampled in zip(plan.samples(), result.sampled, strict=True):
            for outcome in kept(places, sampled):
                place, sequence = outcome.place, outcome.place.sequence
                # A choice that ended or was cancelled while the step ran.
                if sequence.phase is Phase.FINISHED:
                    continue
                if place.before:
                    sequence.sampled += 1
                    sequence.computed += 1
                event = self._accept(sequence, outcome.token, outcome.logprobs)
                deliveries.append(self._delivery(sequence, foretold(event, outcome)))
        for row in plan.decode:
            self._speculation.learn(row)
        return deliveries

    def end(self, sequence: Sequence, failure: ConstraintError | None) -> Delivery:
        """End a running choice that has nothing left to sample, with `stop` or its failure."""
        self._finish(sequence)
        reason: FinishReason | None = "stop" if failure is None else None
        return self._delivery(sequence, TokenEvent(sequence.choice, None, reason, failure=failure))

    def _delivery(self, sequence: Sequence, event: TokenEvent | PromptLogprobs) -> Delivery:
        return Delivery(sequence.request.id, sequence.cached_tokens, event)

    def _accept(self, sequence: Sequence, token: int, logprobs: TokenLogprobs | None) -> TokenEvent:
        request, matcher = sequence.request, sequence.matcher
        if token in request.end_ids:
            self._finish(sequence)
            return TokenEvent(sequence.choice, None, "stop")
        if token in request.sampling.stop_ids:
            self._finish(sequence)
            if not request.tells_stop_id:
                return TokenEvent(sequence.choice, None, "stop")
            self._generated_tokens += 1
            return TokenEvent(sequence.choice, token, "stop", logprobs)
        if matcher is not None:
            try:
                matcher.accept(token)
            except ConstraintError as error:
                self._finish(sequence)
                return TokenEvent(sequence.choice, None, failure=error)
        sequence.tokens.append(token)
        self._generated_tokens += 1
        finish: FinishReason | None = None
        if sequence.phase is Phase.DECODING:
            self._holdings.register(sequence)
        if matcher is not None and matcher.finished:
            self._finish(sequence)
            finish = "stop"
        elif sequence.outputs == request.max_tokens:
            self._finish(sequence)
            finish = "length"
        return TokenEvent(sequence.choice, token, finish, logprobs)

    def _finish(self, sequence: Sequence) -> None:
        seated = sequence.phase is not Phase.WAITING
        if seated:
            self._vacate(sequence)
        else:
            self._holdings.leave(sequence)
        self._queue.end(sequence, seated=seated)
        sequence.phase = Phase.FINISHED
        self._on_end(sequence.request, sequence.outputs)
        siblings = self._requests[sequence.request.id]
        if all(sibling.phase is Phase.FINISHED for sibling in siblings):
            del self._requests[sequence.request.id]

    def _vacate(self, sequence: Sequence) -> None:
        self._holdings.release(sequence)
        self._slots.vacate(sequence)

    # --- watching ----------------------------------------------------------------------

    def stats(self) -> EngineStats:
        """Counters and gauges as they are now."""
        return EngineStats(
            running=len(self._slots.running),
            waiting=len(self._queue),
            pages_total=self._holdings.total,
            pages_free=self._holdings.free,
            pages_cached=self._holdings.kept,
            prompt_tokens=self._prompt_tokens,
            cached_tokens=self._cached_tokens,
            generated_tokens=self._generated_tokens,
            preemptions=self._preemptions.total(),
            cancelled=self._cancelled,
            steps=self._steps,
            tiers={
                tier: TierStats(self._queue.waiting(tier), self._preemptions[tier]) for tier in Tier
            },
            cache=self._cache_tiers.stats(),
        )

    def check_integrity(self) -> None:
        """Verify slots, queue and pages against each other.

        Raises:
            AssertionError: something is lost or counted twice.
        """
        self._holdings.check(self._slots.running, self._queue)
        self._slots.check()
        alive = [
            sequence
            for sequences in self._requests.values()
            for sequence in sequences
            if sequence.phase is not Phase.FINISHED
        ]
        if {id(s) for s in alive} != {id(s) for s in [*self._queue, *self._slots.running]}:
            raise AssertionError("a sequence is neither queued nor running, or is forgotten")
