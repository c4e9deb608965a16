"""The engine thread with a tiny random model: streams, determinism, cancel, death."""

import asyncio
import math
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from support.engines import (
    CONTEXT,
    answers,
    bridged,
    engine_of,
    events_of,
    prompt_of,
    request,
)
from support.naive import naive_logits
from support.tiny import TINY, tiny_model

from serve.engine.bridge import EngineBridge
from serve.engine.engine import Engine
from serve.engine.types import (
    EngineState,
    EngineUnavailableError,
    GenerationRequest,
    QueueFullError,
    Tier,
    TokenEvent,
)


async def test_greedy_tokens_are_the_references(engines):
    prompt = prompt_of(1, 21)
    async with bridged(engines[False]) as bridge:
        (answer,) = await answers(bridge, request(prompt, 12, temperature=0.0))
    parameters = tiny_model().parameters
    tokens = list(prompt)
    for token in answer:
        assert token == naive_logits(TINY, parameters, tokens)[-1].argmax()
        tokens.append(token)
    assert len(answer) == 12


async def test_a_crowd_gets_what_each_would_get_alone(engines):
    """Greedy answers under load, with chunked prompts and several choices, page by page."""
    asked = [
        request(prompt_of(seed, 1 + 9 * seed), 10, temperature=0.0, choices=1 + seed % 3)
        for seed in range(10)
    ]
    async with bridged(engines[False]) as bridge:
        together = await asyncio.gather(*(answers(bridge, each) for each in asked))
    parameters = tiny_model().parameters
    for each, choices in zip(asked, together, strict=True):
        tokens = list(each.prompt)
        for token in choices[0]:
            logits = naive_logits(TINY, parameters, tokens)[-1]
            # Random weights can nearly tie; the token must be as good as the reference's.
            assert logits[token] > logits.max() - 1e-4
            tokens.append(token)
        assert all(choice == choices[0] for choice in choices)


async def test_deterministic_mode_repeats_bytes_alone_and_in_a_crowd(engines):
    asked = {"temperature": 1.2, "top_p": 0.95, "seed": 11, "choices": 2}
    prompt = prompt_of(3, 45)
    async with bridged(engines[True]) as bridge:
        alone = await answers(bridge, request(prompt, 30, **asked))
        crowd = [
            answers(bridge, request(prompt_of(seed, seed * 2 + 1), 20, seed=seed))
            for seed in range(32)
        ]
        crowd.insert(20, answers(bridge, request(prompt, 30, **asked)))
        among = (await asyncio.gather(*crowd))[20]
    assert among == alone
    assert alone[0] != alone[1]


@pytest.mark.parametrize("deterministic", [False, True])
async def test_prompts_of_every_length_run_to_the_contexts_end(engines, deterministic):
    async with bridged(engines[deterministic]) as bridge:
        for length in (1, 2, 15, 16, 17, 31, 32, 33, 64, 94, 95):
            (answer,) = await answers(bridge, request(prompt_of(length, length), CONTEXT - length))
            assert len(answer) == CONTEXT - length
        with pytest.raises(ValueError, match="do not fit"):
            bridge.submit(request(prompt_of(1, CONTEXT), 1))
        assert bridge.open == 0


def any_settings(rng: random.Random) -> dict:
    vocab = TINY.vocab_size
    biased = rng.sample(range(vocab), rng.choice([0, 0, 0, 2, 30]))
    return {
        "temperature": rng.choice([0.0, 1e-4, 0.7, 1.0, 2.0]),
        "top_p": rng.choice([0.0, 0.5, 0.95, 1.0]),
        "seed": rng.randrange(2**64),
        "logit_bias": tuple((token, rng.choice([-100.0, -5.0, 3.0])) for token in biased),
        "frequency_penalty": rng.choice([0.0, 0.0, 0.5, -1.0]),
        "presence_penalty": rng.choice([0.0, 0.0, 1.5]),
        "top_k": rng.choice([0, 0, 1, 7, 1000]),
        "min_p": rng.choice([0.0, 0.0, 0.1]),
        "min_tokens": rng.choice([0, 0, 4]),
        "ignore_eos": rng.random() < 0.2,
        "logprobs": rng.random() < 0.3,
        "repetition_penalty": rng.choice([1.0, 1.0, 1.2, 0.8]),
        "stop_ids": tuple(rng.sample(range(vocab), rng.choice([0, 0, 2]))),
    }


