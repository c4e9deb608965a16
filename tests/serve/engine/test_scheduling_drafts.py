"""Drafts in the scheduler, on a device made of paper: answers are what they are without."""

import random
from itertools import count

import pytest
from support.paper_device import expected_answer
from support.paper_house import House, house

from serve.engine import speculation
from serve.engine.config import EngineConfig
from serve.engine.drafts import Draft, Source
from serve.engine.types import GenerationRequest


class Oracle:
    """Drafts that are right as often as is wanted."""

    source = Source.NGRAM

    def __init__(self, request: GenerationRequest, choice: int, rng: random.Random, right: float):
        self.request, self.choices = request, count()
        self.answer = expected_answer(request, choice)
        self.prompt, self.rng, self.right = len(request.prompt), rng, right
        self.resting = False
        self.learnt: list[tuple[int, int]] = []

    def sibling(self) -> "Oracle":
        number = next(self.choices)
        return self if number == 0 else Oracle(self.request, number, self.rng, self.right)

    def propose(self, tokens, matcher, most):
        del matcher
        done = len(tokens) - self.prompt
        length = self.rng.randint(0, most)
        drafted = self.answer[done : done + length]
        drafted += [self.rng.randrange(97) for _ in range(length - len(drafted))]
        drafted = [t if self.rng.random() < self.right else (t + 1) % 97 for t in drafted]
        return Draft(drafted, self.source) if drafted else None

    def follow(self, tokens):
        pass

    def learn(self, accepted, proposed):
        assert 0 <= accepted <= proposed
        self.learnt.append((accepted, proposed))


@pytest.fixture
def drafts(monkeypatch):
    """What makes every choice's drafts right with some probability; returns the oracles."""
    oracles: list[Oracle] = []

    def install(seed: int, right: float) -> list[Oracle]:
        rng = random.Random(seed)

        def oracle(request, ngrams):
            del ngrams
            oracles.append(Oracle(request, 0, rng, right))
            return oracles[-1]

        monkeypatch.setattr(speculation, "drafter_of", oracle)
        return oracles

    return install


def test_right_drafts_come_several_at_a_step(drafts):
    oracles = drafts(1, 1.0)
    h = house(max_rows=4, draft_tokens=4)
    h.submit("a", [1, 2, 3], tokens=24)
    steps = h.run()
    h.check_answers()
    h.check_empty()
    accepted = sum(accepted for accepted, _ in oracles[0].learnt)
    assert accepted == sum(proposed for _, proposed in oracles[0].learnt)
    assert accepted > 8
    assert steps <= 24 - accepted + 2


@pytest.mark.parametrize("source", Source, ids=lambda source: source.value)
def test_drafts_of_a_prediction_are_counted_and_no_others(drafts, monkeypatch, source):
    monkeypatch.setattr(Oracle, "source", source)
    oracles = drafts(5, 0.7)
    h = house(max_rows=4, draft_tokens=4)
    h.submit("a", [1, 2, 3], tokens=40)
    h.run()
    h.check_answers()
    right = sum(accepted for accepted, _ in oracles[0].learnt)
    wrong = sum(proposed - accepted for accepted, proposed in oracles[0].learnt)
    assert right > 5 < wrong
    events, told = h.events["a", 0], source is Source.PREDICTION
    assert sum(event.predicted for event in events) == right * told
    assert sum(event.mispredicted for event in events) == wrong * told


def test_wrong_drafts_change_nothing(drafts):
    oracles = drafts(2, 0.0)
    h = house(draft_tokens=8)
    h.submit("a", [1, 2, 3], tokens=24)
    h.run()
    h.check_answers()
    assert not any(accepted for accepted, _ in oracles[0].learnt)


def test_a_deterministic_engine_drafts_nothing(drafts):
    oracles = drafts(3, 1.0)
    h = house(deterministic=True)
    h.submit("a", [1, 2, 3], tokens=10)
    h.run()
    h.check_answers()
    assert not oracles


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_answers_are_those_without_drafts(drafts, seed):
    """Drafts right and wrong, forks, cancels, end ids and too few pages."""
    rng = random.Random(seed)
    drafts(seed, rng.choice([0.3, 0.8, 0.97]))
    context = rng.randint(16, 48)
    h = House(
        EngineConfig(
            context_length=context,
            cache_tokens=context + rng.randint(0, 64),
            max_rows=rng.randint(1, 6),
            page_size=rng.choice([1, 2, 4, 8]),
            prefill_chunk=16,
            draft_tokens=rng.choice([2, 8, 16]),
        )
    )
    stem = [rng.randrange(97) for _ in range(context)]
    for number in range(40):
        if rng.random() < 0.4:
            length = rng.randint(1, context - 1)
            h.submit(
                str(number),
                [*stem[: length - 1], rng.randrange(97)],
                tokens=rng.randint(1, context - length),
                choices=rng.choice([1, 1, 2, 3]),
                caller=rng.choice("ab"),
                end_ids=frozenset(rng.sample(range(97), rng.choice([0, 3]))),
            )
        elif rng.random() < 0.1 and h.requests:
            h.cancel(rng.choice(list(h.requests)), rng.choice([None, 0]))
        h.step()
    h.run()
    h.check_answers()
    h.check_empty()
