"""Pages that leave the pool and come back, on a device made of paper.

Its pool has 16 pages of 4 tokens; a page takes 32 bytes.
"""

import random
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.executors import AtOnce, Later
from support.paper_house import House, house

from serve.engine import cache_tiers as tiers_module
from serve.engine.cache_tiers import READ_SECONDS, CacheTiers
from serve.engine.config import EngineConfig
from serve.engine.page_files import PageDirectory
from serve.engine.page_mover import PageMover

POOL = {"cache_tokens": 64, "context_length": 48}
PAGE_BYTES = 32
PROMPT = list(range(40))


@dataclass
class Outside:
    """What is beyond the pool, on threads that a test plays."""

    cache_tiers: CacheTiers
    executor: Later
    now: list[float] = field(default_factory=lambda: [0.0])


def outside(host_pages=0, directory=None, executor=None, page_bytes=PAGE_BYTES) -> Outside:
    executor, now = executor or AtOnce(), [0.0]
    mover = PageMover(directory, executor)
    cache_tiers = CacheTiers(host_pages * page_bytes, page_bytes, directory, mover, lambda: now[0])
    return Outside(cache_tiers, executor, now)


@pytest.fixture
def directory(tmp_path):
    opened = PageDirectory(tmp_path, 2**20)
    opened.made_by("paper")
    yield opened
    opened.close()


