"""The TPU kernel, interpreted on CPU, against the plain backend; and when it is chosen."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.interpreted import interpret_attention
from support.step_views import Rows, step_view
from support.tiny import TINY

from model.attention import Scoring
from model.backends import Backend, choose_backend
from model.cache import (
    CombinedPages,
    LayerCache,
    bytes_per_token,
    combined_heads,
    combined_width,
    empty_cache,
)
from model.kernels.ragged import RaggedAttention, attend_ahead, attend_combined, view_of
from model.paged import StepView, attend_flat

HEADS, GROUP, WIDTH, PAGE, POOL, TABLE = 2, 3, 128, 8, 48, 12
TOLERANCES = {"float32": 1e-4, "bfloat16": 2e-2}
SCORINGS = {
    "plain": Scoring(0.09),
    "window and soft cap": Scoring(0.5, window=5, softcap=3.0),
    "sinks": Scoring(0.09, window=11, sinks=jnp.array([[1.0, -2.0, 3.0], [0.0, 40.0, -40.0]])),
}
# Tokens of the program, and of each row.
STEPS: dict[str, tuple[int, Rows]] = {
    "decode": (4, [(90, 1), (8, 1), (7, 1), (0, 1)]),
    "decode with padding": (4, [(63, 1), (20, 1)]),
    "a chunk": (21, [(40, 21)]),
    "a padded chunk": (8, [(16, 5)]),
    "chunks": (32, [(0, 9), (33, 4), (80, 13)]),
    "decode beside chunks": (48, [(90, 1), (7, 1), (0, 9), (33, 34)]),
    "padding alone": (4, []),
}
MOST_ROWS = 4


def view_of_rows(size: int, rows: Rows) -> StepView:
    tables = np.random.default_rng(len(rows)).permutation(POOL).reshape(MOST_ROWS, TABLE)
    return step_view(size, rows, tables)


def case(
    step: str, dtype: str, width: int = WIDTH, heads: int = HEADS
) -> tuple[jax.Array, CombinedPages, StepView]:
    generator = np.random.default_rng(7)
    size, rows = STEPS[step]
    q = generator.standard_normal((size, heads, GROUP, width))
    room = combined_heads(heads, jnp.dtype(dtype))
    pages = generator.standard_normal((POOL, PAGE, 2 * room, combined_width(width)))
    pages[..., width:] = 0.0
    pages[:, :, 2 * heads :] = 0.0
    pool = CombinedPages(jnp.asarray(pages, dtype))
    return jnp.asarray(q, dtype), pool, view_of_rows(size, rows)


def widened(view: StepView) -> StepView:
    """With tables in whole blocks of 128 keys, as the plain backend wants them."""
    tables = jnp.pad(view.tables, ((0, 0), (0, -view.tables.shape[1] % (128 // PAGE))))
    return view._replace(tables=tables)


def compared(
    q: jax.Array, pool: CombinedPages, view: StepView, scoring: Scoring
) -> tuple[np.ndarray, np.ndarray]:
    """What the kernel and the plain backend find for tokens that are no padding."""
    real = np.asarray(view.positions) >= 0
    found = attend_combined(q, pool, view, scoring)
    assert found.shape == q.shape
    wanted = attend_flat(q, pool, widened(view), scoring)
    found, wanted = (np.asarray(x, np.float32)[real] for x in (found, wanted))
    assert np.abs(wanted).max() > 0.5
    return found, wanted


# Each compiles for seconds: all ragged shapes once, all scorings and dtypes where it matters.
CASES = [
    *((step, "window and soft cap", "float32") for step in STEPS if STEPS[step][1]),
    ("decode", "plain", "float32"),
    ("decode", "sinks", "float32"),
    ("decode beside chunks", "window and soft cap", "bfloat16"),
    ("decode beside chunks", "sinks", "float32"),
    ("decode with padding", "sinks", "float32"),
    ("decode", "sinks", "bfloat16"),
]


@pytest.fixture(autouse=True)
def _interpreted(monkeypatch):
    interpret_attention(monkeypatch)


@pytest.mark.parametrize(("step", "scoring", "dtype"), CASES)
def test_the_kernel_agrees_with_the_plain_backend(step, scoring, dtype):
    found, wanted = compared(*case(step, dtype), SCORINGS[scoring])
    np.testing.assert_allclose(found, wanted, atol=TOLERANCES[dtype], rtol=0)


@pytest.mark.parametrize("scoring", ["plain", "sinks"])
def test_a_step_of_padding_alone_ends(scoring):
    q, pool, view = case("padding alone", "float32")
    assert attend_combined(q, pool, view, SCORINGS[scoring]).shape == q.shape


@pytest.mark.parametrize(
    ("width", "scoring"), [(64, "window and soft cap"), (96, "sinks"), (160, "window and soft cap")]
)
def test_narrow_heads_are_filled_up(width, scoring):
    found, wanted = compared(*case("decode beside chunks", "float32", width), SCORINGS[scoring])
    np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=0)


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
    q, pool, view = case("decode beside chunks", dtype, 64, heads)
    assert pool.pages.shape[2] > 2 * heads
    found, wanted = compared(q, pool, view, scoring)
    np.testing.assert_allclose(found, wanted, atol=TOLERANCES[dtype], rtol=0)


# Of 16 tokens: a row in two parts or in three, parts that end where a row does, padding alone.
CUT = {
    "decode beside a chunk": [(30, 1), (8, 1), (7, 1), (20, 13)],
    "a chunk": [(5, 16)],
    "chunks": [(0, 2), (33, 6), (80, 4)],
    "a row": [(12, 1)],
    "nothing": [],
}


@pytest.mark.parametrize("parts", [2, 4, 8])
@pytest.mark.parametrize("rows", CUT)
def test_a_part_of_a_steps_tokens_is_a_step_by_itself(rows, parts):
    whole = view_of_rows(16, CUT[rows])
    tables, owners, positions = map(np.asarray, (whole.tables, whole.rows, whole.positions))
    size = 16 // parts
    for first in range(0, 16, size):
        mine = [token for token in range(first, first + size) if positions[token] >= 0]
        # Owners of these tokens in order, where each one's begin, and how many they are.
        there = list(dict.fromkeys(owners[token] for token in mine))
        begins = [min(t for t in mine if owners[t] == row) - first for row in there]
        counts = [sum(owners[t] == row for t in mine) for row in there]
        part = view_of(whole, jnp.arange(first, first + size))
        none = min(MOST_ROWS, size) - len(there)
        assert part.starts.tolist() == begins + [size] * none
        assert part.counts.tolist() == counts + [0] * none
        np.testing.assert_array_equal(part.tables[: len(there)], tables[there])
        assert (np.asarray(part.tables) < POOL).all()
        np.testing.assert_array_equal(part.positions, positions[first : first + size])
        assert [there[part.rows[t - first]] for t in mine] == [owners[t] for t in mine]


def test_parts_of_a_step_attend_as_the_whole_does():
    """The second part begins amid the prompt's chunk."""
    q, pool, view = case("decode beside chunks", "float32")
    scoring = SCORINGS["window and soft cap"]
    found = [
        attend_combined(q[part], pool, view_of(view, part), scoring)
        for part in (jnp.arange(24), jnp.arange(24, 48))
    ]
    wanted = attend_flat(q, pool, widened(view), scoring)
    real = np.asarray(view.positions) >= 0
    np.testing.assert_allclose(np.concatenate(found)[real], wanted[real], atol=1e-4, rtol=0)


