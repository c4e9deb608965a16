"""Engines that see, with the tiny checkpoints of the fixtures: what the reference library answers.

How prompts are cut and whose vectors are kept, `test_scheduling_images.py` tests.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from support.engines import bridged, events_of, request
from support.on_eight_devices import environment
from support.prompts_seen import NAMES, SeenPrompt, seen_prompt
from support.tiny import merged, tiny_adapters
from support.towers import FIXTURES, GEMMA, QWEN, load_tower

from model.loading import LoadedModel, load_model
from model.mesh import make_mesh
from serve.engine.config import EngineConfig
from serve.engine.engine import Engine
from serve.engine.images import check_images
from serve.engine.runner import Runner
from serve.engine.types import EngineInfo, GenerationRequest

CONTEXT, TOLERANCE = 160, 1e-4


def model_of(fixture: str) -> LoadedModel:
    return load_model(FIXTURES / fixture, make_mesh(), "float32")


def engine_that_sees(fixture: str, model: LoadedModel | None = None, **fields) -> Engine:
    model = model or model_of(fixture)
    tower = load_tower(fixture)
    defaults = {
        "context_length": CONTEXT,
        "cache_tokens": 640,
        "max_rows": 4,
        "page_size": 8,
        "prefill_chunk": 16,
        "check_integrity": True,
        "least_rows": 4,
        "image_vectors": 80,
        "whole_image": tower.config.most_tokens if tower.config.sees_ahead else 0,
    }
    config = EngineConfig(**(defaults | fields))
    names = () if model.adapters is None else model.adapters.names
    vocab = model.config.vocab_size
    info = EngineInfo(CONTEXT, vocab, "fp_test", adapters=names, vision=tower.config)
    return Engine(Runner(model, config, tower=tower), config, info)


@contextmanager
def started(engine: Engine) -> Iterator[Engine]:
    engine.start(lambda deliveries: None, lambda report: None, lambda *_: None)
    yield engine
    engine.stop()


@pytest.fixture(scope="module", params=[GEMMA, QWEN])
def engine(request: pytest.FixtureRequest, _quickly: None) -> Iterator[Engine]:
    with started(engine_that_sees(request.param)) as engine:
        yield engine


def fixture_of(engine: Engine) -> str:
    vision = engine.info.vision
    return GEMMA if vision is not None and vision.sees_ahead else QWEN


def asked(prompt: SeenPrompt, tokens: int = 32, **fields) -> GenerationRequest:
    wanted = {name: fields.pop(name) for name in ("prompt_logprobs",) if name in fields}
    plain = request(prompt.tokens, tokens, **({"temperature": 0.0} | fields))
    return replace(plain, images=prompt.images, **wanted)


def looks_of(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the tower's calls from now on."""
    runner = engine._runner
    assert isinstance(runner, Runner)
    whole, sizes = runner._run, list[int]()

    def noted(call, hidden):
        if call.program == "look":
            sizes.append(call.size)
        return whole(call, hidden)

    monkeypatch.setattr(runner, "_run", noted)
    return sizes


async def greedy(bridge, each: GenerationRequest) -> list[int | None]:
    (events,) = await events_of(bridge, each)
    return [event.token for event in events]


async def test_answers_are_the_references(engine):
    prompts = [seen_prompt(fixture_of(engine), name) for name in NAMES]
    async with bridged(engine) as bridge:
        together = await asyncio.gather(*(greedy(bridge, asked(each)) for each in prompts))
        again = [await greedy(bridge, asked(each)) for each in prompts]
    assert together == again == [each.greedy for each in prompts]
    assert engine.stats.compilations == 0


async def test_log_probabilities_of_a_prompt_are_the_references(engine):
    prompt = seen_prompt(fixture_of(engine), "several")
    wanted = prompt.logits.astype(np.float64)
    wanted -= np.log(np.exp(wanted).sum(axis=1, keepdims=True))
    async with bridged(engine) as bridge:
        generation = bridge.submit(asked(prompt, 2, prompt_logprobs=0))
        async for _ in generation:
            pass
    found = np.concatenate([part.logprobs for part in generation.prompt_logprobs])
    after = wanted[np.arange(len(prompt.tokens) - 1), prompt.tokens[1:]]
    np.testing.assert_allclose(found, after, atol=2 * TOLERANCE, rtol=0)


