"""Rows of different adapters, and of none, on one engine with a tiny random model.

What each must answer is told by a model without adapters, to whose weights one was added.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from support.engines import CONTEXT, answers, bridged, engine_of, prompt_of, request
from support.naive import naive_logits
from support.tiny import TINY, merged, tiny_adapters, tiny_model

from serve.engine.bridge import EngineBridge
from serve.engine.engine import Engine
from serve.engine.prefix_cache import ROOT, page_name, page_names, root_of
from serve.engine.runner import Runner
from serve.engine.types import GenerationRequest

COUNT = 8
WHOSE = [*range(COUNT), None]


@cache
def adapted_model():
    return replace(tiny_model(), adapters=tiny_adapters(COUNT))


@cache
def parameters_of(adapter: int | None):
    """A whole model's, with the adapter in its weights."""
    model = adapted_model()
    return model.parameters if adapter is None else merged(model, adapter).parameters


def started(**fields) -> Engine:
    engine = engine_of(adapted_model(), **fields)
    engine.start(lambda deliveries: None, lambda report: None, lambda *_: None)
    return engine


@pytest.fixture(scope="module")
def adapted(_quickly: None) -> Iterator[dict[bool, Engine]]:
    """A fast and a deterministic engine."""
    engines = {flag: started(deterministic=flag) for flag in (False, True)}
    yield engines
    for engine in engines.values():
        engine.stop()


def check(asked: GenerationRequest, answer: list[int | None]) -> None:
    """Hold a greedy answer to the model that has the request's adapter in its weights."""
    tokens = list(asked.prompt)
    for token in answer:
        logits = naive_logits(TINY, parameters_of(asked.adapter), tokens)[-1]
        assert token is not None
        # Random weights can nearly tie; the token must be as good as the reference's.
        assert logits[token] > logits.max() - 1e-3
        tokens.append(token)