@pytest.mark.parametrize("parts", [1, 2, 4, 8])
@pytest.mark.parametrize("rows", CUT)
def test_tokens_that_see_ahead_do_so_whichever_part_of_a_step_they_are_in(rows, parts):
    """Against the plain backend's own pages: each token sees up to the end of its three."""
    q, pool, _ = case("a chunk", "float32")
    q, scoring = q[:16], SCORINGS["window and soft cap"]
    view = widened(view_of_rows(16, CUT[rows]))
    lengths = (view.positions[view.starts] + view.counts)[view.rows]
    view = view._replace(ends=jnp.minimum(view.positions // 3 * 3 + 2, lengths - 1))
    by_head = jnp.moveaxis(pool.pages, 2, 0)
    wanted = attend_flat(q, LayerCache(by_head[::2], by_head[1::2]), view, scoring)
    tokens = jnp.arange(16).reshape(parts, -1)
    found = [attend_ahead(q[part], pool, view_of(view, part), scoring) for part in tokens]
    real = np.asarray(view.positions) >= 0
    np.testing.assert_allclose(np.concatenate(found)[real], wanted[real], atol=1e-5, rtol=0)
    back_only = attend_flat(q, pool, view._replace(ends=None), scoring)
    assert rows in ("a row", "nothing") or np.abs(back_only - wanted)[real].max() > 0.1


@pytest.mark.parametrize(
    ("dtype", "rooms"),
    [
        ("bfloat16", {1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 8: 8, 9: 16, 24: 24}),
        ("float32", {1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 8: 8, 9: 12, 12: 12}),
    ],
)
def test_pages_have_room_for_heads_that_fill_whole_tiles(dtype, rooms):
    assert {heads: combined_heads(heads, jnp.dtype(dtype)) for heads in rooms} == rooms


def alone(position: int) -> StepView:
    """One token of a row whose pages are all page 5."""
    view = view_of_rows(1, [(position, 1)])
    return view._replace(tables=jnp.full((MOST_ROWS, TABLE), 5, jnp.int32))


def test_new_keys_are_in_the_pages_that_are_attended_to():
    """A row whose only key is the one of this step attends to its value alone."""
    q, pool, _ = case("decode", "float32")
    k = jnp.ones((1, 1, HEADS, WIDTH))
    v = jnp.arange(HEADS * WIDTH, dtype=jnp.float32).reshape(1, 1, HEADS, WIDTH)
    out, cache = RaggedAttention(alone(0))(q[:1, None], k, v, pool, Scoring(1.0))
    np.testing.assert_allclose(out[0, 0], np.repeat(v[0, 0, :, None], GROUP, axis=1), rtol=1e-6)
    before, after = np.asarray(pool.pages), np.array(cache.pages)
    np.testing.assert_array_equal(after[5, 0, ::2], k[0, 0])
    np.testing.assert_array_equal(after[5, 0, 1::2], v[0, 0])
    after[5, 0] = before[5, 0]
    np.testing.assert_array_equal(after, before)


def test_padding_is_written_nowhere():
    _, pool, view = case("padding alone", "float32")
    q, ones = jnp.ones((4, 1, HEADS, GROUP, WIDTH)), jnp.ones((4, 1, HEADS, WIDTH))
    _, cache = RaggedAttention(view)(q, ones, ones, pool, Scoring(1.0))
    np.testing.assert_array_equal(cache.pages, pool.pages)


def test_behind_a_devices_own_heads_pages_hold_nothing():
    pages = jnp.zeros((POOL, PAGE, 2 * 4, 128))
    q, ones = jnp.ones((1, 1, 3, GROUP, 64)), jnp.ones((1, 1, 3, 64))
    _, cache = RaggedAttention(alone(2))(q, ones, 2 * ones, CombinedPages(pages), Scoring(1.0))
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
