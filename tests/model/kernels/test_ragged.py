"""The TPU kernel, interpreted on CPU, against the plain backend; and when it is chosen."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.interpreted import interpret_attention
from support.tiny import TINY

from model.attention import PageView, Scoring
from model.backends import Backend, choose_backend
from model.cache import (
    CombinedPages,
    bytes_per_token,
    combined_heads,
    combined_width,
    empty_cache,
)
from model.kernels.ragged import RaggedAttention, attend_combined, reference_combined

HEADS, GROUP, WIDTH, PAGE, POOL, TABLE = 2, 3, 128, 8, 48, 12
TOLERANCES = {"float32": 1e-4, "bfloat16": 2e-2}
SCORINGS = {
    "plain": Scoring(0.09),
    "window and soft cap": Scoring(0.5, window=5, softcap=3.0),
    "sinks": Scoring(0.09, window=11, sinks=jnp.array([[1.0, -2.0, 3.0], [0.0, 40.0, -40.0]])),
}
# Per row: the position of the first token of the step, and how many there are.
STEPS = {
    "decode": [(0, 1), (7, 1), (8, 1), (90, 1)],
    "decode with padding": [(63, 1), (20, 1), (0, 0), (0, 0)],
    "a chunk": [(40, 21)],
    "a padded chunk": [(16, 5)],
    "ragged chunks": [(0, 9), (33, 4), (0, 0), (80, 13)],
}


def case(
    rows: list[tuple[int, int]], dtype: str, width: int = WIDTH, heads: int = HEADS
) -> tuple[jax.Array, CombinedPages, PageView]:
    generator = np.random.default_rng(len(rows))
    length = max(1, *(count for _, count in rows)) + (3 if len(rows) == 1 else 0)
    positions = np.full((len(rows), length), -1, np.int32)
    for row, (start, count) in enumerate(rows):
        positions[row, :count] = np.arange(start, start + count)
    tables = generator.permutation(POOL).reshape(4, TABLE)[: len(rows)].astype(np.int32)
    q = generator.standard_normal((len(rows), length, heads, GROUP, width))
    room = combined_heads(heads, jnp.dtype(dtype))
    pages = generator.standard_normal((POOL, PAGE, 2 * room, combined_width(width)))
    pages[..., width:] = 0.0
    pages[:, :, 2 * heads :] = 0.0
    view = PageView(jnp.asarray(tables), jnp.asarray(positions))
    return jnp.asarray(q, dtype), CombinedPages(jnp.asarray(pages, dtype)), view


def widened(view: PageView) -> PageView:
    """With tables in whole blocks of 128 keys, as the plain backend wants them."""
    tables = jnp.pad(view.tables, ((0, 0), (0, -view.tables.shape[1] % (128 // PAGE))))
    return view._replace(tables=tables)


# Each compiles for seconds: all ragged shapes once, all scorings and dtypes where it matters.
CASES = [
    *((rows, "window and soft cap", "float32") for rows in STEPS),
    ("decode", "plain", "float32"),
    ("decode", "sinks", "float32"),
    ("decode", "window and soft cap", "bfloat16"),
    ("ragged chunks", "window and soft cap", "bfloat16"),
    ("ragged chunks", "sinks", "float32"),
    ("decode with padding", "sinks", "float32"),
    ("decode", "sinks", "bfloat16"),
]


@pytest.fixture(autouse=True)
def _interpreted(monkeypatch):
    interpret_attention(monkeypatch)


@pytest.mark.parametrize(("rows", "scoring", "dtype"), CASES)
def test_the_kernel_agrees_with_the_plain_backend(rows, scoring, dtype):
    q, pool, view = case(STEPS[rows], dtype)
    found = attend_combined(q, pool, view, SCORINGS[scoring])
    wanted = reference_combined(q, pool, widened(view), SCORINGS[scoring])
    real = np.asarray(view.positions) >= 0
    found, wanted = (np.asarray(x, np.float32)[real] for x in (found, wanted))
    assert np.abs(wanted).max() > 0.5
    np.testing.assert_allclose(found, wanted, atol=TOLERANCES[dtype], rtol=0)


@pytest.mark.parametrize(
    ("width", "scoring"), [(64, "window and soft cap"), (96, "sinks"), (160, "window and soft cap")]
)
def test_narrow_heads_are_filled_up(width, scoring):
    q, pool, view = case(STEPS["ragged chunks"], "float32", width)
    found = attend_combined(q, pool, view, SCORINGS[scoring])
    assert found.shape == q.shape
    wanted = reference_combined(q, pool, widened(view), SCORINGS[scoring])
    real = np.asarray(view.positions) >= 0
    np.testing.assert_allclose(found[real], wanted[real], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("heads", "dtype", "scoring"),
    [
        (3, "bfloat16", Scoring(0.5, window=5, softcap=3.0)),
        (3, "float32", Scoring(0.09, window=11, sinks=jnp.arange(9.0).reshape(3, 3) - 4)),
        (5, "float32", Scoring(0.09)),
    ],
    ids=["3 of bfloat16", "3 of float32 with sinks", "5 of float32"],
)
def test_heads_that_fill_no_tile_are_filled_up(heads, dtype, scoring):
    q, pool, view = case(STEPS["ragged chunks"], dtype, 64, heads)
    assert pool.pages.shape[2] > 2 * heads
    found = attend_combined(q, pool, view, scoring)
    assert found.shape == q.shape
    wanted = reference_combined(q, pool, widened(view), scoring)
    real = np.asarray(view.positions) >= 0
    found, wanted = (np.asarray(x, np.float32)[real] for x in (found, wanted))
    assert np.abs(wanted).max() > 0.5
    np.testing.assert_allclose(found, wanted, atol=TOLERANCES[dtype], rtol=0)


@pytest.mark.parametrize(
    ("dtype", "rooms"),
    [
        ("bfloat16", {1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 8: 8, 9: 16, 24: 24}),
        ("float32", {1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 8: 8, 9: 12, 12: 12}),
    ],
)
def test_pages_have_room_for_heads_that_fill_whole_tiles(dtype, rooms):
    assert {heads: combined_heads(heads, jnp.dtype(dtype)) for heads in rooms} == rooms


def test_new_keys_are_in_the_pages_that_are_attended_to():
    """A row whose only key is the one of this step attends to its value alone."""
    q, pool, _ = case([(0, 1)], "float32")
    q = q[:, :1]
    view = PageView(jnp.full((1, TABLE), 5, jnp.int32), jnp.array([[0]], jnp.int32))
    k = jnp.ones((1, 1, HEADS, WIDTH))
    v = jnp.arange(HEADS * WIDTH, dtype=jnp.float32).reshape(1, 1, HEADS, WIDTH)
    out, cache = RaggedAttention(view)(q, k, v, pool, Scoring(1.0))
    np.testing.assert_allclose(out[0, 0], np.repeat(v[0, 0, :, None], GROUP, axis=1), rtol=1e-6)
    before, after = np.asarray(pool.pages), np.array(cache.pages)
    np.testing.assert_array_equal(after[5, 0, ::2], k[0, 0])
    np.testing.assert_array_equal(after[5, 0, 1::2], v[0, 0])
    after[5, 0] = before[5, 0]
    np.testing.assert_array_equal(after, before)


def test_behind_a_devices_own_heads_pages_hold_nothing():
    pages = jnp.zeros((POOL, PAGE, 2 * 4, 128))
    view = PageView(jnp.full((1, TABLE), 5, jnp.int32), jnp.array([[2]], jnp.int32))
    q, ones = jnp.ones((1, 1, 3, GROUP, 64)), jnp.ones((1, 1, 3, 64))
    _, cache = RaggedAttention(view)(q, ones, 2 * ones, CombinedPages(pages), Scoring(1.0))
    written = np.zeros((8, 128))
    written[:6:2, :64], written[1:6:2, :64] = 1, 2
    np.testing.assert_array_equal(cache.pages[5, 2], written)
    assert np.sum(cache.pages) == written.sum()


BFLOAT16 = jnp.dtype("bfloat16")
WIDE = replace(TINY, head_dim=128)


def test_the_kernel_is_chosen_on_tpu_and_only_there():
    for config in (WIDE, replace(WIDE, head_dim=64), replace(WIDE, attention_sinks=True)):
        assert choose_backend(config, "tpu", 2, BFLOAT16).layout == "combined"
    assert choose_backend(WIDE, "cpu", 2, BFLOAT16) == Backend("paged, plain JAX", "by_head", 2)


@pytest.mark.parametrize(
    ("dtype", "heads", "reason"),
    [
        (BFLOAT16, 2, "a device can have one kv head of bfloat16, and here it has 2 of bfloat16"),
        (jnp.dtype("float32"), 1, "and here it has 1 of float32"),
    ],
    ids=["two heads", "a head of float32"],
)
def test_a_fallback_has_its_reason(dtype, heads, reason):
    backend = choose_backend(replace(TINY, head_dim=256), "tpu", heads, dtype)
    assert backend.layout == "by_head"
    assert backend.heads == TINY.num_kv_heads
    assert "head_dim is 256; above 128 " in backend.fallback
    assert reason in backend.fallback


def test_one_wide_head_on_a_device_is_the_kernels():
    backend = choose_backend(replace(TINY, head_dim=256), "tpu", 1, BFLOAT16)
    assert (backend.layout, backend.fallback) == ("combined", "")


# As SmolLM2 135M has them: three devices can divide them, two and four cannot.
NINE_AND_THREE = replace(TINY, num_heads=9, num_kv_heads=3, head_dim=64)


@pytest.mark.parametrize(("held", "room"), [(3, 4), (1, 3)])
def test_three_kv_heads_have_the_kernel_however_they_are_divided(held, room):
    backend = choose_backend(NINE_AND_THREE, "tpu", held, BFLOAT16)
    assert backend == Backend("paged, ragged_paged_attention (Pallas TPU kernel)", "combined", room)
    sizes = {"pages": 2, "page_size": 4, "rows": 1, "table_width": 2, "dtype": BFLOAT16}
    cache = empty_cache(NINE_AND_THREE, layout=backend.layout, heads=backend.heads, **sizes)
    token = sum(pool.pages[0, 0].nbytes for pool in cache.layers)
    assert token == bytes_per_token(NINE_AND_THREE, "combined", BFLOAT16, backend.heads)
    assert token == 2 * 2 * room * 128 * 2
