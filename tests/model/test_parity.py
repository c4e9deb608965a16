"""Every family computes what the reference library computes.

The fixtures are tiny checkpoints as that library writes them, with its logits and greedy
continuations (`tools/make_parity_fixtures.py`). Texts are longer than the windows, and longer
than the contexts before stretching.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from model.cache import Cache, empty_cache
from model.families.registry import FAMILIES
from model.loading import LoadedModel, load_model
from model.mesh import make_mesh
from model.paged import KEYS_PER_TURN
from model.steps import RowTokens, forward, logits, step_inputs

FIXTURES = Path(__file__).parents[1] / "fixtures" / "models"
VARIANTS = sorted(path.name for path in FIXTURES.iterdir() if path.is_dir())
PAGE_SIZE, CHUNK = 16, 16
TOLERANCE = 1e-4
# The context to serve: phi-4-mini's rotary embedding depends on it.
CONTEXT = 128
WIDTH = KEYS_PER_TURN // PAGE_SIZE * (CONTEXT // KEYS_PER_TURN)


class Case:
    """One variant: our model, and what the reference found."""

    def __init__(self, name: str) -> None:
        self.model: LoadedModel = load_model(FIXTURES / name, make_mesh(), "float32")
        self.config = self.model.config.for_context(CONTEXT)
        expected = load_file(FIXTURES / name / "expected.safetensors")
        self.tokens, self.greedy = expected["tokens"], expected["greedy"]
        self.logits = expected["logits"]
        self._step = jax.jit(self._step_impl)

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

    def _step_impl(self, parameters, cache, inputs):
        last, picks = jnp.zeros(2, jnp.int32), jnp.arange(inputs.tokens.shape[1])
        picked, _, cache = forward(self.config, parameters, cache, last, inputs, picks)
        return logits(self.config, parameters, picked), cache

    def step(self, cache: Cache, tokens: Sequence[int], first: int, size: int):
        """Logits after tokens of the second row, in a step of `size`."""
        part = RowTokens(1, first, tokens, np.asarray(cache.tables[1]))
        inputs, _ = step_inputs([part], size, 2, PAGE_SIZE)
        found, cache = self._step(self.model.parameters, cache, inputs)
        return np.asarray(found)[: len(tokens)], cache

    def prefill(self, cache: Cache, first: int, count: int, size: int):
        """Logits after `count` tokens of the text from `first` on."""
        return self.step(cache, self.tokens[first : first + count], first, size)


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
        (last,), cache = case.step(cache, [int(token)], position, 1)
        np.testing.assert_allclose(last, case.logits[position], atol=TOLERANCE)
    found: list[int] = []
    for position in range(len(case.tokens), len(case.tokens) + len(case.greedy)):
        found.append(int(np.argmax(last)))
        (last,), cache = case.step(cache, found[-1:], position, 1)
    assert found == case.greedy.tolist()