def programs_run(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The programs that the engine runs from now on."""
    runner = engine._runner
    assert isinstance(runner, Runner)
    run: list[tuple[str, int]] = []
    whole = runner._run

    def noted(call, hidden):
        run.append((call.program, call.size))
        return whole(call, hidden)

    monkeypatch.setattr(runner, "_run", noted)
    return run


@pytest.mark.parametrize("deterministic", [False, True], ids=["fast", "deterministic"])
async def test_each_row_of_a_crowd_is_answered_by_its_own_adapter(adapted, deterministic: bool):
    prompt = prompt_of(1, 21)
    asked = [request(prompt, 12, temperature=0.0, adapter=adapter) for adapter in WHOSE]
    async with bridged(adapted[deterministic]) as bridge:
        together = await asyncio.gather(*(answers(bridge, each) for each in asked))
        alone = [await answers(bridge, replace(each, id=f"{each.id} again")) for each in asked]
    for each, (answer,) in zip(asked, together, strict=True):
        check(each, answer)
    assert together == alone
    assert len({tuple(answer) for (answer,) in together}) == len(WHOSE)


async def test_bytes_do_not_depend_on_the_neighbours_adapters(adapted):
    asked = {"temperature": 1.2, "top_p": 0.95, "seed": 11, "choices": 2}
    found = []
    async with bridged(adapted[True]) as bridge:
        for neighbours in ([], [None] * 12, [*WHOSE, *WHOSE]):
            crowd = [
                answers(bridge, request(prompt_of(seed, 9), 20, seed=seed, adapter=adapter))
                for seed, adapter in enumerate(neighbours)
            ]
            mine = [
                answers(bridge, request(prompt_of(3, 45), 20, **asked, adapter=adapter))
                for adapter in (2, None)
            ]
            found.append((await asyncio.gather(*mine, *crowd))[:2])
    assert found[0] == found[1] == found[2]
    assert found[0][0] != found[0][1]


async def test_a_step_without_adapters_is_the_decoders_own(adapted, monkeypatch):
    run = programs_run(adapted[False], monkeypatch)
    async with bridged(adapted[False]) as bridge:
        await answers(bridge, request(prompt_of(31, 20), 5, choices=2))
        without = {program for program, _ in run}
        await answers(bridge, request(prompt_of(32, 20), 5, choices=2, adapter=3))
    assert "forward" in without
    assert "adapted" not in without
    assert "adapted" in {program for program, _ in run}


async def test_a_deterministic_engine_has_one_program_for_all(adapted, monkeypatch):
    run = programs_run(adapted[True], monkeypatch)
    async with bridged(adapted[True]) as bridge:
        await answers(bridge, request(prompt_of(31, 20), 5))
    assert "adapted" in {program for program, _ in run}
    assert not any(program == "forward" for program, _ in adapted[True]._runner._programs)


def test_an_engine_without_adapters_has_the_programs_that_it_had():
    jobs = engine_of()._runner._jobs()
    assert "adapted" not in {program for program, _ in jobs}
    with_them = engine_of(adapted_model())._runner._jobs()
    adapted = {key for key in with_them if key[0] == "adapted"}
    assert {key for key in with_them if key not in adapted} == set(jobs)
    assert {size for _, size in adapted} == {size for name, size in jobs if name == "forward"}


def cached(bridge: EngineBridge):
    """How many tokens of a prompt the prefix cache spares, by adapter."""

    async def spared(prompt: list[int], adapter: int | None) -> int:
        generation = bridge.submit(request(prompt, 2, temperature=0.0, adapter=adapter))
        async for _ in generation:
            pass
        return generation.cached_tokens

    return spared


async def test_no_adapter_finds_anothers_pages(adapted):
    prompt = prompt_of(77, 30)
    async with bridged(adapted[False]) as bridge:
        spared = cached(bridge)
        for adapter in (None, 0, 1):
            assert await spared(prompt, adapter) == 0
        # 7 whole pages of 4.
        for adapter in (1, None, 0):
            assert await spared(prompt, adapter) == 28


async def test_pages_that_an_answer_fills_are_of_its_adapter(adapted):
    """A prompt that is shorter than a page has no page named before its answer."""
    asked = request(prompt_of(79, 2), 20, temperature=0.0, adapter=5)
    async with bridged(adapted[False]) as bridge:
        (answer,) = await answers(bridge, asked)
        whole = [*asked.prompt, *answer]
        spared = cached(bridge)
        assert [await spared(whole, adapter) for adapter in (None, 4, 5)] == [0, 0, 20]


async def test_prompts_alike_with_different_adapters_do_not_wait_for_each_other(adapted):
    """Only whoever shares pages with a prompt that is computed now waits for it."""
    prompt = prompt_of(78, 60)
    asked = [request(prompt, 6, temperature=0.0, adapter=adapter) for adapter in (4, 5, 4, None)]
    async with bridged(adapted[False]) as bridge:
        generations = [bridge.submit(each) for each in asked]

        async def whole(generation) -> list[int | None]:
            return [event.token async for events in generation for event in events]

        found = await asyncio.gather(*map(whole, generations))
    for each, answer in zip(asked, found, strict=True):
        check(each, answer)
    assert [each.cached_tokens for each in generations] == [0, 0, 56, 0]
    assert found[0] == found[2]


def test_pages_of_one_token_have_no_name_of_an_adapters_root():
    names = {root_of(adapter) for adapter in WHOSE}
    assert len(names) == len(WHOSE)
    pages = {page_name(ROOT, [token]) for token in range(300)}
    assert not pages & names
    assert page_names([1, 2, 3, 4], 2) == page_names([1, 2, 3, 4], 2, root_of(None))
    assert not set(page_names([1, 2, 3, 4], 2, root_of(0))) & set(
        page_names([1, 2, 3, 4], 2, root_of(1))
    )
    assert page_names([1], 1, root_of(0))[0] == page_name(root_of(0), [1])


@pytest.fixture
async def crowded() -> AsyncIterator[EngineBridge]:
    """An engine with too few pages for its rows, which puts answers back."""
    engine = started(cache_tokens=CONTEXT + 16, max_rows=4)
    async with bridged(engine) as bridge:
        yield bridge
        assert engine.stats.preemptions > 0
    await asyncio.to_thread(engine.stop)


async def test_what_is_put_back_keeps_its_adapter(crowded):
    asked = [
        request(prompt_of(seed, 12), 40, temperature=0.0, adapter=adapter)
        for seed, adapter in enumerate((0, 1, None, 7, 0))
    ]
    found = await asyncio.gather(*(answers(crowded, each) for each in asked))
    for each, (answer,) in zip(asked, found, strict=True):
        check(each, answer)


async def test_forks_and_prompts_that_are_told_have_it_too(adapted):
    asked = request(prompt_of(5, 26), 6, temperature=0.0, adapter=6, choices=3)
    asked = replace(asked, prompt_logprobs=1)
    async with bridged(adapted[False]) as bridge:
        generation = bridge.submit(asked)
        found: list[list[int | None]] = [[], [], []]
        async for events in generation:
            for event in events:
                found[event.choice].append(event.token)
        told = np.concatenate([part.logprobs for part in generation.prompt_logprobs])
    assert found[0] == found[1] == found[2]
    check(asked, found[0])
    logits = np.float64(naive_logits(TINY, parameters_of(6), list(asked.prompt))[:-1])
    logprobs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    wanted = np.take_along_axis(logprobs, np.array(asked.prompt)[1:, None], 1)[:, 0]
    np.testing.assert_allclose(told, wanted, atol=1e-3)


async def test_drafts_are_verified_by_it(adapted):
    asked = request(prompt_of(8, 20), 24, temperature=0.0, adapter=2)
    async with bridged(adapted[False]) as bridge:
        (answer,) = await answers(bridge, asked)
        steps = adapted[False].stats.steps
        drafted = replace(asked, id="drafted", prediction=answer)
        assert await answers(bridge, drafted) == [answer]
        assert adapted[False].stats.steps - steps < 20
        # Another's words are no drafts that it would take over.
        other = replace(asked, id="other", adapter=3, prediction=answer)
        check(other, (await answers(bridge, other))[0])


async def test_an_adapter_that_is_not_there_is_refused(adapted, engines):
    async with bridged(adapted[False]) as bridge:
        for number in (-1, COUNT):
            with pytest.raises(ValueError, match=rf"adapter is {number}; there are 8, numbered"):
                bridge.submit(request([1], 1, adapter=number))
    async with bridged(engines[False]) as bridge:
        with pytest.raises(ValueError, match="adapter is 0; there are 0"):
            bridge.submit(request([1], 1, adapter=0))
