"""Rows and steps are shared out among callers, whatever each of them asks for."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.paper_house import House, house

LONG = 200


def hall(**fields) -> House:
    """A house with room for many pages."""
    defaults = {"context_length": 256, "cache_tokens": 4096, "page_size": 16, "max_rows": 4}
    return house(**(defaults | fields))


def rows(h: House) -> Counter[str]:
    return Counter(running.caller for running in h.scheduler._slots.running)


def steps_until_first(h: House, name: str) -> int:
    """Steps from now until the first token of a request has come."""
    for steps in range(1, 1000):
        h.step()
        if h.events[name, 0]:
            return steps
    raise AssertionError("it never began")


def run_to_the_end(h: House) -> list[tuple[str, int]]:
    """The choices in the order in which they begin from now on."""
    before = {key for key, events in h.events.items() if events}
    order: list[tuple[str, int]] = []
    while h.scheduler.has_work or h.running:
        h.step()
        new = (key for key, events in h.events.items() if events and key not in before)
        order += [key for key in new if key not in order]
    h.check_answers()
    h.check_empty()
    return order


def prompt(number: int, length: int = 5) -> list[int]:
    """One that shares no page with another."""
    return [number % 97, number // 97, *[7] * (length - 2)]


def test_a_row_is_taken_from_a_caller_who_has_all_of_them():
    h = hall()
    for number in range(4):
        h.submit(f"g{number}", prompt(number), tokens=LONG, choices=8, caller="greedy")
    for _ in range(10):
        h.step()
    assert rows(h) == {"greedy": 4}
    h.submit("w", prompt(50), tokens=3, caller="other")
    # One step in which it is computed, and one after which its token is there.
    assert steps_until_first(h, "w") == 2
    assert rows(h) == {"greedy": 3, "other": 1}
    h.run()
    h.check_answers()
    assert h.scheduler.stats().preemptions == 1


def test_rows_are_divided_evenly_and_change_hands_no_more_often_than_that_takes():
    h = hall(max_rows=8)
    for name in "abc":
        h.submit(name, prompt(ord(name)), tokens=LONG, choices=8, caller=name)
        for _ in range(30):
            h.step()
    assert sorted(rows(h).values()) == [2, 3, 3]
    assert h.scheduler.stats().preemptions == 4 + 2
    for name in "abc":
        h.cancel(name, None)
    h.run()
    h.check_answers()
    h.check_empty()


def test_no_more_rows_are_taken_than_a_step_has_prompts_for():
    h = hall(max_rows=8, prefill_chunk=64)
    h.submit("g", prompt(0), tokens=LONG, choices=8, caller="greedy")
    for _ in range(4):
        h.step()
    for number in range(4):
        h.submit(f"w{number}", prompt(50 + number, 30), tokens=LONG, caller="other")
    # Two prompts of thirty tokens fit a chunk, and a third one does not.
    for taken in (2, 4):
        h.step()
        assert h.scheduler.stats().preemptions == taken
        assert rows(h) == {"greedy": 8 - taken, "other": taken}
    h.run()
    h.check_answers()


def test_pages_that_one_waits_for_are_not_given_to_whoever_gave_them_up():
    h = hall(context_length=64, cache_tokens=80, page_size=4, prefill_chunk=64)
    for number in range(2):
        h.submit(f"g{number}", prompt(number, 4), tokens=60, caller="greedy")
    for _ in range(13):
        h.step()
    # It needs nearly all pages, and the row that stays has more than it leaves.
    h.submit("w", prompt(50, 60), tokens=3, caller="other")
    h.run()
    h.check_answers()
    assert h.scheduler.stats().preemptions == 1


def test_a_caller_with_one_row_never_loses_it():
    h = hall(max_rows=2)
    h.submit("a", prompt(1), tokens=100, caller="a")
    h.submit("b", prompt(2), tokens=100, caller="b")
    for number in range(10):
        h.submit(f"c{number}", prompt(10 + number), tokens=2, caller=f"c{number}")
    h.run()
    h.check_answers()
    assert h.scheduler.stats().preemptions == 0


def test_a_deterministic_engine_gives_the_next_row_that_falls_free():
    h = hall(deterministic=True)
    for number in range(8):
        h.submit(f"g{number}", prompt(number), tokens=20 + 2 * number, caller="greedy")
    for _ in range(9):
        h.step()
    h.submit("w", prompt(50), tokens=3, caller="other")
    assert run_to_the_end(h)[0] == ("w", 0)
    assert h.scheduler.stats().preemptions == 0


def test_a_requests_later_choices_come_after_others_first_ones():
    h = hall(max_rows=2)
    h.submit("many", prompt(1), tokens=4, choices=20, caller="a")
    for number in range(5):
        h.submit(f"{number}", prompt(10 + number), tokens=4, caller="a")
    started = run_to_the_end(h)
    # One row is the large request's, and the other one goes round.
    assert started.index(("many", 2)) > max(started.index((f"{number}", 0)) for number in range(5))


def test_of_callers_that_wait_the_one_that_has_waited_longest_is_next():
    h = hall(max_rows=1)
    for caller in "abc":
        for turn in range(3):
            h.submit(f"{caller}{turn}", prompt(3 * ord(caller) + turn), tokens=2, caller=caller)
    order = [name for name, _ in run_to_the_end(h)]
    assert order == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


def test_new_callers_without_end_do_not_hold_up_one_that_waits():
    h = hall(max_rows=2)
    h.submit("a", prompt(0), tokens=4, choices=6, caller="a")
    for number in range(200):
        h.submit(f"n{number}", prompt(1 + number), tokens=3, caller=f"n{number}")
        h.step()
        h.step()
    assert all(h.events["a", choice][-1].finish_reason for choice in range(6))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_whatever_callers_ask_rows_are_even_and_nobody_starves(seed: int, deterministic: bool):
    """Random callers of random greed on few rows.

    While somebody waits, nobody has two rows more, once a step has passed in which rows could
    change hands; and what is submitted ends in the end, every answer as it would have been alone.
    """
    rng = random.Random(seed)
    h = hall(
        max_rows=rng.randint(1, 8),
        prefill_chunk=64,
        deterministic=deterministic,
    )
    greed = {f"c{index}": rng.choice([0.02, 0.1, 0.6]) for index in range(rng.randint(2, 6))}
    number, quiet = 0, 0
    for _ in range(100):
        quiet += 1
        for caller, eagerness in greed.items():
            if rng.random() < eagerness and number < 40:
                number += 1
                h.submit(
                    f"{number}",
                    prompt(number, rng.randint(3, 40)),
                    tokens=rng.choice([1, 3, 10, 40]),
                    choices=rng.choice([1, 1, 2, 9]),
                    caller=caller,
                )
                quiet = 0
        before = rows(h)
        h.step()
        if rows(h) != before:
            quiet = 0
        waiting = {each.caller for each in h.scheduler._queue}
        # As many steps as there are rows to change hands, and chunks to a prompt.
        if quiet > 8 and waiting and not deterministic:
            held = rows(h)
            assert max(held.values()) - min(held[caller] for caller in waiting) <= 1
    h.run()
    h.check_answers()
    h.check_empty()


@pytest.mark.parametrize("greedy_prompt", [5, 200])
@pytest.mark.parametrize("length", [3, 15, 40])
def test_a_short_request_begins_within_three_steps_beside_a_caller_who_fills_all(
    greedy_prompt: int, length: int
):
    h = hall(max_rows=8, prefill_chunk=64)
    rng = random.Random(length)
    taken: list[int] = []
    for number in range(150):
        while len(h.scheduler._queue) < 60:
            name = f"g{number}-{rng.random()}"
            asked = {"tokens": 50, "choices": rng.choice([1, 30]), "caller": "greedy"}
            h.submit(name, [rng.randrange(97) for _ in range(greedy_prompt)], **asked)
        for _ in range(rng.randint(1, 4)):
            h.step()
        h.submit(f"w{number}", prompt(number, length), tokens=2, caller="other")
        taken.append(steps_until_first(h, f"w{number}"))
    # One step computes the prompt, and with the next one the token comes.
    assert max(taken) <= 3
