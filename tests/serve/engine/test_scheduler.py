"""Scheduler, pages and prefix cache together, on a device made of paper."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.paper_house import House, house

from sampling.params import SamplingParams
from serve.engine.config import EngineConfig, EngineConfigError
from serve.engine.types import TokenEvent


def test_one_request():
    h = house()
    h.submit("a", [1, 2, 3], tokens=6)
    h.run()
    h.check_answers()
    assert [e.finish_reason for e in h.events["a", 0]] == [None] * 5 + ["length"]


def test_end_of_turn_gives_no_token():
    h = house()
    h.submit("a", [1, 2, 3], tokens=50, end_ids=frozenset(range(0, 97, 2)))
    h.run()
    h.check_answers()
    assert h.events["a", 0][-1] == TokenEvent(0, None, "stop")


@pytest.mark.parametrize("told", [False, True])
def test_a_stop_id_ends_as_an_end_of_turn_does_and_may_be_told(told):
    stops = tuple(range(0, 62, 2))
    h = house()
    for name, params in (("ends", SamplingParams()), ("stops", SamplingParams(stop_ids=stops))):
        ends = frozenset(stops if name == "ends" else ())
        fields = {"end_ids": ends, "tells_stop_id": told, "sampling": params}
        h.submit(name, [1, 2, 3], tokens=50, **fields)
    h.run()
    *ended, end = h.events["ends", 0]
    *stopped, stop = h.events["stops", 0]
    assert stopped == ended
    assert end == TokenEvent(0, None, "stop")
    assert stop.finish_reason == "stop"
    assert (stop.token in stops) if told else (stop.token is None)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        # With the running row's token sixteen in all.
        ({}, [(0, 15), (15, 15), (30, 15), (45, 5)]),
        ({"deterministic": True}, [(0, 16), (16, 16), (32, 16), (48, 2)]),
    ],
    ids=["fast", "deterministic"],
)
def test_a_long_prompt_is_cut_into_chunks_and_stalls_nobody(settings, wanted):
    h = house(prefill_chunk=16, **settings)
    h.submit("running", [5], tokens=30)
    h.step()
    h.submit("long", list(range(50)), tokens=3)
    lengths = []
    while True:
        plan = h.scheduler.plan()
        tokens = h.device.execute(plan)
        if h.running is not None:
            h.scheduler.commit(*h.running)
        h.running = (plan, tokens)
        if not plan.prefill:
            break
        lengths.append([(chunk.start, len(chunk.tokens)) for chunk in plan.prefill])
        assert "running" in [row.sequence.request.id for row in plan.decode]
    assert lengths == [[chunk] for chunk in wanted]


def chunk_starts(h: House, steps: int) -> list[list[tuple[str, int]]]:
    """Whose chunks the next steps compute, and from where."""
    found: list[list[tuple[str, int]]] = []
    for _ in range(steps):
        h.step()
        plan = h.running and h.running[0]
        chunks = plan.prefill if plan else []
        names = {running.slot: running.request.id for running in h.scheduler._slots.running}
        found.append([(names[chunk.slot], chunk.start) for chunk in chunks])
    return found


def test_a_short_prompt_is_computed_between_the_chunks_of_a_long_one():
    h = house()
    h.submit("long", list(range(60)))
    assert chunk_starts(h, 1) == [[("long", 0)]]
    h.submit("short", [70] * 5)
    assert chunk_starts(h, 2) == [[("short", 0), ("long", 16)], [("long", 27)]]
    h.run()
    h.check_answers()


def test_a_long_prompt_is_passed_over_only_once_however_many_short_ones_come():
    """What short ones leave of a step does not count as a turn of its own."""
    h = house(max_rows=16, cache_tokens=2048)
    h.submit("long", list(range(60)))
    found = []
    for number in range(8):
        h.submit(f"{number}", [70 + number] * 11, tokens=1)
        found += chunk_starts(h, 1)
    firsts = [step[0][0] for step in found]
    assert firsts[:6] == ["0", "long", "1", "long", "2", "long"]
    assert found[0] == [("0", 0), ("long", 0)]
    assert found[1] == [("long", 5)]
    h.run()
    h.check_answers()


def test_a_long_prompt_gets_the_second_row_that_falls_free_however_many_short_ones_wait():
    h = house(max_rows=1, cache_tokens=2048)
    h.submit("long", list(range(60)), tokens=1)
    for number in range(4):
        h.submit(f"{number}", [70 + number] * 5, tokens=1)
    found = [name for step in chunk_starts(h, 30) for name, _ in step]
    assert list(dict.fromkeys(found)) == ["0", "long", "1", "2", "3"]


def test_of_equal_prompts_the_first_to_come_ends_first():
    h = house(cache_tokens=1024)
    for name in "abc":
        h.submit(name, [ord(name)] * 30)
    found = [name for step in chunk_starts(h, 7) for name, _ in step]
    assert list(dict.fromkeys(found)) == ["a", "b", "c"]
    assert found == sorted(found)


def test_a_prompt_waits_for_another_that_computes_their_common_pages():
    h = house(cache_tokens=1024)
    common = list(range(48))
    h.submit("long", [*common, *[90] * 10])
    h.submit("short", [*common, 91])
    h.submit("other", [92] * 40)
    found = [chunk for step in chunk_starts(h, 9) for chunk in step]
    assert [start for name, start in found if name == "short"] == [48]
    h.run()
    h.check_answers()
    assert h.cached == {"long": 0, "short": 48, "other": 0}


def test_the_second_of_two_equal_prompts_comes_from_the_cache():
    h = house()
    prompt = list(range(18))
    h.submit("a", prompt)
    h.submit("b", prompt)
    h.run()
    h.check_answers()
    assert h.cached == {"a": 0, "b": 16}  # four pages of four tokens; the rest is computed


def test_a_whole_prompt_in_full_pages_still_computes_its_last_page():
    h = house()
    h.submit("a", list(range(16)))
    h.run()
    h.submit("b", list(range(16)))
    h.run()
    assert h.cached["b"] == 12
    h.check_answers()


def test_an_answer_is_found_again_when_the_conversation_goes_on():
    h = house()
    h.submit("a", list(range(7)), tokens=12)
    h.run()
    answer = [event.token for event in h.events["a", 0]]
    h.submit("b", [*range(7), *answer, 50, 51])
    h.run()
    # 7 + 12 tokens, of which the last one's keys were never computed: 18 in 4 full pages.
    assert h.cached["b"] == 16
    h.check_answers()


def test_choices_share_the_prompt_and_differ():
    h = house(max_rows=8, prefill_chunk=32)
    h.submit("a", list(range(18)), tokens=6, choices=5)
    h.step()
    stats = h.scheduler.stats()
    # Four full pages shared, and five copies of the fifth.
    assert stats.pages_total - stats.pages_free == 4 + 5
    h.run()
    h.check_answers()
    assert h.cached == {"a": 0}
    assert len({tuple(e.token for e in events) for events in h.events.values()}) == 5


def test_more_choices_than_rows_wait_and_use_the_cache():
    h = house(max_rows=2)
    h.submit("a", list(range(18)), tokens=6, choices=7)
    h.run()
    h.check_answers()
    h.check_empty()


def test_the_youngest_row_is_put_back_and_finishes_all_the_same():
    h = house(context_length=40, cache_tokens=48, max_rows=3)
    for name in "abc":
        h.submit(name, [ord(name)] * 10, tokens=30)
    h.run()
    h.check_answers()
    assert h.scheduler.stats().preemptions > 0
    h.check_empty()


def test_a_deterministic_engine_never_puts_back():
    h = house(context_length=40, cache_tokens=48, max_rows=3, deterministic=True)
    for name in "abc":
        h.submit(name, [ord(name)] * 10, tokens=30, choices=2)
    h.run()
    h.check_answers()
    assert h.scheduler.stats().preemptions == 0


def test_a_prompt_that_is_told_is_computed_and_leaves_its_pages_to_others():
    h = house(cache_tokens=512)
    for name in ("a", "b", "c"):
        h.submit(name, list(range(50)), tokens=2, prompt_logprobs=None if name == "c" else 0)
        h.run()
    h.check_answers()
    assert h.cached == {"a": 0, "b": 0, "c": 48}


def test_all_choices_share_the_prompt_that_the_first_one_tells():
    """Only two have a row at once; the others begin from the cache, which counts as theirs."""
    h = house(max_rows=2, cache_tokens=512)
    h.submit("a", list(range(50)), tokens=3, choices=5, prompt_logprobs=0)
    h.run()
    h.check_answers()
    assert h.scheduler.stats().cached_tokens == 0


@pytest.mark.parametrize("cache_tokens", [80, 256])
@pytest.mark.parametrize("steps", [2, 3, 4, 5])
def test_a_prompt_that_is_put_back_is_told_once(steps, cache_tokens):
    """Its row goes to another caller, amid the prompt or when that is told; its pages too, or they
    are kept."""
    h = house(max_rows=2, cache_tokens=cache_tokens)
    h.submit("short", [70], tokens=50, caller="a")
    h.submit("told", list(range(60)), tokens=4, caller="a", prompt_logprobs=0)
    for _ in range(steps):
        h.step()
    h.submit("other", [80], tokens=50, caller="b")
    h.step()
    assert h.scheduler.stats().preemptions == 1
    assert [each.request.id for each in h.scheduler._queue] == ["told"]
    h.run()
    h.check_answers()


def test_a_deterministic_engine_shares_whole_chunks_only():
    h = house(deterministic=True, prefill_chunk=16)
    h.submit("a", list(range(31)))
    h.run()
    h.submit("b", list(range(31)))
    h.submit("c", list(range(15)))
    h.run()
    assert h.cached == {"a": 0, "b": 16, "c": 0}
    h.check_answers()


def test_cancel_frees_pages_at_once():
    h = house()
    h.submit("a", list(range(10)), tokens=40, choices=3)
    for _ in range(4):
        h.step()
    h.cancel("a", 1)
    h.step()
    h.cancel("a", None)
    h.cancel("a", None)
    assert h.scheduler.stats().running == 0
    h.run()
    h.check_answers()
    h.check_empty()


@st.composite
def stories(draw):
    """An engine's shape and a random sequence of things that happen to it."""
    page_size = draw(st.sampled_from([1, 2, 4, 8]))
    context = draw(st.integers(8, 48))
    config = EngineConfig(
        context_length=context,
        cache_tokens=context + draw(st.integers(0, 64)),
        max_rows=draw(st.integers(1, 6)),
        page_size=page_size,
        prefill_chunk=16,
        deterministic=draw(st.booleans()),
    )
    return config, draw(st.integers(0, 2**32)), draw(st.integers(20, 120))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stories())
