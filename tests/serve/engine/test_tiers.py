"""Tiers: who goes first, who is put back, and that nobody starves."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.paper_house import House, house

from serve.engine.giving_way import MOST_HURRIED
from serve.engine.types import Tier

PRIORITY, DEFAULT, FLEX = Tier
LONG = 200


def hall(**fields) -> House:
    """A house with room for many pages."""
    defaults = {"context_length": 256, "cache_tokens": 4096, "page_size": 16, "max_rows": 4}
    return house(**(defaults | fields))


def prompt(number: int, length: int = 5) -> list[int]:
    """One that shares no page with another."""
    return [number % 97, number // 97, *[7] * (length - 2)]


def rows(h: House) -> Counter[Tier]:
    return Counter(running.request.tier for running in h.scheduler._slots.running)


def begin_and_end(h: House) -> list[str]:
    """The requests in the order in which they begin from now on, when all have ended."""
    order = [name for (name, _), events in h.events.items() if events]
    while h.scheduler.has_work or h.running:
        h.step()
        begun = (name for (name, _), events in h.events.items() if events)
        order += [name for name in begun if name not in order]
    h.check_answers()
    h.check_empty()
    return order


def preemptions(h: House) -> list[int]:
    return [h.scheduler.stats().tiers[tier].preemptions for tier in Tier]


@pytest.mark.parametrize("deterministic", [False, True])
def test_the_higher_tier_gets_the_next_row_whoever_came_first(deterministic: bool):
    h = hall(max_rows=1, deterministic=deterministic)
    h.submit("runs", prompt(0), tokens=5, tier=PRIORITY)
    h.step()
    for number, tier in enumerate([FLEX, DEFAULT, PRIORITY, FLEX, DEFAULT, PRIORITY], start=1):
        h.submit(f"{tier.label} {number}", prompt(number), tokens=3, tier=tier)
    waiting = [h.scheduler.stats().tiers[tier].waiting for tier in Tier]
    assert waiting == [2, 2, 2]
    assert begin_and_end(h) == [
        *("runs", "priority 3", "priority 6", "default 2", "default 5", "flex 1", "flex 4")
    ]
    assert preemptions(h) == [0, 0, 0]


def test_a_higher_tier_takes_rows_from_the_lowest_one():
    h = hall()
    for number, tier in enumerate([FLEX, DEFAULT, FLEX, DEFAULT]):
        h.submit(f"{number}", prompt(number), tokens=LONG, tier=tier)
    for _ in range(5):
        h.step()
    assert rows(h) == {DEFAULT: 2, FLEX: 2}
    for number, wanted in enumerate([[0, 0, 1], [0, 0, 2], [0, 1, 2], [0, 2, 2], [0, 2, 2]]):
        h.submit(f"p{number}", prompt(10 + number), tokens=LONG, tier=PRIORITY)
        h.step()
        assert preemptions(h) == wanted
    assert rows(h) == {PRIORITY: 4}
    h.run()
    h.check_answers()


def test_what_is_put_back_for_a_higher_tier_goes_on_with_its_tokens():
    h = hall(max_rows=1)
    h.submit("flex", prompt(0), tokens=20, tier=FLEX)
    for _ in range(8):
        h.step()
    before = list(h.events["flex", 0])
    assert len(before) == 7
    h.submit("default", prompt(1), tokens=5)
    assert begin_and_end(h) == ["flex", "default"]
    assert h.events["flex", 0][:7] == before
    assert preemptions(h) == [0, 0, 1]


def test_a_deterministic_engine_puts_nothing_back():
    h = hall(max_rows=1, deterministic=True)
    h.submit("flex", prompt(0), tokens=20, tier=FLEX)
    for _ in range(8):
        h.step()
    h.submit("priority", prompt(1), tokens=5, tier=PRIORITY)
    h.run()
    h.check_answers()
    assert preemptions(h) == [0, 0, 0]


def test_the_lowest_tier_is_put_back_for_want_of_pages_though_it_came_first():
    h = house(context_length=40, cache_tokens=48, max_rows=3)
    for name, tier in (("f", FLEX), ("d", DEFAULT), ("p", PRIORITY)):
        h.submit(name, [ord(name)] * 10, tokens=30, tier=tier)
    begin_and_end(h)
    of_priority, of_default, of_flex = preemptions(h)
    assert of_priority == 0
    assert of_default
    assert of_flex


def test_the_higher_tiers_prompt_is_computed_first():
    h = hall(prefill_chunk=16)
    h.submit("flex", prompt(0, 60), tokens=2, tier=FLEX)
    h.step()
    h.submit("priority", prompt(1, 60), tokens=2, tier=PRIORITY)
    # Four chunks, and a step after which the token is there.
    for _ in range(5):
        h.step()
    assert h.events["priority", 0]
    assert not h.events["flex", 0]
    h.run()
    h.check_answers()


def test_a_prompt_waits_for_no_page_of_a_lower_tier():
    h = hall(prefill_chunk=16)
    common = prompt(0, 96)
    h.submit("flex", [*common, 1], tokens=2, tier=FLEX)
    h.step()
    h.submit("long", prompt(1, 200), tokens=2)
    h.submit("priority", [*common, 2], tokens=2, tier=PRIORITY)
    assert begin_and_end(h)[0] == "priority"


def test_a_prompt_of_priority_is_computed_with_nothing_of_a_lower_tier_beside_it():
    h = hall(max_rows=8, prefill_chunk=64, prefill_beside=16)
    for number, tier in enumerate([DEFAULT, FLEX, DEFAULT]):
        h.submit(f"{number}", prompt(number), tokens=LONG, tier=tier)
    h.submit("reads", prompt(9), tokens=LONG, tier=PRIORITY)
    for _ in range(5):
        h.step()
    h.submit("long", prompt(10, 200), tokens=2)
    h.submit("urgent", prompt(11, 100), tokens=2, tier=PRIORITY)
    for length in (63, 37):
        h.step()
        plan = h.running[0]
        # Whoever reads an answer of its tier goes on.
        assert [row.sequence.request.id for row in plan.decode] == ["reads"]
        assert [len(chunk.tokens) for chunk in plan.prefill] == [length]
    h.step()
    assert len(h.running[0].decode) == 5
    h.run()
    h.check_answers()


def test_of_so_many_steps_one_is_for_all_who_have_a_row():
    h = hall(context_length=1024, max_rows=8, prefill_chunk=16)
    h.submit("runs", prompt(0), tokens=300, tier=FLEX)
    for _ in range(3):
        h.step()
    h.submit("urgent", prompt(1, 700), tokens=2, tier=PRIORITY)
    decoded: list[bool] = []
    while not h.events["urgent", 0]:
        h.step()
        decoded.append(bool(h.running[0].decode))
    # Five steps compute 4 · 16 tokens and the 15 that the running answer leaves.
    assert decoded[:10] == 2 * [*MOST_HURRIED * [False], True]
    h.run()
    h.check_answers()


def test_one_of_priority_that_finds_no_pages_holds_up_nobody():
    h = hall(context_length=64, cache_tokens=80, max_rows=4, prefill_chunk=64, deterministic=True)
    h.submit("runs", prompt(0, 30), tokens=30)
    h.step()
    h.submit("large", prompt(1, 60), tokens=3, tier=PRIORITY)
    for _ in range(20):
        assert h.step()
        assert h.running[0].decode
    h.run()
    h.check_answers()


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("patience", [1, 3, 32])
def test_one_of_a_lower_tier_goes_first_after_so_many_rows_of_higher_ones(
    patience: int, deterministic: bool
):
    h = hall(max_rows=1, flex_patience=patience, deterministic=deterministic)
    for number in range(3):
        h.submit(f"flex {number}", prompt(number), tokens=2, tier=FLEX)
    for number in range(3 * patience + 5):
        h.submit(f"{number}", prompt(100 + number), tokens=2, tier=PRIORITY)
    order = begin_and_end(h)
    places = [order.index(f"flex {number}") for number in range(3)]
    assert places == [(patience + 1) * turn + patience for turn in range(3)]


def test_an_answer_that_has_waited_long_enough_is_never_put_back_for_a_tier():
    """Higher ones keep coming: it would be put back again and again."""
    h = hall(max_rows=2, flex_patience=4)
    h.submit("flex", prompt(0, 60), tokens=100, tier=FLEX)
    number = 0
    for _ in range(400):
        if len(h.scheduler._queue) < 3:
            number += 1
            h.submit(f"{number}", prompt(number, 9), tokens=3, tier=PRIORITY)
        h.step()
    assert h.events["flex", 0][-1].finish_reason == "length"
    h.run()
    h.check_answers()


def test_a_prompt_that_has_begun_goes_first_once_too():
    """There are rows enough, but higher tiers fill every step with their prompts."""
    h = hall(max_rows=64, flex_patience=4, prefill_chunk=16, cache_tokens=8192)
    h.submit("flex", prompt(0, 60), tokens=1, tier=FLEX)
    h.step()
    for number in range(1, 40):
        h.submit(f"{number}", prompt(number, 40), tokens=1)
        h.step()
    order = begin_and_end(h)
    # Four prompts of three steps each, and those that had begun by then.
    assert order.index("flex") < 10


@pytest.mark.parametrize("patience", [1, 8])
def test_who_is_due_and_wants_many_pages_holds_up_no_priority(patience: int):
    """Rows of default have the pages: they give them up, instead of all waiting for their ends."""
    h = hall(cache_tokens=600, max_rows=8, prefill_chunk=64, flex_patience=patience)
    taken: list[int] = []
    for number in range(300):
        while len(h.scheduler._queue) < 12:
            name, tier = f"{len(h.requests)}", FLEX if len(h.requests) % 2 else DEFAULT
            h.submit(name, prompt(100 + len(h.requests), 90 + 30 * tier), tokens=60, tier=tier)
        if number % 10 == 0:
            h.submit(f"p{number}", prompt(50 + number, 40), tokens=3, tier=PRIORITY)
            began = number
        h.step()
        if h.events[f"p{began}", 0] and len(taken) <= began // 10:
            taken.append(number - began)
    assert len(taken) == 30
    assert sorted(taken)[15] <= 3
    for name in h.requests:
        h.cancel(name, None)
    h.run()
    h.check_empty()


def test_no_more_than_one_row_is_withheld_from_higher_tiers():
    h = hall(max_rows=4, flex_patience=2)
    for number in range(20):
        h.submit(f"flex {number}", prompt(number), tokens=LONG, tier=FLEX)
    for number in range(100):
        h.submit(f"{number}", prompt(100 + number), tokens=3, tier=PRIORITY)
    while h.scheduler.stats().tiers[PRIORITY].waiting:
        h.step()
        assert rows(h)[FLEX] <= 1
    for number in range(20):
        h.cancel(f"flex {number}", None)
    h.run()
    h.check_answers()
    h.check_empty()


def test_callers_share_what_is_left_to_their_tier():
    h = hall(max_rows=8)
    h.submit("p", prompt(0), tokens=LONG, choices=4, caller="a", tier=PRIORITY)
    for caller in "ab":
        h.submit(caller, prompt(ord(caller)), tokens=LONG, choices=8, caller=caller)
        for _ in range(12):
            h.step()
    held = Counter((each.caller, each.request.tier) for each in h.scheduler._slots.running)
    assert held == {("a", PRIORITY): 4, ("a", DEFAULT): 2, ("b", DEFAULT): 2}
    for name in "pab":
        h.cancel(name, None)
    h.run()
    h.check_answers()
    h.check_empty()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_whatever_comes_higher_tiers_go_first_and_all_end(seed: int, deterministic: bool):
    """Random tiers, callers, lengths, choices and cancels on few rows and few pages.

    Once rows could change hands, nobody of a lower tier has one while somebody of a higher tier
    waits for want of rows, but for the one that has waited long enough.
    """
    rng = random.Random(seed)
    h = hall(
        context_length=64,
        cache_tokens=64 * rng.randint(1, 8),
        max_rows=rng.randint(1, 6),
        prefill_chunk=64,
        flex_patience=rng.choice([1, 4, 32]),
        deterministic=deterministic,
    )
    roomy = h.device.config.cache_tokens >= 64 * h.device.config.max_rows
    eager = {tier: rng.choice([0.05, 0.3, 0.7]) for tier in Tier}
    number, quiet = 0, 0
    for _ in range(120):
        quiet += 1
        for tier, eagerness in eager.items():
            if rng.random() < eagerness and number < 60:
                number += 1
                h.submit(
                    f"{number}",
                    prompt(number, rng.randint(3, 30)),
                    tokens=rng.choice([1, 3, 10, 30]),
                    choices=rng.choice([1, 1, 2, 7]),
                    caller=rng.choice("ab"),
                    tier=tier,
                )
                quiet = 0
        if rng.random() < 0.05 and number:
            name = str(rng.randint(1, number))
            if not any(e.finish_reason for c in h.events if c[0] == name for e in h.events[c]):
                h.cancel(name, None)
        before = rows(h)
        h.step()
        if rows(h) != before:
            quiet = 0
        waiting = [each.request.tier for each in h.scheduler._queue if each.standing]
        if quiet > 8 and waiting and roomy and not deterministic:
            held = [each.standing for each in h.scheduler._slots.running]
            assert all(standing <= min(waiting) for standing in held)
    h.run()
    h.check_answers()
    h.check_empty()
    if deterministic:
        assert preemptions(h) == [0, 0, 0]


@pytest.mark.parametrize("flood", [PRIORITY, DEFAULT])
@pytest.mark.parametrize("cache_tokens", [256, 4096])
def test_every_flex_request_ends_under_a_flood_without_end(flood: Tier, cache_tokens: int):
    h = hall(max_rows=3, cache_tokens=cache_tokens, flex_patience=4)
    rng = random.Random(cache_tokens)
    for number in range(6):
        h.submit(f"flex {number}", prompt(number, 40), tokens=30, tier=FLEX, caller=f"{number % 2}")
    for number in range(100, 3000):
        while len(h.scheduler._queue) < 8:
            name = f"{number}-{rng.random()}"
            wanted = {"tokens": rng.randint(1, 12), "tier": flood}
            h.submit(name, [rng.randrange(97) for _ in range(rng.randint(1, 60))], **wanted)
        h.step()
        answers = [h.events[f"flex {each}", 0] for each in range(6)]
        if all(answer and answer[-1].last for answer in answers):
            break
    else:
        raise AssertionError("a flex request starves")
    h.run()
    h.check_answers()
