"""Prompts with images: how they are cut, whose vectors are kept, which pages are shared.

On a device made of paper, which reads for each token of an image what lies in its slot.
"""

import random
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.executors import AtOnce
from support.paper_device import VOCAB
from support.paper_house import House, house

from sampling.params import SamplingParams
from serve.engine.cache_tiers import CacheTiers
from serve.engine.config import EngineConfig, EngineConfigError
from serve.engine.images import Images
from serve.engine.page_mover import PageMover
from serve.engine.prefix_cache import page_name, page_names
from serve.engine.prompt_images import PromptImage, image_across, images_within
from serve.engine.types import GenerationRequest

IMAGE = VOCAB - 1


def image_of(name: str, start: int, tokens: int) -> PromptImage:
    digest = sha256(name.encode()).digest()
    return PromptImage(start, tokens, np.zeros((tokens, 1), np.uint8), (1, tokens), digest)


def prompt_of(*parts: int | str, lengths: dict[str, int] | None = None):
    """Tokens, and images by names: of a prompt of so many tokens and these images, in order."""
    tokens: list[int] = []
    images: list[PromptImage] = []
    for part in parts:
        if isinstance(part, int):
            tokens += [(7 * len(tokens) + index) % (VOCAB - 1) for index in range(part)]
        else:
            count = (lengths or {}).get(part, 6)
            images.append(image_of(part, len(tokens), count))
            tokens += [IMAGE] * count
    return tokens, images


def asked(*parts: int | str, lengths: dict[str, int] | None = None) -> GenerationRequest:
    prompt, images = prompt_of(*parts, lengths=lengths)
    return GenerationRequest("r", prompt, SamplingParams(), 1, images=images)


def seeing(cache_tiers: CacheTiers | None = None, **fields) -> House:
    return house(cache_tiers, **({"image_vectors": 16, "prefill_chunk": 16} | fields))


def ask(h: House, name: str, *parts: int | str, tokens: int = 5, lengths=None, **fields) -> None:
    prompt, images = prompt_of(*parts, lengths=lengths)
    h.submit(name, prompt, tokens, images=images, **fields)


def cuts(h: House) -> list[list[int]]:
    """Where chunks of prompts end, step by step, until all is answered."""
    found: list[list[int]] = []
    while h.scheduler.has_work or h.running:
        h.step()
        if h.running is not None and h.running[0].prefill:
            found.append([each.start + len(each.tokens) for each in h.running[0].prefill])
    return found


def test_images_are_seen():
    h = seeing()
    ask(h, "a", 3, "cat", 4, "dog", 2)
    ask(h, "b", "cat", 9)
    h.run()
    h.check_answers()
    h.check_empty()


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_picture_that_comes_again_costs_neither_tower_nor_prefill(deterministic):
    h = seeing(deterministic=deterministic, page_size=4)
    for name in ("first", "again"):
        ask(h, name, 5, "cat", 21)
        h.run()
    assert len(h.device.looked) == 1
    assert h.cached == {"first": 0, "again": 16 if deterministic else 28}
    h.check_answers()


def test_another_picture_never_shares_pages():
    h = seeing()
    for name in ("cat", "dog", "cat"):
        ask(h, name, 9, name, 13)
        h.run()
        h.check_answers()
    # Of the page before the one in which the images begin.
    assert h.cached["dog"] == 8
    assert h.cached["cat"] == 24
    assert len(h.device.looked) == 2


def test_pages_with_images_come_back_from_host_memory():
    page = 32
    tiers = CacheTiers(100 * page, page, None, PageMover(None, AtOnce()))
    h = seeing(tiers, cache_tokens=64, context_length=48)
    ask(h, "first", 9, "cat", 21, tokens=1)
    h.run()
    for number in range(2):
        h.submit(f"other {number}", list(range(number, 40 + number)), tokens=1)
        h.run()
    for name, image in (("dog", "dog"), ("again", "cat")):
        ask(h, name, 9, image, 21, tokens=1)
        h.run()
    h.check_answers()
    assert (h.cached["dog"], h.cached["again"]) == (8, 32)
    assert h.scheduler.stats().cache.moved["from_host"]
    assert len(h.device.looked) == 2


def test_names_tell_images_and_their_places_apart():
    tokens = [IMAGE] * 12
    names = [
        page_names(tokens, 4, images=images)
        for images in (
            [],
            [image_of("cat", 0, 12)],
            [image_of("dog", 0, 12)],
            [image_of("cat", 1, 11)],
            [image_of("kitten", 0, 6), image_of("puppy", 6, 6)],
            [image_of("puppy", 0, 6), image_of("kitten", 6, 6)],
        )
    ]
    assert len({name for each in names for name in each}) == 18
    # What comes later changes no name.
    assert page_names(tokens, 4, images=[image_of("cat", 8, 4)])[:2] == names[0][:2]
    assert page_names(tokens, 4)[0] == page_name(b"", tokens[:4])


def test_a_picture_is_looked_at_once_for_all_who_show_it():
    h = seeing(max_rows=4)
    for name in "abcd":
        ask(h, name, ord(name) % 5 + 1, "cat", 3)
    h.run()
    assert len(h.device.looked) == 1
    h.check_answers()


def test_the_longest_unused_picture_goes_first():
    h = seeing(image_vectors=12, page_size=16)
    looked = []
    for number, name in enumerate(["cat", "dog", "cat", "owl", "cat", "dog"]):
        ask(h, f"{number}", 1 + number, name)
        h.run()
        looked.append(len(h.device.looked))
    assert looked == [1, 2, 2, 3, 3, 4]
    h.check_answers()


