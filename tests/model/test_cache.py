"""Pages of int8, with a scale for each vector."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.tiny import TINY

from model.attention import Scoring
from model.backends import choose_backend
from model.cache import INT8, LayerCache, bytes_per_token, empty_cache, read, write
from model.paged import StepView, attend_flat


def vectors(seed: int, *shape: int) -> jax.Array:
    # Some a thousand times as large as others.
    generator = np.random.default_rng(seed)
    sizes = 10.0 ** generator.uniform(-2, 1, (*shape[:-1], 1))
    return jnp.asarray(sizes * generator.standard_normal(shape), jnp.float32)


def test_each_vector_has_the_numbers_of_its_own_scale():
    cache = empty_cache(TINY, pages=2, page_size=4, rows=1, table_width=2, dtype=INT8)
    keys = cache.layers[0].keys
    assert keys.dtype == jnp.int8
    assert keys.shape[-1] == TINY.head_dim + 4
    new = vectors(0, 3, len(keys), TINY.head_dim).at[1, 0].set(0.0)
    keys = write(keys, new, jnp.asarray([5, 2, 99]))
    found = read(keys, jnp.asarray([[0, 1]]))[:, 0]
    scales = np.abs(new).max(-1, keepdims=True) / 127
    for token, slot in ((0, 5), (1, 2)):
        assert found[:, slot].dtype == jnp.float32
        np.testing.assert_array_less(
            np.abs(found[:, slot] - new[token]),
            0.5001 * scales[token] + np.full_like(new[token], 1e-30),
        )
        # Of each vector the largest number is exact.
        largest = np.abs(new[token]).max(-1)
        np.testing.assert_allclose(np.abs(found[:, slot]).max(-1), largest, rtol=1e-6)
    assert np.count_nonzero(found.any(-1)) == 2 * len(keys) - 1


def test_pages_are_copied_with_their_scales():
    cache = empty_cache(TINY, pages=3, page_size=4, rows=1, table_width=2, dtype=INT8)
    new = vectors(1, 4, len(cache.layers[0].keys), TINY.head_dim)
    pool = cache.layers[0]
    pool = pool._replace(
        keys=write(pool.keys, new, jnp.arange(4)), values=write(pool.values, -new, jnp.arange(4))
    )
    pool = pool.copied(jnp.asarray([0]), jnp.asarray([2]))
    for held in pool:
        np.testing.assert_array_equal(
            read(held, jnp.asarray([[0]])), read(held, jnp.asarray([[2]]))
        )


@pytest.mark.parametrize("tokens", [1, 5])
def test_attention_sees_the_numbers(tokens: int):
    heads, pages, page, width = 2, 6, 4, 16
    new = vectors(2, 2, pages * page, heads, width)
    slots = jnp.arange(pages * page)
    empty = jnp.zeros((heads, pages, page, width + 4), INT8)
    held = LayerCache(*(write(empty, each, slots) for each in new))
    whole = jnp.arange(pages)[None]
    numbers = LayerCache(*(read(pool, whole).reshape(heads, pages, page, width) for pool in held))
    places = [9, 3, 4, 5, 6] if tokens == 5 else [9]
    rows = [0, 1, 1, 1, 1][:tokens]
    counts = [1, tokens]
    view = StepView(
        *map(jnp.asarray, ([[3, 1, 0], [2, 4, 5]], [0, 1], counts, rows)), jnp.asarray(places)
    )
    q = jnp.asarray(np.random.default_rng(1).standard_normal((tokens, 2, 3, width)), jnp.float32)
    scoring = Scoring(0.25)
    np.testing.assert_allclose(
        attend_flat(q, held, view, scoring),
        attend_flat(q, numbers, view, scoring),
        rtol=0,
        atol=1e-6,
    )


@pytest.mark.parametrize("platform", ["cpu", "tpu", "gpu"])
def test_no_kernel_reads_them(platform: str):
    backend: Any = choose_backend(TINY, platform, TINY.num_kv_heads, INT8)
    assert backend.layout == "by_head"
    assert bool(backend.fallback) == (platform != "cpu")
    token = bytes_per_token(TINY, backend.layout, INT8, backend.heads)
    assert token == 2 * TINY.num_layers * TINY.num_kv_heads * (TINY.head_dim + 4)