def fill(h: House, pages: int, name: str = "other", **fields) -> None:
    """Have so many pages computed that nobody has computed before, eight at a time."""
    for number in range(-(-pages // 8)):
        start = crc32(f"{name} {number}".encode())
        h.submit(f"{name} {number}", [start + place for place in range(32)], tokens=1, **fields)
        h.run()


def ask(h: House, name: str, prompt: list[int] = PROMPT, **fields) -> int:
    """How many tokens of a prompt were found."""
    h.submit(name, prompt, tokens=1, **fields)
    h.run()
    h.check_empty()
    return h.cached[name]


def hits(h: House) -> dict[str, int]:
    found = h.scheduler.stats().cache.hits
    return {f"{tier} {kind}": tokens for (tier, kind), tokens in found.items() if tokens}


def test_what_the_pool_gives_up_is_found_in_host_memory():
    h = house(outside(host_pages=100).cache_tiers, **POOL)
    assert ask(h, "first") == 0
    assert ask(h, "again") == 36
    fill(h, 16)
    assert ask(h, "later") == 36
    h.check_answers()
    assert hits(h) == {"device none": 36, "host none": 36}
    moved = h.scheduler.stats().cache.moved
    assert moved["from_host"] == 9
    fill(h, 16, "more")
    assert ask(h, "much later") == 36
    assert h.scheduler.stats().cache.moved["to_host"] > moved["to_host"]


def test_without_host_memory_it_is_forgotten():
    h = house(outside().cache_tiers, **POOL)
    ask(h, "first")
    fill(h, 16)
    assert ask(h, "later") == 0
    assert h.scheduler.stats().cache.host_bytes == 0


def test_host_memory_has_a_bound():
    h = house(outside(host_pages=10).cache_tiers, **POOL)
    ask(h, "first")
    fill(h, 80)
    assert ask(h, "later") == 0
    assert h.scheduler.stats().cache.host_bytes == 10 * PAGE_BYTES


def test_a_page_that_is_in_host_memory_is_not_copied_again():
    h = house(outside(host_pages=100).cache_tiers, **POOL)
    ask(h, "first")
    for number in range(3):
        fill(h, 16, f"other {number}")
        ask(h, f"again {number}")
    saved = h.scheduler.stats().cache.moved["to_host"]
    # 10 pages of the prompt once, and of three times 16 those that have left.
    assert saved <= 10 + 3 * 16


def test_what_comes_back_is_shared_with_who_comes_in_the_same_step():
    h = house(outside(host_pages=100).cache_tiers, **POOL)
    ask(h, "first")
    fill(h, 16)
    h.submit("one", PROMPT, tokens=3)
    h.submit("two", [*PROMPT[:36], 90, 91], tokens=3)
    h.run()
    h.check_answers()
    assert (h.cached["one"], h.cached["two"]) == (36, 36)
    assert h.scheduler.stats().cache.moved["from_host"] == 9


def test_only_so_much_leaves_at_a_time_and_beginnings_before_ends(monkeypatch):
    monkeypatch.setattr(tiers_module, "MOST_LEAVING_BYTES", 4 * PAGE_BYTES)
    beyond = outside(host_pages=100, executor=Later())
    h = house(beyond.cache_tiers, cache_tokens=48, context_length=48)
    ask(h, "first")
    ask(h, "all", list(range(50, 97)))
    h.check_answers()
    assert len(beyond.cache_tiers._leaving) == 4
    assert h.scheduler.stats().cache.dropped == 6
    beyond.executor.run()
    h.step()
    assert ask(h, "again") == 16


def test_what_is_for_a_day_waits_in_the_pool_for_its_turn_to_leave(directory, monkeypatch):
    monkeypatch.setattr(tiers_module, "MOST_LEAVING_BYTES", 4 * PAGE_BYTES)
    beyond = outside(directory=directory, executor=Later())
    h = house(beyond.cache_tiers, **POOL)
    ask(h, "first", cached_for_days=True)
    for saved in (4, 8, 10):
        assert h.cache_tiers.unsaved
        h.step()
        beyond.executor.run()
        assert len(directory) == saved
    assert not h.cache_tiers.unsaved
    assert h.scheduler.stats().cache.dropped == 0


def test_what_is_for_a_day_leaves_at_once_when_its_room_is_needed(directory):
    beyond = outside(directory=directory)
    h = house(beyond.cache_tiers, **POOL)
    h.submit("first", PROMPT, tokens=1, cached_for_days=True)
    h.submit("all", list(range(50, 97)), tokens=1)
    h.submit("more", list(range(20, 67)), tokens=1)
    h.run()
    h.check_answers()
    assert len(directory) == 10


def test_a_page_that_could_not_be_fetched_is_counted_and_may_be_tried_again(monkeypatch, caplog):
    beyond = outside(host_pages=100)
    h = house(beyond.cache_tiers, **POOL)
    ask(h, "first")

    def fails(_):
        raise RuntimeError("the device is gone")

    monkeypatch.setattr("serve.engine.moves.Gathered.fetch", fails)
    fill(h, 16)
    assert "the device is gone" in caplog.text
    monkeypatch.undo()
    assert ask(h, "second") == 0
    assert h.scheduler.stats().cache.failures["save"] > 0
    fill(h, 16, "more")
    assert ask(h, "third") == 36


@pytest.mark.parametrize("deterministic", [False, True])
def test_pages_survive_a_restart_in_the_directory(directory, deterministic):
    for name, found in (("first", 0), ("after a restart", 32 if deterministic else 36)):
        h = house(outside(directory=directory).cache_tiers, deterministic=deterministic, **POOL)
        assert ask(h, name, cached_for_days=True) == found
        # The moves after the last step.
        h.step()
        h.check_answers()
        assert hits(h) == ({"directory none": found} if found else {})


def test_only_what_asks_for_it_goes_to_the_directory(directory):
    h = house(outside(host_pages=100, directory=directory).cache_tiers, **POOL)
    ask(h, "first")
    fill(h, 16)
    assert len(directory) == 0
    ask(h, "second", cached_for_days=True)
    h.step()
    assert len(directory) == 10
    assert h.scheduler.stats().cache.directory_bytes == directory.size > 10 * PAGE_BYTES


def written(directory) -> None:
    """Have the prompt's pages in the directory."""
    h = house(outside(directory=directory).cache_tiers, **POOL)
    ask(h, "before", cached_for_days=True)
    h.step()


def test_a_deterministic_engine_takes_whole_chunks_only(directory):
    """Of 16 tokens, from wherever, though 36 are there."""
    written(directory)
    beyond = outside(host_pages=100, directory=directory)
    h = house(beyond.cache_tiers, deterministic=True, **POOL)
    assert ask(h, "from the directory") == 32
    fill(h, 16)
    assert ask(h, "from host memory") == 32
    h.check_answers()


def test_while_pages_are_read_one_waits_and_others_go_on(directory):
    written(directory)
    beyond = outside(directory=directory, executor=Later())
    h = house(beyond.cache_tiers, **POOL)
    h.submit("reads", PROMPT, tokens=3)
    h.submit("other", [7, 8, 9], tokens=3)
    for _ in range(10):
        h.step()
    assert not h.events["reads", 0]
    assert h.events["other", 0][-1].finish_reason
    assert h.scheduler.has_work
    assert len(beyond.executor.waiting) == 1
    beyond.executor.run()
    h.run()
    h.check_answers()
    assert h.cached["reads"] == 36


def test_a_choice_that_is_cancelled_while_its_pages_are_read_leaves_nothing(directory):
    written(directory)
    beyond = outside(directory=directory, executor=Later())
    h = house(beyond.cache_tiers, **POOL)
    h.submit("reads", PROMPT, tokens=3)
    h.step()
    h.cancel("reads", None)
    h.step()
    beyond.executor.run()
    h.run()
    h.check_empty()
    assert h.scheduler.stats().pages_free == 16


def test_reading_that_takes_too_long_is_not_waited_for(directory):
    written(directory)
    beyond = outside(directory=directory, executor=Later())
    h = house(beyond.cache_tiers, **POOL)
    h.submit("reads", PROMPT, tokens=3)
    h.step()
    beyond.now[0] = READ_SECONDS
    assert not h.step()
    beyond.now[0] += 0.1
    h.run()
    h.check_answers()
    assert h.cached["reads"] == 0
    assert h.scheduler.stats().cache.failures["read"] == 1
    beyond.executor.run()
    assert ask(h, "later") == 36


def test_only_so_much_is_read_for_who_waits(directory, monkeypatch):
    """And whoever waits for that is computed without in the end."""
    monkeypatch.setattr(tiers_module, "_MOST_WAITING_BYTES", 15 * PAGE_BYTES)
    h = house(outside(directory=directory).cache_tiers, **POOL)
    for name, first in (("one", 0), ("two", 50)):
        ask(h, name, [first, *PROMPT[1:]], cached_for_days=True)
        h.step()
    beyond = outside(directory=directory, executor=Later())
    h = house(beyond.cache_tiers, **POOL)
    for name, first in (("one", 0), ("two", 50)):
        h.submit(name, [first, *PROMPT[1:]], tokens=3)
    h.step()
    assert len(beyond.executor.waiting) == 1
    beyond.executor.run()
    h.step()
    h.step()
    assert len(beyond.executor.waiting) == 1
    beyond.executor.run()
    h.run()
    assert (h.cached["one"], h.cached["two"]) == (36, 36)


def test_a_damaged_file_ends_what_is_found(directory, tmp_path):
    written(directory)
    names = sorted(tmp_path.glob("*.page"))
    assert len(names) == 10
    for path in names:
        path.write_bytes(path.read_bytes()[:-1])
    h = house(outside(directory=directory).cache_tiers, **POOL)
    assert ask(h, "later") == 0
    h.check_answers()
    assert h.scheduler.stats().cache.failures["read"] == 1


@pytest.mark.parametrize(("group", "found"), [("mine", 36), ("", 0)])
def test_a_group_in_use_keeps_its_pages_while_ten_pools_of_others_go_by(group, found):
    h = house(outside().cache_tiers, cache_tokens=128, context_length=48)
    ask(h, "first", cache_group=group)
    for number in range(10):
        fill(h, 32, f"other {number}")
        assert ask(h, f"again {number}", cache_group=group) == found
    h.check_answers()
    assert hits(h) == ({"device grouped": 360} if group else {})


def test_a_group_does_not_stop_rows_that_need_its_pages():
    h = house(outside().cache_tiers, **POOL)
    ask(h, "first", cache_group="mine")
    h.submit("all", list(range(50, 90)), tokens=8)
    h.submit("more", list(range(40, 80)), tokens=8)
    h.run()
    h.check_answers()
    assert h.scheduler.stats().preemptions == 0


def test_the_same_group_of_another_scope_is_another():
    h = house(outside().cache_tiers, cache_tokens=256, context_length=48)
    ask(h, "first", cache_group="mine", cache_scope=b"a")
    ask(h, "second", [90, *PROMPT[1:]], cache_group="mine", cache_scope=b"b")
    fill(h, 128)
    assert ask(h, "third", cache_group="mine", cache_scope=b"b") == 0
    assert ask(h, "fourth", cache_group="mine", cache_scope=b"a") == 36


def seen(scope: bytes, sent_before: bool, seed: int, directory=None) -> tuple[int, int]:
    """What a caller of scope `b` sees of its prompt: tokens found, and tokens computed.

    Args:
        scope: of the one who has sent prompts before.
        sent_before: whether the same prompt was among them.
        seed: of everything else.
        directory: of pages.
    """
    rng = random.Random(seed)
    h = house(outside(host_pages=8, directory=directory).cache_tiers, **POOL)
    prompt = [rng.randrange(97) for _ in range(rng.randint(8, 40))]
    another = [97 + token for token in prompt]
    for number in range(rng.randint(1, 4)):
        asked = prompt if sent_before else another
        ask(h, f"theirs {number}", asked, cache_scope=scope, cached_for_days=True)
        fill(h, rng.choice([0, 8, 16]), f"noise {number}", cache_scope=scope)
    h.submit("mine", prompt, tokens=1, cache_scope=b"b")
    computed = 0
    while h.scheduler.has_work or h.running:
        h.step()
        computed += h.running[0].prefill_tokens if h.running else 0
    return h.cached["mine"], computed


def p_value(one: list[int], other: list[int]) -> float:
    """Of the difference of two means, by 10,000 permutations."""
    both = np.array([*one, *other], float)
    rng = np.random.default_rng(0)
    shuffled = rng.permuted(np.tile(both, (10_000, 1)), axis=1)
    count = len(one)
    differences = shuffled[:, :count].mean(axis=1) - shuffled[:, count:].mean(axis=1)
    seen_difference = both[:count].mean() - both[count:].mean()
    as_large = np.abs(differences) >= np.abs(seen_difference) - 1e-9
    return (1 + as_large.sum()) / (1 + len(differences))


@pytest.mark.parametrize("with_directory", [False, True])
def test_nobody_learns_of_prompts_of_another_scope(with_directory, tmp_path):
    """Neither from `cached_tokens` nor from how much is computed, on which the time depends.

    Forty prompts each that the other has sent, and has not. Of one scope a permutation test tells
    them apart with p < 0.001; of two they are the same, which is p = 1.
    """
    found: dict[bytes, list[list[tuple[int, int]]]] = {b"a": [], b"b": []}
    for scope, samples in found.items():
        for sent in (False, True):
            each = []
            for seed in range(40):
                directory = None
                if with_directory:
                    directory = PageDirectory(tmp_path / f"{scope}{sent}{seed}", 2**20)
                each.append(seen(scope, sent, seed, directory))
                if directory is not None:
                    directory.close()
            samples.append(each)
    for what in (0, 1):
        without, with_it = ([values[what] for values in sample] for sample in found[b"b"])
        assert p_value(without, with_it) < 0.001
        without, with_it = ([values[what] for values in sample] for sample in found[b"a"])
        assert without == with_it
        assert p_value(without, with_it) == 1


@st.composite
def stories(draw):
    """An engine's shape, what is beyond its pool, and a random sequence of happenings."""
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
    shape = draw(st.sampled_from([0, 3, 50])), draw(st.booleans())
    return config, shape, draw(st.integers(0, 2**32)), draw(st.integers(20, 120))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(stories())
def test_invariants_hold_wherever_pages_are(tmp_path_factory, story):
    """As in `test_scheduler.py`, with groups, restarts, and threads that come late or never."""
    config, (host_pages, has_directory), seed, happenings = story
    rng = random.Random(seed)
    directory = None
    if has_directory:
        limit = rng.choice([400, 2**20])
        directory = PageDirectory(tmp_path_factory.mktemp("pages"), limit)
    stems = [[rng.randrange(97) for _ in range(config.context_length)] for _ in range(3)]
    for _ in range(2):
        page_bytes = 8 * config.page_size
        beyond = outside(host_pages, directory, Later(), page_bytes)
        h = House(config, beyond.cache_tiers)
        for number in range(happenings):
            happening = rng.random()
            if happening < 0.3:
                length = rng.randint(1, config.context_length - 1)
                h.submit(
                    str(number),
                    rng.choice(stems)[:length],
                    tokens=rng.randint(1, config.context_length - length),
                    choices=rng.choice([1, 1, 2]),
                    caller=rng.choice("ab"),
                    cache_group=rng.choice(["", "g", "h"]),
                    cached_for_days=rng.random() < 0.5,
                )
            elif happening < 0.4 and h.requests:
                name = rng.choice(list(h.requests))
                if not any(
                    event.finish_reason
                    for choice in range(h.requests[name].choices)
                    for event in h.events[name, choice]
                ):
                    h.cancel(name, None)
            elif happening < 0.6:
                beyond.executor.run(rng.randint(1, 3))
                beyond.now[0] += rng.choice([0, 1, 6])
            else:
                h.step()
        while h.scheduler.has_work or h.running:
            h.step()
            beyond.now[0] += 1
        h.check_answers()
        h.check_empty()
        h.step()
        beyond.executor.run()
        h.step()
        assert not h.cache_tiers._leaving
    if directory is not None:
        directory.close()
