"""What is told of prompts is what a forward pass over them gives, however they are computed."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from support.engines import CONTEXT, bridged, engine_of, prompt_of, request
from support.naive import naive_logits
from support.tiny import TINY, tiny_model

from serve.engine.bridge import EngineBridge
from serve.engine.plan import Telling
from serve.engine.runner import Step, ToldPrompt
from serve.engine.sequence import Sequence
from serve.engine.types import (
    ConstraintError,
    Generation,
    GenerationRequest,
    PromptLogprobs,
    TokenEvent,
)

END = 5


def telling(prompt: list[int], tokens: int, alternatives: int = 20, **fields) -> GenerationRequest:
    return replace(request(prompt, tokens, **fields), prompt_logprobs=alternatives)


async def told(bridge: EngineBridge, asked: GenerationRequest) -> Generation:
    """The generation, when it has ended."""
    generation = bridge.submit(asked)
    async for _ in generation:
        pass
    return generation


def joined(parts: list[PromptLogprobs]) -> list[np.ndarray]:
    """Tokens, log-probabilities, ranks, ids and theirs, of all places."""
    fields = ("tokens", "logprobs", "ranks", "top_ids", "top_logprobs")
    return [np.concatenate([getattr(part, name) for part in parts]) for name in fields]


def check(asked: GenerationRequest, generation: Generation) -> None:
    """All of the prompt is told once, to 1e-4 of the reference."""
    prompt, count = list(asked.prompt), asked.prompt_logprobs
    logits = naive_logits(TINY, tiny_model().parameters, prompt)[:-1]
    expected = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    tokens, logprobs, ranks, ids, likeliest = joined(generation.prompt_logprobs)
    assert tokens.tolist() == prompt[1:]
    assert ids.shape == likeliest.shape == (len(prompt) - 1, count)
    own = np.take_along_axis(expected, tokens[:, None], axis=1)
    np.testing.assert_allclose(logprobs, own[:, 0], atol=1e-4)
    np.testing.assert_allclose(likeliest, np.take_along_axis(expected, ids, axis=1), atol=1e-4)
    np.testing.assert_allclose(likeliest, -np.sort(-expected, axis=1)[:, :count], atol=1e-4)
    # No two logits of these random weights are so near that rounding could exchange them.
    assert ranks.tolist() == (expected >= own - 1e-6).sum(axis=1).tolist()
    assert generation.cached_tokens == 0


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("length", [2, 32, 33, 90])
async def test_a_prompt_in_any_number_of_chunks(engines, length, deterministic):
    """Chunks are of 32 tokens, at 64 places at most."""
    asked = telling(prompt_of(length, length), 3)
    async with bridged(engines[deterministic]) as bridge:
        check(asked, await told(bridge, asked))


async def test_a_chunk_of_more_places_than_one_call_tells():
    engine = engine_of(prefill_chunk=128, max_rows=1)
    bridge = EngineBridge(engine)
    await asyncio.to_thread(engine.start, bridge.on_step, lambda report: None, lambda *_: None)
    asked = telling(prompt_of(1, 90), 3, 4)
    generation = await told(bridge, asked)
    await asyncio.to_thread(engine.stop)
    assert len(generation.prompt_logprobs) == 1
    check(asked, generation)


async def test_a_prompt_of_one_token_has_nothing_to_tell(engines):
    async with bridged(engines[False]) as bridge:
        assert list((await told(bridge, telling([3], 3))).prompt_logprobs) == []


@pytest.mark.parametrize("count", [0, 1, 20])
async def test_as_many_alternatives_as_are_asked_for(engines, count):
    asked = telling(prompt_of(7, 40), 2, count)
    async with bridged(engines[False]) as bridge:
        check(asked, await told(bridge, asked))


async def test_who_does_not_ask_is_told_nothing(engines):
    async with bridged(engines[False]) as bridge:
        assert list((await told(bridge, request(prompt_of(8, 40), 2))).prompt_logprobs) == []


@pytest.mark.parametrize("deterministic", [False, True])
async def test_a_prompt_whose_pages_are_known(engines, deterministic):
    prompt = prompt_of(50, 80)
    async with bridged(engines[deterministic]) as bridge:
        await told(bridge, request(prompt, 1))
        first, second = telling(prompt, 2), telling(prompt, 2)
        runs = [await told(bridge, first), await told(bridge, second)]
        after = await told(bridge, request(prompt, 1))
    for asked, run in zip((first, second), runs, strict=True):
        check(asked, run)
    for here, there in zip(*(joined(run.prompt_logprobs) for run in runs), strict=True):
        np.testing.assert_array_equal(here, there)
    assert after.cached_tokens == (64 if deterministic else 76)


@pytest.mark.parametrize("choices", [3, 20])
async def test_choices_share_a_prompt_that_is_told_once(engines, choices):
    """There are 8 rows: of 20 choices most begin later, from the cache."""
    asked = telling(prompt_of(9, 45), 6, choices=choices)
    async with bridged(engines[False]) as bridge:
        check(asked, await told(bridge, asked))


async def test_beside_others_and_among_answers(engines):
    asked = [telling(prompt_of(seed, 10 + 9 * seed), 8, seed, seed=seed) for seed in range(8)]
    others = [request(prompt_of(seed, 3 * seed + 2), 20, logprobs=True) for seed in range(12)]
    async with bridged(engines[False]) as bridge:
        found = await asyncio.gather(*(told(bridge, each) for each in [*asked, *others]))
    for each, run in zip(asked, found, strict=False):
        check(each, run)
    assert not any(run.prompt_logprobs for run in found[len(asked) :])


async def test_deterministic_mode_repeats_its_bits_in_a_crowd(engines):
    prompt = prompt_of(11, 70)
    async with bridged(engines[True]) as bridge:
        alone = await told(bridge, telling(prompt, 4))
        crowd = [told(bridge, request(prompt_of(seed, 5 + seed), 12)) for seed in range(9)]
        crowd.insert(4, told(bridge, telling(prompt, 4)))
        among = (await asyncio.gather(*crowd))[4]
    for here, there in zip(*(joined(run.prompt_logprobs) for run in (alone, among)), strict=True):
        np.testing.assert_array_equal(here, there)


async def test_rows_that_are_put_back_are_told_once():
    """In a pool of little more than one context, rows give way amid prompts and answers."""
    engine = engine_of(cache_tokens=CONTEXT + 16, max_rows=4)
    bridge = EngineBridge(engine)
    await asyncio.to_thread(engine.start, bridge.on_step, lambda report: None, lambda *_: None)
    asked = [
        replace(telling(prompt_of(seed, 20 + 8 * seed), 36), caller=f"{seed}") for seed in range(6)
    ]
    found = await asyncio.gather(*(told(bridge, each) for each in asked))
    preemptions = engine.stats.preemptions
    await asyncio.to_thread(engine.stop)
    assert preemptions > 0
    for each, run in zip(asked, found, strict=True):
        check(each, run)


class Nothing:
    """A constraint that is satisfied at once and lets only an end follow."""

    accepting, finished = True, False

    def matcher(self) -> "Nothing":
        return self

    def accept(self, token: int) -> None:
        raise ConstraintError(f"{token} came")

    def fill(self, allowed: np.ndarray) -> None:
        allowed[:] = 0
        allowed[END // 32] = 1 << END % 32

    def copy(self) -> "Nothing":
        return self

    def forced(self) -> list[int]:
        return []

    def allows(self, tokens: object) -> int:
        return 0


async def test_an_answer_that_ends_before_its_first_token(engines):
    """Its end is known while the last chunk is still computed: it is told after that."""
    asked = telling(
        *(prompt_of(12, 45), 5), constraint=Nothing(), ignore_eos=True, end_ids=frozenset([END])
    )
    events: list[TokenEvent] = []
    async with bridged(engines[False]) as bridge:
        generation = bridge.submit(asked)
        async for batch in generation:
            events += batch
    assert events == [TokenEvent(0, None, "stop")]
    check(asked, generation)


class Unready:
    """An array that the device has not made yet."""

    def is_ready(self) -> bool:
        return False


def test_a_step_is_not_done_while_a_prompt_is_still_to_be_told():
    """Commands are taken until then: what is told may take longer than the chunk."""
    telling = Telling(Sequence(request([1, 2], 1), 0, 0), 0, [2])
    told = [ToldPrompt(telling, [((Unready(),), slice(0, 1))])]
    assert Step(None, [], [], None, 0.0).ready
    assert not Step(None, told, [], None, 0.0).ready