def test_invariants_hold_whatever_happens(story):
    """Random arrivals, callers, lengths, shared prefixes, choices and cancels in tiny pools."""
    config, seed, happenings = story
    rng = random.Random(seed)
    callers = "abc"[: rng.randint(1, 3)]
    h = House(config)
    stems = [[rng.randrange(97) for _ in range(config.context_length)] for _ in range(3)]
    for number in range(happenings):
        happening = rng.random()
        if happening < 0.3:
            length = rng.randint(1, config.context_length - 1)
            prompt = list(rng.choice(stems)[:length])
            if rng.random() < 0.5:
                prompt[rng.randrange(length)] = rng.randrange(97)
            h.submit(
                str(number),
                prompt,
                tokens=rng.randint(1, config.context_length - length),
                choices=rng.choice([1, 1, 1, 2, 5]),
                end_ids=frozenset(rng.sample(range(97), rng.choice([0, 0, 10]))),
                caller=rng.choice(callers),
                prompt_logprobs=rng.choice([None, None, 5]),
            )
        elif happening < 0.4 and h.requests:
            name = rng.choice(list(h.requests))
            choices = h.requests[name].choices
            if all(not any(e.finish_reason for e in h.events[name, c]) for c in range(choices)):
                h.cancel(name, rng.choice([None, rng.randrange(choices)]))
        else:
            h.step()
    h.run()
    h.check_answers()
    h.check_empty()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cache_tokens": 60}, "cannot hold one context"),
        ({"page_size": 3}, "power of two"),
        ({"prefill_chunk": 8}, "at least 16"),
        ({"max_rows": 0}, "at least 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(fields, message):
    with pytest.raises(EngineConfigError, match=message):
        house(**fields)
