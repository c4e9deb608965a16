"""The engine under constraints: what is sampled, how choices end, and what the others notice."""

import asyncio
import itertools
import random

import pytest
from support.counting_grammar import Counting, is_counted
from support.engines import CONTEXT, answers, bridged, engine_of, events_of, prompt_of, request

from serve.engine.bridge import EngineBridge
from serve.engine.types import ConstraintError, StepReport

ENDS = frozenset([0, 66])


def counting(last: int, fails_at: int = -1) -> dict:
    return {"constraint": Counting(last, ENDS, fails_at), "end_ids": ENDS}


@pytest.mark.parametrize("temperature", [0.0, 2.0])
@pytest.mark.parametrize("deterministic", [False, True])
async def test_each_choice_is_what_its_constraint_asks_for(engines, deterministic, temperature):
    """Beside rows without a constraint, of which nothing is masked, and nothing compiles."""
    engine = engines[deterministic]
    before = engine.stats.compilations
    asked = []
    for seed in range(24):
        free = {} if seed % 3 else counting(5 + seed)
        settings = {"temperature": temperature, "seed": seed, "choices": 1 + seed % 4}
        asked.append(request(prompt_of(seed, 1 + 3 * seed), 20, **settings, **free))
    async with bridged(engine) as bridge:
        found = await asyncio.gather(*(events_of(bridge, each) for each in asked))
    free_tokens = []
    for each, choices in zip(asked, found, strict=True):
        for events in choices:
            tokens = [event.token for event in events if event.token is not None]
            assert events[-1].last
            if each.constraint is None:
                free_tokens += tokens
                continue
            if events[-1].finish_reason == "stop":
                assert is_counted(tokens, each.constraint.last)
            else:
                assert len(tokens) == 20
                assert {b - a for a, b in zip([0, *tokens], tokens, strict=False)} <= {1, 2}
    if temperature:
        assert len(set(free_tokens)) > 50
    assert engine.stats.compilations == before


async def test_a_satisfied_constraint_that_cannot_go_on_ends_without_one_more_token(engines):
    """The last token carries the reason, also where it is the last that the bound allows."""
    async with bridged(engines[False]) as bridge:
        for seed in range(8):
            asked = request(
                [1], 4, seed=seed, **counting(3), logit_bias=((0, -100.0), (66, -100.0))
            )
            ((*_, last),) = await events_of(bridge, asked)
            assert (last.token, last.finish_reason) in {(4, "stop"), (5, "stop")}


async def test_end_ids_may_be_sampled_exactly_where_the_constraint_is_satisfied(engines):
    lengths = set()
    async with bridged(engines[False]) as bridge:
        for seed in range(12):
            asked = request([1, 2], 30, seed=seed, **counting(3))
            tokens = [t for t in (await answers(bridge, asked))[0] if t is not None]
            assert is_counted(tokens, 3)
            lengths.add(tuple(tokens))
    assert {tokens[-1] for tokens in lengths} == {3, 4}


@pytest.mark.parametrize("setting", [{"ignore_eos": True}, {"min_tokens": 25}])
async def test_bans_of_end_ids_hold_where_the_answer_can_go_on(engines, setting):
    """At 3 it could end, but for the ban; at 4 nothing may follow: that ends it."""
    async with bridged(engines[False]) as bridge:
        for seed in range(8):
            asked = request([1, 2], 30, seed=seed, **setting, **counting(3))
            ((*_, last),) = await events_of(bridge, asked)
            assert (last.token, last.finish_reason) == (4, "stop")


async def test_a_satisfied_constraint_ends_where_bans_leave_nothing(engines):
    asked = {"temperature": 0.0, "ignore_eos": True, **counting(3)}
    async with bridged(engines[False]) as bridge:
        ((*_, last),) = await events_of(
            bridge, request([1], 30, logit_bias=((4, -100.0),), **asked)
        )
    assert (last.token, last.finish_reason) == (None, "stop")


