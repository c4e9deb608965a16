"""Decoders make of prompts with images what the reference library makes of them.

The fixtures are those of `tools/make_vision_fixtures.py`; what towers make of images is the
reference's too, for theirs have tests of their own.
"""

from functools import cache
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.interpreted import interpret_attention
from support.prompts_seen import NAMES, SeenPrompt, seen_prompt, window_of
from support.towers import FIXTURES, GEMMA, QWEN, seen

from model.cache import Cache, PageLayout, empty_cache
from model.loading import load_model
from model.mesh import make_mesh
from model.steps import RowTokens, StepInputs, StepSight, forward, logits, step_inputs
from model.vision.positions import ends, turns

PAGE, TABLE, SIZE, VECTORS = 8, 16, 96, 96
TOLERANCE = 1e-4


class Reader:
    """A model's decoder, in steps of one size."""

    def __init__(self, fixture: str, layout: PageLayout) -> None:
        self.gemma = fixture == GEMMA
        self.layout: PageLayout = layout
        self.fixture = fixture
        self.model = load_model(FIXTURES / fixture, make_mesh(), "float32")
        self._step = jax.jit(self._stepped)

    def _stepped(self, parameters, cache, inputs, sight):
        last, picks = jnp.zeros(2, jnp.int32), jnp.arange(SIZE)
        picked, _, cache = forward(
            self.model.config, parameters, cache, last, inputs, picks, None, sight
        )
        return logits(self.model.config, parameters, picked), cache

    def empty(self) -> Cache:
        cache = empty_cache(
            self.model.config,
            pages=32,
            page_size=PAGE,
            rows=2,
            table_width=TABLE,
            dtype=jnp.dtype("float32"),
            layout=self.layout,
        )
        pages = np.random.default_rng(0).permutation(32).reshape(2, TABLE)
        return cache._replace(tables=jnp.asarray(pages, jnp.int32))

    def vectors(self, prompt: SeenPrompt) -> np.ndarray:
        """[added, V, D]: those of the prompt's images side by side, filled up."""
        found = seen(self.fixture)
        layers = 0 if self.gemma else 2
        of = [np.concatenate([found.vectors[n][None], found.deepstack[n]]) for n in prompt.numbers]
        width = self.model.config.embed_dim
        all_of = np.concatenate([np.zeros((1 + layers, 0, width)), *of], axis=1)
        return np.pad(all_of, ((0, 0), (0, VECTORS - all_of.shape[1]), (0, 0))).astype(np.float32)

    def taken(
        self, cache: Cache, prompt: SeenPrompt, tokens: list[int], start: int
    ) -> tuple[StepInputs, StepSight, slice]:
        """A step of tokens of the second row, beside one of the first; and where they are in it."""
        table = np.asarray(cache.tables)
        beside = RowTokens(0, 3, [7], table[0])
        inputs, firsts = step_inputs([RowTokens(1, start, tokens, table[1]), beside], SIZE, 2, PAGE)
        first, end = firsts[0], firsts[0] + len(tokens)
        places, own = np.full(SIZE, -1, np.int32), np.maximum(inputs.tokens[2], 0)
        turned = np.tile(own, (3, 1))
        made = 0
        for image in prompt.images:
            for index in range(image.tokens):
                if start <= image.start + index < start + len(tokens):
                    places[first + image.start + index - start] = made + index
            made += image.tokens
        own[first:end] = ends(prompt.images, start, len(tokens))
        sight = StepSight(self.vectors(prompt), places, own if self.gemma else None)
        if not self.gemma:
            turned[:, first:end] = turns(prompt.images, 2, start, len(tokens))
            inputs = inputs._replace(turns=turned)
        return inputs, sight, slice(first, end)

    def run(self, cache: Cache, inputs: StepInputs, sight: StepSight) -> tuple[np.ndarray, Cache]:
        """Logits after all tokens of a step."""
        found, cache = self._step(self.model.parameters, cache, inputs, sight)
        return np.asarray(found), cache

    def read(
        self, cache: Cache, prompt: SeenPrompt, tokens: list[int], start: int
    ) -> tuple[np.ndarray, Cache]:
        """Logits after tokens of the second row."""
        inputs, sight, here = self.taken(cache, prompt, tokens, start)
        found, cache = self.run(cache, inputs, sight)
        return found[here], cache

    def whole(self, prompt: SeenPrompt) -> np.ndarray:
        return self.read(self.empty(), prompt, prompt.tokens, 0)[0]


@cache
def reader(fixture: str, layout: PageLayout = "by_head") -> Reader:
    return Reader(fixture, layout)


