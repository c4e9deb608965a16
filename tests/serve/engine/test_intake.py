"""How many choices come in, of whom, and what is told to whom there is no room for."""

import pytest

from sampling.params import SamplingParams
from serve.engine.config import EngineConfig
from serve.engine.intake import Intake
from serve.engine.types import GenerationRequest, QueueFullError, Tier


def intake(rows: int = 16, queue: int = 24) -> Intake:
    return Intake(EngineConfig(64, 1024, max_rows=rows, queue_limit=queue))


def asked(
    caller: str, choices: int = 1, tokens: int = 10, tier: Tier = Tier.DEFAULT
) -> GenerationRequest:
    sampling = SamplingParams()
    return GenerationRequest("r", [1], sampling, tokens, choices, caller=caller, tier=tier)


def refusal(of: Intake, request: GenerationRequest) -> QueueFullError:
    with pytest.raises(QueueFullError) as caught:
        of.enter(request)
    return caught.value


def test_free_rows_count_beside_the_queue():
    house = intake()
    house.enter(asked("a", 25))
    house.enter(asked("a", 15))
    assert str(refusal(house, asked("a"))) == (
        "40 choices run or wait already, and there is room for 40"
    )
    house.leave(asked("a"), 3)
    house.enter(asked("a"))
    assert house.choices == 40


def test_a_caller_below_its_share_finds_room_in_a_full_queue():
    house = intake()
    house.enter(asked("greedy", 40))
    house.enter(asked("b", 20))
    refusal(house, asked("b"))
    refusal(house, asked("greedy"))
    # A third of the whole is 13.
    refusal(house, asked("c", 14))
    house.enter(asked("c", 13))
    assert house.choices == 73
    # All have their shares, and together no more than twice the whole finds room.
    for number in range(7):
        house.enter(asked(f"d{number}"))
    refusal(house, asked("e"))
    assert house.choices == 80


def test_a_tier_takes_no_room_from_a_higher_one():
    house = intake()
    house.enter(asked("a", 40, tier=Tier.FLEX))
    refusal(house, asked("a", tier=Tier.FLEX))
    house.enter(asked("a", 40))
    refusal(house, asked("a"))
    house.enter(asked("a", 40, tier=Tier.PRIORITY))
    refusal(house, asked("a", tier=Tier.PRIORITY))
    assert house.choices == 120
    for _ in range(40):
        house.leave(asked("a", tier=Tier.PRIORITY), 1)
    # The lower ones see that priority has left, and are too many by themselves.
    refusal(house, asked("a"))
    house.enter(asked("a", 40, tier=Tier.PRIORITY))


def test_who_has_left_has_no_share():
    house = intake()
    for caller in "abcdefgh":
        house.enter(asked(caller))
        house.leave(asked(caller), 1)
    house.enter(asked("greedy", 40))
    house.enter(asked("b", 20))


def test_the_wait_is_what_those_before_are_likely_to_take():
    house = intake(rows=10, queue=10)
    for _ in range(100):
        house.step_took(0.5)
    house.enter(asked("a", 20, tokens=40))
    # Ten rows, of which each ends after 40 steps of half a second at the latest.
    assert refusal(house, asked("a", 1)).retry_after == 2
    assert refusal(house, asked("a", 10)).retry_after == 20
    # Answers turn out to be shorter.
    for _ in range(100):
        house.enter(asked("b", 1, tokens=40))
        house.leave(asked("b", 1, tokens=40), 10)
    assert refusal(house, asked("a", 10)).retry_after == 5


def test_who_has_left_does_not_make_the_wait_longer():
    house = intake(rows=10, queue=1)
    for _ in range(100):
        house.step_took(0.5)
    house.enter(asked("a", 11, tokens=10_000))
    # None of them has begun: that nobody read a token says nothing of how long answers are.
    for _ in range(11):
        house.leave(asked("a", 11, tokens=10_000), 0)
    house.enter(asked("a", 11, tokens=40))
    assert refusal(house, asked("a", 10)).retry_after == 20


def test_the_wait_is_told_within_reason():
    house = intake()
    house.enter(asked("a", 40, tokens=10**9))
    assert refusal(house, asked("a", 40)).retry_after == 1
    house.step_took(1.0)
    assert refusal(house, asked("a", 40)).retry_after == 600