@pytest.mark.parametrize("deterministic", [False, True])
def test_images_whose_tokens_see_each_other_are_not_cut(deterministic):
    h = seeing(whole_image=12, deterministic=deterministic)
    ask(h, "a", 10, "cat", 11, "dog", 3, lengths={"cat": 12, "dog": 12})
    assert next(iter(cuts(h))) == [10]
    h.check_answers()


def test_others_are_cut_anywhere():
    h = seeing(image_vectors=24)
    ask(h, "a", 10, "cat", 11, lengths={"cat": 12})
    assert cuts(h)[0] == [16]
    h.check_answers()


def test_an_image_longer_than_chunks_goes_through_beside_running_rows():
    h = seeing(prefill_chunk=16, prefill_beside=16, whole_image=24, image_vectors=24)
    h.submit("running", [5], tokens=30)
    h.step()
    ask(h, "a", 3, "cat", 4, lengths={"cat": 24})
    ends = cuts(h)
    assert [3] in ends
    assert [27] in ends
    h.check_answers()


def test_deterministic_chunks_must_hold_an_image():
    with pytest.raises(EngineConfigError, match="prefill_chunk is 16; in deterministic mode"):
        EngineConfig(64, 256, prefill_chunk=16, deterministic=True, whole_image=24)


def deterministic_cuts(*before: tuple[int | str, ...]) -> list[int]:
    """Where the chunks of one prompt end, after or beside others."""
    h = seeing(deterministic=True, whole_image=12, image_vectors=16, max_rows=4)
    lengths = {"cat": 12, "dog": 9, "owl": 12}
    for number, parts in enumerate(before):
        ask(h, f"{number}", *parts, lengths=lengths)
        if number % 2:
            h.run()
    ask(h, "mine", 10, "cat", 11, "dog", 12, lengths=lengths)
    ends: set[int] = set()
    while h.scheduler.has_work or h.running:
        h.step()
        if h.running is not None:
            for chunk in h.running[0].prefill:
                if len(chunk.images) == 2 and chunk.images[0].start == 10:
                    ends |= {chunk.start, chunk.start + len(chunk.tokens)}
    h.check_answers()
    return sorted(ends)


def test_deterministic_cuts_depend_on_the_prompt_alone():
    alone = deterministic_cuts()
    assert alone == [0, 10, 22, 32, 48, 54]
    assert deterministic_cuts((4, "owl"), ("dog", 30), (3, "cat", 2)) == alone
    # What is found up to a place within an image is not begun from there.
    assert deterministic_cuts((10, "cat", 2), (1,)) == alone
    # Those which found pages begin at one of these places.
    begun = deterministic_cuts((1,), (10, "cat", 11, "dog", 12))
    assert set(begun) < set(alone)
    assert begun[0] == 48


def test_pictures_with_choices_prompt_logprobs_and_too_few_pages():
    h = seeing(cache_tokens=64, max_rows=4)
    for number in range(6):
        parts = (number + 1, "cat", 5, "dog" if number % 2 else "owl", 4)
        told = 0 if number == 3 else None
        ask(h, f"{number}", *parts, tokens=20, choices=1 + number % 3, prompt_logprobs=told)
    h.run()
    assert h.scheduler.stats().preemptions
    h.check_answers()
    h.check_empty()


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False), st.booleans(), st.sampled_from([0, 12]))
def test_any_prompts_with_images(rng: random.Random, deterministic: bool, whole: int):
    h = seeing(
        deterministic=deterministic, whole_image=whole, image_vectors=rng.choice([12, 20, 60])
    )
    lengths = {"cat": 12, "dog": 7, "owl": 1}
    for number in range(rng.randrange(1, 9)):
        parts = [rng.choice([1, 2, 5, 9, "cat", "dog", "owl"]) for _ in range(rng.randrange(1, 5))]
        fields = {"tokens": rng.randrange(1, 9), "choices": rng.randrange(1, 3)}
        ask(h, f"{number}", 1, *parts, lengths=lengths, **fields)
        for _ in range(rng.randrange(3)):
            h.step()
    h.run(2000)
    h.check_answers()
    h.check_empty()


def test_room_is_counted_once_for_each_picture():
    images = Images(EngineConfig(64, 256, image_vectors=12))
    cats, dog = asked("cat", "cat", lengths={"cat": 12}), asked("dog", lengths={"dog": 1})
    assert images.chunk_end(cats, 0, 24) == 24
    assert images.fits(cats, 0, 24)
    first, second = images.hold(cats, 0, 24)
    assert first.slots.tolist() == second.slots.tolist()
    assert not images.fits(dog, 0, 1)
    images.begin_step()
    assert images.fits(dog, 0, 1)
    assert images.chunk_end(asked("dog", "cat", lengths={"cat": 12}), 0, 18) == 6


def test_what_others_were_shown_is_not_told_by_time():
    h = seeing()
    for number, scope in enumerate((b"mine", b"yours", b"mine")):
        ask(h, f"{number}", 9, "cat", 5, cache_scope=scope)
        h.run()
    assert len(h.device.looked) == 2
    assert [h.cached[f"{number}"] for number in range(3)] == [0, 0, 16]


def test_images_within_and_across():
    cat, dog = image_of("cat", 3, 4), image_of("dog", 7, 1)
    assert list(images_within([cat, dog], 0, 3)) == []
    assert list(images_within([cat, dog], 6, 7)) == [cat]
    assert list(images_within([cat, dog], 6, 8)) == [cat, dog]
    assert [image_across([cat, dog], place) for place in (3, 4, 6, 7)] == [None, cat, cat, None]
