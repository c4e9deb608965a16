"""What an engine answers with drafts: what it answers without, whatever is asked."""

import asyncio
import random
from dataclasses import replace

import numpy as np
import pytest
from support.counting_grammar import Counting
from support.engines import CONTEXT, bridged, engine_of, events_of, prompt_of, request
from support.tiny import TINY

from serve.engine.types import GenerationRequest, TokenEvent

ENDS = frozenset({65, 66})
REQUESTS, AT_ONCE = 500, 3


def any_request(rng: random.Random) -> GenerationRequest:
    """With every control that there is, some of the time."""
    length = rng.randint(1, 40)
    bias = {rng.randrange(TINY.vocab_size): rng.choice([-100.0, 3.0]) for _ in range(3)}
    constrained = rng.random() < 0.25
    return request(
        prompt_of(rng.randrange(10**6), length),
        rng.randint(1, 30),
        seed=rng.randrange(2**40),
        choices=rng.choice([1, 1, 1, 2]),
        temperature=rng.choice([0.0, 0.0, 0.8, 1.2]),
        top_k=rng.choice([0, 12]),
        top_p=rng.choice([1.0, 0.9]),
        min_p=rng.choice([0.0, 0.02]),
        frequency_penalty=rng.choice([0.0, 0.0, 0.7]),
        presence_penalty=rng.choice([0.0, 0.0, 1.1]),
        repetition_penalty=rng.choice([1.0, 1.0, 1.3]),
        logit_bias=tuple(bias.items()) if rng.random() < 0.3 and not constrained else (),
        min_tokens=rng.choice([0, 0, 5]),
        stop_ids=(rng.randrange(TINY.vocab_size),) if rng.random() < 0.2 else (),
        logprobs=rng.random() < 0.3,
        end_ids=ENDS if constrained or rng.random() < 0.3 else frozenset(),
        constraint=Counting(rng.randint(3, 20), ENDS) if constrained else None,
    )


def spoiled(answer: list[int], rng: random.Random) -> list[int]:
    """A prediction: the answer with some tokens changed, left out or put in."""
    found: list[int] = []
    for token in answer:
        fate = rng.random()
        if fate < 0.85:
            found.append(token)
        elif fate < 0.95:
            found += [(token + 1) % TINY.vocab_size] * rng.randint(1, 2)
    return found or [5]


def tokens_of(choices: list[list[TokenEvent]]) -> list[list[int]]:
    return [[e.token for e in choice if e.token is not None] for choice in choices]


async def all_events(engine, asked: list[GenerationRequest]) -> list[list[list[TokenEvent]]]:
    found: list[list[list[TokenEvent]]] = []
    async with bridged(engine) as bridge:
        for start in range(0, len(asked), AT_ONCE):
            part = asked[start : start + AT_ONCE]
            found += await asyncio.gather(*(events_of(bridge, each) for each in part))
    return found


@pytest.fixture(scope="module")
def drafting():
    engine = engine_of(ngrams=True)
    engine.start(lambda deliveries: None, lambda report: None, lambda *_: None)
    yield engine
    engine.stop()


async def test_500_requests_get_what_they_get_without_drafts(engines, drafting):
    rng = random.Random(18)
    asked = [any_request(rng) for _ in range(REQUESTS)]
    without = await all_events(engines[False], asked)
    predicting = [
        replace(each, prediction=spoiled(tokens_of(choices)[0], rng))
        for each, choices in zip(asked, without, strict=True)
    ]
    steps = drafting.stats.steps
    with_drafts = await all_events(drafting, predicting)
    steps = drafting.stats.steps - steps
    for each, plain, drafted in zip(predicting, without, with_drafts, strict=True):
        for alone, together in zip(plain, drafted, strict=True):
            assert [e.token for e in together] == [e.token for e in alone]
            assert together[-1].finish_reason == alone[-1].finish_reason
            for mine, theirs in zip(together, alone, strict=True):
                assert (mine.logprobs is None) == (theirs.logprobs is None)
                if mine.logprobs and theirs.logprobs:
                    np.testing.assert_allclose(
                        mine.logprobs.sampled, theirs.logprobs.sampled, atol=1e-4
                    )
            assert sum(e.mispredicted for e in together) <= len(each.prediction) * 8
    events = [e for choices in with_drafts for choice in choices for e in choice]
    assert sum(e.predicted for e in events) > 1000
    assert sum(e.mispredicted for e in events) > 100


async def test_a_prediction_that_holds_takes_few_steps(engines, drafting):
    asked = request(prompt_of(4, 10), CONTEXT - 10, temperature=0.0)
    (plain,) = await all_events(engines[False], [asked])
    (answer,) = tokens_of(plain)
    steps = drafting.stats.steps
    (choices,) = await all_events(drafting, [replace(asked, prediction=answer)])
    assert tokens_of(choices) == [answer]
    assert drafting.stats.steps - steps <= len(answer) // 4
    assert sum(event.predicted for event in choices[0]) >= 0.75 * len(answer)
    assert not sum(event.mispredicted for event in choices[0])