def check_events(asked: GenerationRequest, events: list[TokenEvent]) -> None:
    sampling = asked.sampling
    tokens = [event.token for event in events if event.token is not None]
    banned = {token for token, bias in sampling.logit_bias if bias == -100}
    assert not banned & set(tokens)
    assert not asked.end_ids & set(tokens)
    assert not set(sampling.stop_ids) & set(tokens)
    if events[-1].finish_reason == "stop":
        assert len(tokens) >= sampling.min_tokens
        assert sampling.stop_ids or not sampling.ignore_eos
        assert events[-1].logprobs is None
    else:
        assert len(tokens) == asked.max_tokens
    for event in events:
        if event.token is None or not sampling.logprobs:
            assert event.logprobs is None
            continue
        found = event.logprobs
        assert len(found.top_ids) == len(found.top_logprobs) == 20
        assert list(found.top_logprobs) == sorted(found.top_logprobs, reverse=True)
        top = dict(zip(found.top_ids, found.top_logprobs, strict=True))
        assert top.get(event.token, found.sampled) == found.sampled
        assert event.token in top or found.sampled <= found.top_logprobs[-1]


@pytest.mark.parametrize("deterministic", [False, True])
async def test_500_random_requests_get_what_they_ask_for_and_compile_nothing(
    engines, deterministic
):
    rng = random.Random(5)
    engine = engines[deterministic]
    before = engine.stats.compilations
    work = [
        request(
            prompt_of(seed, rng.randint(1, 70)),
            rng.randint(1, 20),
            choices=rng.choice([1, 1, 1, 2, 9]),
            end_ids=frozenset(rng.sample(range(TINY.vocab_size), rng.choice([0, 1, 8, 20]))),
            **any_settings(rng),
        )
        for seed in range(500 if not deterministic else 100)
    ]
    async with bridged(engine) as bridge:
        for start in range(0, len(work), 100):
            asked = work[start : start + 100]
            found = await asyncio.gather(*(events_of(bridge, each) for each in asked))
            for each, choices in zip(asked, found, strict=True):
                for events in choices:
                    check_events(each, events)
    assert engine.stats.compilations == before


async def test_deterministic_mode_repeats_every_setting_with_its_logprobs(engines):
    rng = random.Random(6)
    asked = [(prompt_of(seed, 5 + seed), any_settings(rng)) for seed in range(8)]

    def fresh(index: int) -> GenerationRequest:
        prompt, settings = asked[index]
        return request(prompt, 25, **settings, choices=2, end_ids=frozenset([1, 2]))

    async with bridged(engines[True]) as bridge:
        alone = [await events_of(bridge, fresh(index)) for index in range(8)]
        order = rng.sample(range(8), 8)
        crowd = await asyncio.gather(*(events_of(bridge, fresh(index)) for index in order))
    assert crowd == [alone[index] for index in order]


async def test_logprobs_are_those_of_a_forward_pass_over_prompt_and_answer(engines):
    """To 1e-4, whatever the settings, for both choices of a request and every alternative."""
    rng = random.Random(7)
    parameters = tiny_model().parameters
    for seed in range(6):
        asked = request(
            prompt_of(seed, 4 + 7 * seed), 12, choices=2, **(any_settings(rng) | {"logprobs": True})
        )
        async with bridged(engines[False]) as bridge:
            found = await events_of(bridge, asked)
        for events in found:
            answer = [event.token for event in events]
            text = [*asked.prompt, *answer]
            logits = naive_logits(TINY, parameters, text)[len(asked.prompt) - 1 : -1]
            norm = np.log(np.exp(logits).sum(axis=1, keepdims=True))
            assert len(events) == 12
            for event, row in zip(events, logits - norm, strict=True):
                assert math.isclose(event.logprobs.sampled, row[event.token], abs_tol=1e-4)
                best = row[list(event.logprobs.top_ids)]
                np.testing.assert_allclose(event.logprobs.top_logprobs, best, atol=1e-4)
                assert best.min() > np.sort(row)[-20] - 1e-4