async def test_a_constraint_that_bans_contradict_fails_and_the_others_go_on(engines):
    banned = ((1, -100.0), (2, -100.0))
    async with bridged(engines[False]) as bridge:
        other = asyncio.create_task(answers(bridge, request(prompt_of(1, 9), 60)))
        with pytest.raises(ConstraintError, match="logit_bias bans every token"):
            await answers(bridge, request([1], 9, logit_bias=banned, choices=3, **counting(5)))
        assert len((await other)[0]) == 60


async def test_a_matcher_that_fails_ends_its_request_and_no_other(engines):
    async with bridged(engines[False]) as bridge:
        others = [
            asyncio.create_task(answers(bridge, request(prompt_of(1, 9), 40, **free)))
            for free in ({}, counting(60))
        ]
        with pytest.raises(ConstraintError, match="too much"):
            await answers(bridge, request([1], 30, choices=2, **counting(50, fails_at=7)))
        free, counted = [(await other)[0] for other in others]
    assert len(free) == 40
    assert {b - a for a, b in itertools.pairwise(counted)} == {1, 2}


async def test_a_masked_row_draws_the_same_alone_and_in_a_crowd(engines):
    prompt, asked = prompt_of(3, 45), {"temperature": 1.5, "seed": 11, "choices": 2}
    async with bridged(engines[True]) as bridge:
        alone = await answers(bridge, request(prompt, 30, **asked, **counting(40)))
        crowd = [
            answers(bridge, request(prompt_of(seed, 2 * seed + 1), 20, seed=seed, **extra))
            for seed, extra in zip(range(24), [{}, counting(9)] * 12, strict=True)
        ]
        crowd.insert(9, answers(bridge, request(prompt, 30, **asked, **counting(40))))
        among = (await asyncio.gather(*crowd))[9]
    assert among == alone
    assert alone[0] != alone[1]


async def test_rows_put_back_go_on_where_their_constraints_were(engines):
    """In a pool so small that rows are recomputed, answers are those of a large one."""
    settings = {"temperature": 0.0, **counting(56)}

    async def answers_of(bridge: EngineBridge) -> list[list[list[int | None]]]:
        asked = [request(prompt_of(seed, 6 + seed), 60, **settings) for seed in range(4)]
        return await asyncio.gather(*(answers(bridge, each) for each in asked))

    async with bridged(engines[False]) as bridge:
        wanted = await answers_of(bridge)
    engine = engine_of(cache_tokens=CONTEXT + 16, max_rows=4)
    bridge = EngineBridge(engine)
    await asyncio.to_thread(engine.start, bridge.on_step, lambda report: None, lambda *_: None)
    found = await answers_of(bridge)
    preemptions = engine.stats.preemptions
    await asyncio.to_thread(engine.stop)
    assert preemptions > 0
    assert found == wanted


async def test_cancelled_choices_leave_the_others_to_their_matchers(engines):
    rng = random.Random(4)
    async with bridged(engines[False]) as bridge:
        generation = bridge.submit(request(prompt_of(9, 10), 60, choices=5, **counting(58)))
        tokens: list[list[int]] = [[] for _ in range(5)]
        async for events in generation:
            for event in events:
                tokens[event.choice].append(event.token)
            if rng.random() < 0.1:
                generation.cancel(rng.choice([1, 2]))
    for choice in (0, 3, 4):
        assert is_counted([token for token in tokens[choice] if token is not None], 58)


async def test_masks_are_timed_and_only_where_there_are_any():
    reports: list[StepReport] = []
    engine = engine_of(max_rows=4)
    bridge = EngineBridge(engine)
    await asyncio.to_thread(engine.start, bridge.on_step, reports.append, lambda *_: None)
    await answers(bridge, request([1], 20))
    assert sum(len(report.mask_seconds) for report in reports) == 0
    ((*_, last),) = await events_of(bridge, request([1], 30, temperature=0.0, **counting(20)))
    made = sum(len(report.mask_seconds) for report in reports)
    await asyncio.to_thread(engine.stop)
    assert last.finish_reason == "stop"
    assert 10 <= made <= 22
    assert all(seconds > 0 for report in reports for seconds in report.mask_seconds)
