"""Every family computes what the reference library computes.

The fixtures are tiny checkpoints as that library writes them, with its logits and greedy
continuations (`tools/make_parity_fixtures.py`). Texts are longer than the windows, and longer
than the contexts before stretching.
"""

import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from model.attention import KEYS_PER_BLOCK
from model.cache import Cache, empty_cache
from model.families.registry import FAMILIES
from model.loading import LoadedModel, load_model
from model.mesh import make_mesh
from model.parameters import decoder_with
from model.steps import decode, forward_pages

FIXTURES = Path(__file__).parents[1] / "fixtures" / "models"
VARIANTS = sorted(path.name for path in FIXTURES.iterdir() if path.is_dir())
PAGE_SIZE, CHUNK = 16, 16
TOLERANCE = 1e-4
# The context to serve: phi-4-mini's rotary embedding depends on it.
CONTEXT = 128
WIDTH = KEYS_PER_BLOCK // PAGE_SIZE * (CONTEXT // KEYS_PER_BLOCK)


class Case:
    """One variant: our model, and what the reference found."""

    def __init__(self, name: str) -> None:
        self.model: LoadedModel = load_model(FIXTURES / name, make_mesh(), "float32")
        self.config = self.model.config.for_context(CONTEXT)
        expected = load_file(FIXTURES / name / "expected.safetensors")
        self.tokens, self.greedy = expected["tokens"], expected["greedy"]
        self.logits = expected["logits"]
        self._forward = jax.jit(self._forward_impl)
        self._decode = jax.jit(partial(decode, self.config))

    def cache(self) -> Cache:
        empty = empty_cache(
            self.config,
            pages=2 * WIDTH,
            page_size=PAGE_SIZE,
            rows=2,
            table_width=WIDTH,
            dtype=jnp.dtype("float32"),
        )
        # Pages in no order, and another row's between them.
        pages = np.random.default_rng(0).permutation(2 * WIDTH).reshape(2, WIDTH)
        empty = empty._replace(tables=jnp.asarray(pages, jnp.int32))
        # Where the programs' own results lie: else the second call would compile again.
        return jax.device_put(empty, jax.devices()[0])

    def _forward_impl(self, parameters, cache, tokens, positions):
        decoder = decoder_with(self.config, parameters)
        hidden, cache = forward_pages(decoder, cache, tokens, positions, jnp.asarray([1]))
        return decoder.logits(hidden)[0], cache

    def prefill(self, cache: Cache, first: int, count: int, length: int):
        """Logits after `count` tokens from `first` on, in a chunk padded to `length`."""
        tokens, positions = np.zeros((1, length), np.int32), np.full((1, length), -1, np.int32)
        tokens[0, :count] = self.tokens[first : first + count]
        positions[0, :count] = np.arange(first, first + count)
        logits, cache = self._forward(self.model.parameters, cache, tokens, positions)
        return np.asarray(logits)[:count], cache

    def step(self, cache: Cache, token: int, position: int):
        page = int(cache.tables[1, position // PAGE_SIZE])
        rows = np.array([[1], [position], [page]], np.int32)
        last = np.array([0, token], np.int32)
        logits, cache = self._decode(self.model.parameters, cache, last, rows)
        return np.asarray(logits)[0], cache


@pytest.fixture(scope="module", params=VARIANTS)
def case(request) -> Case:
    return Case(request.param)


def test_every_family_has_a_fixture():
    named = {
        json.loads((FIXTURES / name / "config.json").read_text())["architectures"][0]
        for name in VARIANTS
    }
    assert named == set(FAMILIES)


def test_one_prefill(case: Case):
    logits, _ = case.prefill(case.cache(), 0, len(case.tokens), len(case.tokens))
    np.testing.assert_allclose(logits, case.logits, atol=TOLERANCE)


def test_chunked_prefill(case: Case):
    cache, found = case.cache(), []
    for first in range(0, len(case.tokens), CHUNK):
        count = min(CHUNK, len(case.tokens) - first)
        # Padded to the length of the test above: the same program.
        logits, cache = case.prefill(cache, first, count, len(case.tokens))
        found.append(logits)
    np.testing.assert_allclose(np.concatenate(found), case.logits, atol=TOLERANCE)


def test_decode_then_greedy(case: Case):
    cache = case.cache()
    last = np.zeros(case.model.config.vocab_size)
    for position, token in enumerate(case.tokens):
        last, cache = case.step(cache, int(token), position)
        np.testing.assert_allclose(last, case.logits[position], atol=TOLERANCE)
    found: list[int] = []
    for position in range(len(case.tokens), len(case.tokens) + len(case.greedy)):
        found.append(int(np.argmax(last)))
        last, cache = case.step(cache, found[-1], position)
    assert found == case.greedy.tolist()