async def test_greedy_tokens_lead_their_alternatives(engines):
    asked = request(prompt_of(2, 9), 10, temperature=0.0, logprobs=True)
    async with bridged(engines[False]) as bridge:
        (events,) = await events_of(bridge, asked)
    for event in events:
        assert event.token == event.logprobs.top_ids[0]
        assert event.logprobs.sampled == event.logprobs.top_logprobs[0]


async def test_rows_put_back_keep_their_penalties():
    """Answers in a pool so small that rows are recomputed are those of a large pool.

    The answers are longer than one chunk of counting, and greedy: a lost or doubled count
    would change which token leads.
    """
    context, found = 400, []
    for cache_tokens in (8 * context, context + 64):
        engine = engine_of(context_length=context, cache_tokens=cache_tokens, max_rows=4)
        bridge = EngineBridge(engine)
        await asyncio.to_thread(engine.start, bridge.on_step, lambda report: None, lambda *_: None)
        asked = [
            request(
                prompt_of(seed, 6 + seed),
                300,
                temperature=0.0,
                frequency_penalty=0.02 * (1 + seed),
                presence_penalty=0.3,
                repetition_penalty=1.0 + 0.1 * seed,
                min_tokens=250,
                end_ids=frozenset([seed]),
            )
            for seed in range(4)
        ]
        found.append(await asyncio.gather(*(answers(bridge, each) for each in asked)))
        preemptions = engine.stats.preemptions
        await asyncio.to_thread(engine.stop)
    assert preemptions > 0
    assert found[0] == found[1]


async def test_rows_that_pause_or_are_put_back_for_a_higher_tier_go_on_as_they_were(engines):
    """Greedy answers with penalties, of which none may be counted twice, beside and alone."""

    def asked(tier: Tier, seed: int) -> GenerationRequest:
        made = request(
            prompt_of(seed, 30), 60, temperature=0.0, frequency_penalty=0.1, presence_penalty=0.3
        )
        return replace(made, tier=tier)

    engine = engines[False]
    tiers = [Tier.FLEX] * 8 + [Tier.DEFAULT] * 2 + [Tier.PRIORITY] * 2
    async with bridged(engine) as bridge:
        alone = [await answers(bridge, asked(tier, seed)) for seed, tier in enumerate(tiers)]
        before = engine.stats.tiers[Tier.FLEX].preemptions
        running = [
            asyncio.create_task(answers(bridge, asked(tier, seed)))
            for seed, tier in enumerate(tiers[:8])
        ]
        async with asyncio.timeout(60):
            while engine.stats.running < 8:  # noqa: ASYNC110  (a thread's state)
                await asyncio.sleep(0)
        running += [
            asyncio.create_task(answers(bridge, asked(tier, seed)))
            for seed, tier in enumerate(tiers[8:], start=8)
        ]
        together = [await each for each in running]
    assert together == alone
    assert engine.stats.tiers[Tier.FLEX].preemptions - before >= 4


async def test_requests_that_the_rows_cannot_hold_are_refused(engines):
    async with bridged(engines[False]) as bridge:
        with pytest.raises(ValueError, match=r"21 end ids .* room for 20"):
            bridge.submit(request([1], 1, ignore_eos=True, end_ids=frozenset(range(21))))
        with pytest.raises(ValueError, match="bias names token 67; ids are 0 to 66"):
            bridge.submit(request([1], 1, logit_bias=((67, 1.0),)))
        with pytest.raises(ValueError, match="stop_ids names token 67; ids are 0 to 66"):
            bridge.submit(request([1], 1, stop_ids=(67,)))
        nothing = tuple((token, -100.0) for token in range(67))
        with pytest.raises(ValueError, match="bans all 67 tokens"):
            bridge.submit(request([1], 1, logit_bias=nothing))
        many = request([1], 1, end_ids=frozenset(range(21)))
        assert len(await answers(bridge, many)) == 1