async def test_a_picture_that_comes_again_costs_neither_tower_nor_prefill(engine, monkeypatch):
    prompt = seen_prompt(fixture_of(engine), "last")
    other = replace(prompt.images[0], patches=255 - prompt.images[0].patches, digest=b"other")
    swapped = replace(prompt, images=[other])
    cached, answers = [], []
    async with bridged(engine) as bridge:
        await greedy(bridge, asked(prompt, 1))
        sizes = looks_of(engine, monkeypatch)
        for each in (prompt, swapped, prompt, swapped):
            generation = bridge.submit(asked(each))
            answers.append([event.token async for events in generation for event in events])
            cached.append(generation.cached_tokens)
    whole = (len(prompt.tokens) - 1) // 8 * 8
    before = prompt.images[0].start // 8 * 8
    assert cached == [whole, before, whole, whole]
    assert len(sizes) == 1
    assert answers[0] == answers[2] == prompt.greedy
    assert answers[1] == answers[3] != answers[0]


async def test_choices_share_a_prompt_with_images(engine):
    prompt = seen_prompt(fixture_of(engine), "one")
    async with bridged(engine) as bridge:
        found = await events_of(bridge, asked(prompt, choices=3))
    assert [[event.token for event in choice] for choice in found] == [prompt.greedy] * 3


async def test_drafts_change_no_answer(engine):
    prompt = seen_prompt(fixture_of(engine), "several")
    predicted = replace(asked(prompt), prediction=prompt.greedy)
    async with bridged(engine) as bridge:
        (events,) = await events_of(bridge, predicted)
    assert [event.token for event in events] == prompt.greedy
    assert any(event.predicted for event in events)


async def test_rows_that_are_put_back_are_computed_anew():
    prompts = [seen_prompt(QWEN, name) for name in ("one", "several", "together", "text")]
    with started(engine_that_sees(QWEN, cache_tokens=CONTEXT, prefill_chunk=32)) as engine:
        async with bridged(engine) as bridge:
            found = await asyncio.gather(*(greedy(bridge, asked(each)) for each in prompts))
        assert engine.stats.preemptions
    assert found == [each.greedy for each in prompts]


@pytest.mark.slow
async def test_each_row_sees_through_its_own_adapter():
    model = model_of(QWEN)
    adapted = replace(model, adapters=tiny_adapters(2, config=model.config))
    prompt = seen_prompt(QWEN, "one")
    with started(engine_that_sees(QWEN, adapted)) as engine:
        async with bridged(engine) as bridge:
            each = [asked(prompt, adapter=adapter) for adapter in (None, 0, 1)]
            plain, first, second = await asyncio.gather(*(greedy(bridge, one) for one in each))
    with started(engine_that_sees(QWEN, merged(adapted, 1))) as engine:
        async with bridged(engine) as bridge:
            wanted = await greedy(bridge, asked(prompt))
    assert plain == prompt.greedy
    assert second == wanted
    assert len({tuple(plain), tuple(first), tuple(second)}) == 3


@pytest.mark.parametrize("fixture", [GEMMA, QWEN])
async def test_bits_do_not_depend_on_neighbours(fixture):
    prompt = seen_prompt(fixture, "several")
    mine = {"temperature": 1.2, "seed": 5}
    found = []
    with started(engine_that_sees(fixture, deterministic=True)) as engine:
        async with bridged(engine) as bridge:
            assert await greedy(bridge, asked(prompt)) == prompt.greedy
            for names in ([], ["one", "last"], ["together", "text", "first"]):
                crowd = [greedy(bridge, asked(seen_prompt(fixture, name))) for name in names]
                own = greedy(bridge, asked(prompt, **mine))
                found.append((await asyncio.gather(own, *crowd))[0])
    assert found[0] == found[1] == found[2] != prompt.greedy


async def test_images_that_are_not_the_towers_are_refused(engine):
    prompt = seen_prompt(fixture_of(engine), "one")
    (image,) = prompt.images
    wrong = {
        "the prompt has not token": [replace(image, start=image.start + 1)],
        "the tower makes": [replace(image, tokens=image.tokens - 1)],
        "within the one before it": [image, image],
        "patches are": [replace(image, patches=image.patches[:, 1:])],
    }
    for says, images in wrong.items():
        with pytest.raises(ValueError, match=says):
            engine.submit(replace(asked(prompt), images=images))


def test_a_model_of_text_refuses_images():
    prompt = seen_prompt(QWEN, "one")
    with pytest.raises(ValueError, match="this model sees none"):
        check_images(prompt.images, prompt.tokens, None, EngineConfig(64, 64))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("fixture", [GEMMA, QWEN])
def test_a_mesh_changes_no_answer(fixture):
    command = [sys.executable, "-m", "support.seeing_on_eight_devices", fixture]
    subprocess.run(command, env=environment(), check=True, timeout=250)
