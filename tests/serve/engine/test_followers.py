"""A runner that follows another has its bits, and the engine waits for it before it is ready."""

import asyncio
import pickle
from dataclasses import replace

import jax
import numpy as np
from support.counting_grammar import Counting
from support.engines import CONTEXT, bridged, events_of, prompt_of, request
from support.tiny import TINY, tiny_model

from serve.engine.calls import Drawing, Forward
from serve.engine.config import EngineConfig
from serve.engine.engine import Engine
from serve.engine.runner import Runner
from serve.engine.types import EngineInfo, EngineState

CONFIG = EngineConfig(CONTEXT, cache_tokens=112, max_rows=4, page_size=4, prefill_chunk=16)
ENDS = frozenset([0, 66])


class Recorded:
    """Followers that keep what they are sent, as it is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.waited: list[int] = []

    def tell(self, part: Forward | Drawing) -> None:
        self.sent.append(pickle.dumps(part))

    def wait_until_ready(self) -> None:
        self.waited.append(len(self.sent))


def mixture() -> list:
    """Chunked prompts, forks, penalties, biases, masks, log-probabilities, and too few pages."""
    return [
        request(prompt_of(1, 37), 12, temperature=1.1, seed=1, choices=3, logprobs=True),
        request(prompt_of(2, 5), 60, seed=2, frequency_penalty=0.7, logit_bias=((3, 4.0),)),
        request(prompt_of(3, 20), 20, seed=3, constraint=Counting(9, ENDS), end_ids=ENDS),
        request(prompt_of(4, 60), 25, seed=4, top_p=0.8, presence_penalty=1.0, choices=2),
        request(
            prompt_of(5, 16),
            25,
            temperature=0.0,
            seed=5,
            repetition_penalty=1.5,
            min_tokens=4,
            end_ids=ENDS,
        ),
        replace(request(prompt_of(6, 35), 5, seed=6), prompt_logprobs=3),
    ]


async def test_a_follower_that_runs_what_is_told_ends_with_the_same_bits():
    followers = Recorded()
    leader = Runner(tiny_model(), CONFIG, followers)
    engine = Engine(leader, CONFIG, EngineInfo(CONTEXT, TINY.vocab_size, "fp_test"))
    engine.start(lambda deliveries: None, lambda report: None, lambda *_: None)
    assert followers.waited == [0]
    async with bridged(engine) as bridge:
        await asyncio.gather(*(events_of(bridge, each) for each in mixture()))
        assert engine.stats.preemptions
        # Alone, so that its second choice forks at once, amid a page.
        await events_of(bridge, request(prompt_of(7, 37), 5, seed=7, choices=2))
    engine.stop()

    parts = [pickle.loads(sent) for sent in followers.sent]
    assert [type(part) for part in parts] == [Forward, Drawing] * (len(parts) // 2)
    called = {call.program for part in parts[::2] for call in part.calls}
    called |= {call.program for part in parts[1::2] for calls in part.masks for call in calls}
    assert called == {
        *("forward", "prompt_logprobs", "seat", "copy"),
        *("load", "load_bias", "load_prompts", "load_masks", "recount"),
    }

    follower = Runner(tiny_model(), CONFIG)
    follower._programs = leader._programs
    for part in parts:
        follower.run(part)
    here = jax.tree.leaves((leader._rows, leader._cache))
    there = jax.tree.leaves((follower._rows, follower._cache))
    for ours, theirs in zip(here, there, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert np.asarray(leader._rows.counts).any()


async def test_an_engine_that_fails_is_dead_though_its_thread_waits():
    engine = Engine(
        Runner(tiny_model(), CONFIG), CONFIG, EngineInfo(CONTEXT, TINY.vocab_size, "fp_test")
    )
    engine.fail(ConnectionError("process 1 has gone"))
    engine.fail(ConnectionError("process 2 has gone"))
    assert engine.state is EngineState.DEAD
    assert str(engine.death.result()) == "process 1 has gone"