async def test_cancelled_choices_stop_and_the_others_go_on(engines):
    async with bridged(engines[False]) as bridge:
        generation = bridge.submit(request(prompt_of(9, 10), 60, choices=3))
        counts = [0, 0, 0]
        async for events in generation:
            for event in events:
                counts[event.choice] += 1
            if counts[1] == 5:
                generation.cancel(1)
    assert counts[0] == counts[2] == 60
    assert counts[1] == 5


async def test_clients_that_vanish_leave_nothing_behind(engines):
    rng = random.Random(8)
    engine = engines[False]

    async def vanish(bridge: EngineBridge, seed: int) -> None:
        asked = request(prompt_of(seed, rng.randint(1, 50)), 40, choices=rng.choice([1, 3]))
        generation = bridge.submit(asked)
        steps = rng.randint(0, 10)
        if steps:
            async for _ in generation:
                steps -= 1
                if not steps:
                    break
        generation.cancel()

    async with bridged(engine) as bridge:
        await asyncio.gather(*(vanish(bridge, seed) for seed in range(100)))
        (answer,) = await answers(bridge, request(prompt_of(1, 5), 3))
    assert len(answer) == 3


@contextmanager
def engine_held(engine: Engine) -> Iterator[None]:
    """The engine's thread does nothing meanwhile."""
    let_go = threading.Event()
    engine._commands.put(let_go.wait)
    yield
    let_go.set()


async def test_a_full_queue_is_refused_and_says_so():
    engine = engine_of(queue_limit=10, max_rows=1, prefill_chunk=16)
    bridge = EngineBridge(engine)
    with pytest.raises(EngineUnavailableError, match="starting"):
        bridge.submit(request([1], 1))
    await asyncio.to_thread(engine.start, bridge.on_step, print, lambda *_: None)
    with pytest.raises(ValueError, match="12 choices never fit: rows and queue hold 11 together"):
        bridge.submit(request([1], 1, choices=12))
    with engine_held(engine):
        first = asyncio.create_task(answers(bridge, request([1], 1, choices=9)))
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError, match=r"9 choices run or wait already.* room for 11"):
            bridge.submit(request([1], 1, choices=3))
    assert len(await first) == 9
    # The free row counts beside the queue.
    assert len(await answers(bridge, request([1], 1, choices=11))) == 11
    assert engine.stats.waiting == 0
    engine.drain()
    with pytest.raises(EngineUnavailableError, match="draining"):
        bridge.submit(request([1], 1))
    await asyncio.to_thread(engine.stop)
    assert engine.death.result() is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_dead_engine_tells_everybody(caplog):
    class FaultError(Exception):
        pass

    engine = engine_of(max_rows=4, prefill_chunk=16)
    bridge = EngineBridge(engine)
    await asyncio.to_thread(engine.start, bridge.on_step, lambda report: None, lambda *_: None)
    runner, calls = engine._runner, iter(range(1000))
    execute = runner.execute

    def fail_after_five(plan):
        if next(calls) == 5:
            raise FaultError("injected")
        return execute(plan)

    runner.execute = fail_after_five
    streams = [asyncio.create_task(answers(bridge, request([seed], 50))) for seed in range(3)]
    results = await asyncio.gather(*streams, return_exceptions=True)
    assert [type(result) for result in results] == [EngineUnavailableError] * 3
    assert all(result.state is EngineState.DEAD for result in results)
    assert isinstance(engine.death.result(timeout=5), FaultError)
    assert bridge.state is EngineState.DEAD
    with pytest.raises(EngineUnavailableError, match="dead"):
        bridge.submit(request([1], 1))
    assert "the engine thread died" in caplog.text