@pytest.fixture(params=[GEMMA, QWEN])
def fixture(request) -> str:
    return request.param


def assert_same(found: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_every_token_of_a_prompt(fixture, name):
    prompt = seen_prompt(fixture, name)
    assert_same(reader(fixture).whole(prompt), prompt.logits)


def test_prompts_in_chunks_at_images(fixture):
    """Images that are cut where they may be, and in any case read after what came before them."""
    prompt, cache = seen_prompt(fixture, "several"), reader(fixture).empty()
    images = prompt.images
    borders = {0, len(prompt.tokens), 2, *(each.start for each in images)}
    borders |= {each.start + each.tokens + 2 for each in images}
    if fixture == QWEN:
        borders |= {each.start + 3 for each in images}
    edges, found = sorted(borders), []
    for start, end in pairwise(edges):
        part, cache = reader(fixture).read(cache, prompt, prompt.tokens[start:end], start)
        found.append(part)
    assert_same(np.concatenate(found), prompt.logits)


def test_the_rest_of_an_image_sees_what_of_it_is_in_pages(fixture):
    """As it is read where its first pages were found."""
    prompt = seen_prompt(fixture, "one")
    _, cache = reader(fixture).read(reader(fixture).empty(), prompt, prompt.tokens, 0)
    start = prompt.images[0].start + 4
    found, _ = reader(fixture).read(cache, prompt, prompt.tokens[start:], start)
    assert_same(found, prompt.logits[start:])


@pytest.mark.parametrize("name", ["several", "last"])
def test_greedy_answers(fixture, name):
    prompt, cache = seen_prompt(fixture, name), reader(fixture).empty()
    found, tokens = [], prompt.tokens
    start = 0
    for _ in range(len(prompt.greedy)):
        after, cache = reader(fixture).read(cache, prompt, tokens, start)
        start += len(tokens)
        tokens = [int(after[-1].argmax())]
        found += tokens
    assert found == prompt.greedy


def test_images_are_longer_than_windows():
    prompt = seen_prompt(GEMMA, "one")
    assert 0 < window_of(GEMMA) < prompt.images[0].tokens
    assert len(prompt.tokens) > 2 * window_of(GEMMA)


def other_image(inputs: StepInputs, sight: StepSight):
    return inputs, sight._replace(vectors=sight.vectors[:, ::-1])


def by_index(inputs: StepInputs, sight: StepSight):
    return inputs._replace(turns=np.tile(np.maximum(inputs.tokens[2], 0), (3, 1))), sight


def seeing_back_only(inputs: StepInputs, sight: StepSight):
    return inputs, sight._replace(ends=np.maximum(inputs.tokens[2], 0))


def scaled(inputs: StepInputs, sight: StepSight):
    """As Gemma's embeddings are."""
    return inputs, sight._replace(vectors=sight.vectors * np.float32(32**0.5))


def another_layer(inputs: StepInputs, sight: StepSight):
    return inputs, sight._replace(vectors=sight.vectors[[0, 2, 1]])


def without_deepstack(inputs: StepInputs, sight: StepSight):
    return inputs, sight._replace(vectors=sight.vectors * np.array([1, 0, 0])[:, None, None])


@pytest.mark.parametrize(
    ("fixture", "change"),
    [
        (GEMMA, other_image),
        (GEMMA, seeing_back_only),
        (GEMMA, scaled),
        (QWEN, other_image),
        (QWEN, by_index),
        (QWEN, another_layer),
        (QWEN, without_deepstack),
    ],
)
def test_the_prompts_show_what_a_decoder_makes_of_images(fixture, change):
    """Each part changes what comes from an image on by far more than is tolerated."""
    prompt, model = seen_prompt(fixture, "one"), reader(fixture)
    inputs, sight, here = model.taken(model.empty(), prompt, prompt.tokens, 0)
    inputs, sight = change(inputs, sight)
    sight = sight._replace(vectors=sight.vectors.astype(np.float32))
    found = model.run(model.empty(), inputs, sight)[0][here]
    first = prompt.images[0].start
    assert_same(found[:first], prompt.logits[:first])
    assert np.abs(found[first:] - prompt.logits[first:]).max() > 0.05
    assert np.abs(found[-1] - prompt.logits[-1]).max() > 100 * TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_pages_of_the_tpus_kernel_are_read_where_tokens_see_ahead(name, monkeypatch):
    interpret_attention(monkeypatch)
    prompt, model = seen_prompt(GEMMA, name), reader(GEMMA, "combined")
    assert_same(model.whole(prompt), prompt.logits)
