"""fp8 by its bits, and a cache of it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.tiny import TINY

from model.attention import Scoring
from model.backends import choose_backend
from model.cache import CombinedPages, LayerCache, empty_cache, read, write
from model.float8 import FP8, float8_bits, of_float8_bits, to_float8
from model.kernels.ragged import write_combined
from model.paged import StepView, attend_flat

NUMBERS = [bits for bits in range(256) if bits & 0x7F != 0x7F]


def test_every_number_comes_back_from_its_bits():
    bits = jnp.asarray(NUMBERS, jnp.uint8)
    numbers = of_float8_bits(bits)
    known = np.asarray(NUMBERS, np.uint8).view(FP8).astype(np.float32)
    np.testing.assert_array_equal(numbers, known)
    np.testing.assert_array_equal(float8_bits(numbers), bits)


def test_what_is_too_large_becomes_the_largest():
    # The smallest number is 2^-9.
    x = jnp.asarray([448.0, 465.0, -1e30, 0.0015])
    np.testing.assert_array_equal(to_float8(x).astype(jnp.float32), [448, 448, -448, 2.0**-9])


def test_pages_hold_the_bits_of_what_is_written():
    cache = empty_cache(TINY, pages=2, page_size=4, rows=1, table_width=2, dtype=FP8)
    keys = cache.layers[0].keys
    assert keys.dtype == jnp.uint8
    new = np.random.default_rng(0).standard_normal((3, *keys.shape[:1], keys.shape[-1]))
    keys = write(keys, jnp.asarray(new, jnp.float32), jnp.asarray([5, 2, 99]))
    found = read(keys, jnp.asarray([[0, 1]]))[:, 0]
    rounded = np.asarray(to_float8(jnp.asarray(new, jnp.float32)), np.float32)
    np.testing.assert_array_equal(found[:, 5], rounded[0])
    np.testing.assert_array_equal(found[:, 2], rounded[1])
    assert np.count_nonzero(found.any(-1)) == 2 * len(keys)


def _pages(seed: int) -> tuple[jax.Array, jax.Array]:
    generator = np.random.default_rng(seed)
    keys, values = (generator.standard_normal((2, 6, 4, 16), np.float32) for _ in range(2))
    return float8_bits(jnp.asarray(keys)), float8_bits(jnp.asarray(values))


def test_attention_sees_the_numbers_of_the_bits():
    keys, values = _pages(0)
    view = StepView(
        *map(jnp.asarray, ([[3, 1, 0], [2, 4, 5]], [0, 1], [1, 4], [0, 1, 1, 1, 1])),
        jnp.asarray([9, 3, 4, 5, 6]),
    )
    q = jnp.asarray(np.random.default_rng(1).standard_normal((5, 2, 3, 16)), jnp.float32)
    scoring = Scoring(0.25)
    held = attend_flat(q, LayerCache(keys, values), view, scoring)
    plain = attend_flat(q, LayerCache(*map(of_float8_bits, (keys, values))), view, scoring)
    np.testing.assert_array_equal(held, plain)


@pytest.mark.parametrize("platform", ["cpu", "tpu", "gpu"])
def test_backends_of_pages_in_fp8(platform):
    backend: Any = choose_backend(TINY, platform, TINY.num_kv_heads, FP8)
    assert backend.layout == ("combined" if platform == "tpu" else "by_head")
    assert ("reads no pages of fp8" in backend.fallback) == (platform == "gpu")


def test_combined_pages_are_written_in_fp8():
    view = StepView(*(jnp.asarray(each) for each in ([[1]], [0], [2], [0, 0], [0, 1])))
    pool = CombinedPages(jnp.zeros((2, 4, 2, 128), FP8))
    k, v = (jnp.full((2, 1, 1, 16), value, jnp.float32) for value in (1000.0, -0.3))
    pages = write_combined(pool, k, v, view).pages.astype(jnp.float32)
    assert pages[1, 0, 0, 0] == 448
    assert pages[1, 1, 1, 15] == jnp.float32(-0.3125)
    assert not pages[1, :, :, 16:].any()
    assert not pages[0].any()
