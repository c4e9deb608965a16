"""Attention of a flat batch: every key a token may see and no other, whoever its neighbours are."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from model.attention import Scoring
from model.cache import LayerCache
from model.paged import FOR_ACCELERATORS, FOR_CPU, KEYS_PER_TURN, Sizes, StepView, attend_flat

HEADS, WIDTH, PAGE, TABLE, PAGES = 2, 8, 16, 40, 512
SCALE = 0.5
# Per row the position of its first token of the step, and how many there are.
STEPS = {
    "one token alone": [(0, 1)],
    "one token, far on": [(599, 1)],
    "decode": [(599, 1), (300, 1), (127, 1), (126, 1), (0, 1)],
    "prompts": [(0, 100), (0, 2), (0, 33)],
    "chunks and drafts beside decode": [(520, 1), (40, 1), (500, 70), (128, 5), (3, 2)],
    # The oldest key in sight is the last of the first turn's, and the first of the second's.
    "about a turn's edge": [(227, 1), (226, 1), (227, 2), (226, 2)],
}
SCORINGS = {
    "plain": Scoring(SCALE),
    "window of 100": Scoring(SCALE, window=100),
    "window of 8": Scoring(SCALE, window=8),
    "soft cap": Scoring(SCALE, softcap=2.0),
    "sinks": Scoring(SCALE, sinks=jnp.asarray([[-2.0, 0.5, 3.0], [0.0, 2.0, -1.0]])),
    "all of them": Scoring(
        SCALE, window=100, softcap=2.0, sinks=jnp.asarray([[1.0, 0.5, 3.0], [0.0, 2.0, -1.0]])
    ),
}
NEIGHBOURS = [(599, 1), (410, 1), (300, 1), (40, 1), (38, 1), (500, 70), (0, 40), (80, 3)]


@dataclass(frozen=True)
class Row:
    """What one row brings to a step: the queries of its tokens and its page table."""

    q: np.ndarray
    table: np.ndarray
    first: int


def rows_of(
    steps: list[tuple[int, int]], generator: np.random.Generator, group: int = 3
) -> list[Row]:
    """Rows whose pages are all different, in random order."""
    pages = generator.permutation(PAGES)[: len(steps) * TABLE].astype(np.int32)
    return [
        Row(generator.standard_normal((count, HEADS, group, WIDTH), np.float32), table, first)
        for (first, count), table in zip(steps, pages.reshape(len(steps), TABLE), strict=True)
    ]


def pool(generator: np.random.Generator, bits: type = np.float32) -> LayerCache:
    """A layer's pages full of numbers."""
    keys, values = generator.standard_normal((2, HEADS, PAGES, PAGE, WIDTH), np.float32)
    if bits is np.float32:
        return LayerCache(jnp.asarray(keys), jnp.asarray(values))
    held = (jnp.asarray(part).astype(jnp.bfloat16) for part in (keys, values))
    return LayerCache(*(jax.lax.bitcast_convert_type(part, jnp.uint16) for part in held))


def step(rows: list[Row], tokens: int) -> tuple[np.ndarray, StepView]:
    """The flat batch of `rows`, of which those of one token come first."""
    size, most = tokens, min(tokens, 12)
    q = np.full((size, *rows[0].q.shape[1:]), 7.0, np.float32)
    tables = np.zeros((most, TABLE), np.int32)
    starts, counts = np.full(most, size, np.int32), np.zeros(most, np.int32)
    owners, positions = np.zeros(size, np.int32), np.full(size, -1, np.int32)
    at = 0
    for index, row in enumerate(rows):
        end = at + len(row.q)
        q[at:end], tables[index] = row.q, row.table
        starts[index], counts[index] = at, len(row.q)
        owners[at:end], positions[at:end] = index, np.arange(row.first, row.first + len(row.q))
        at = end
    return q, StepView(*map(jnp.asarray, (tables, starts, counts, owners, positions)))


@pytest.fixture(params=[FOR_ACCELERATORS, FOR_CPU], ids=["for accelerators", "for CPU"])
def sizes(request: pytest.FixtureRequest) -> Sizes:
    """Each way to cut the work."""
    return request.param


@partial(jax.jit, static_argnums=(0, 1))
def _attend(sizes, scoring, sinks, q, cache, view):
    return attend_flat(q, cache, view, scoring._replace(sinks=sinks), sizes)


def attended(
    rows: list[Row], cache: LayerCache, scoring: Scoring, tokens: int, sizes: Sizes
) -> list[np.ndarray]:
    """Each row's results, in a step of `tokens`."""
    q, view = step(rows, tokens)
    out = np.asarray(_attend(sizes, scoring._replace(sinks=None), scoring.sinks, q, cache, view))
    assert np.isfinite(out).all()
    return [out[start : start + len(row.q)] for start, row in zip(view.starts, rows, strict=False)]


def reference(row: Row, cache: LayerCache, scoring: Scoring) -> np.ndarray:
    """Query by query and head by head, in float64."""
    keys, values = cache
    if keys.dtype == jnp.uint16:
        keys, values = (jax.lax.bitcast_convert_type(part, jnp.bfloat16) for part in cache)
    keys, values = (
        np.asarray(part, np.float64)[:, row.table].reshape(HEADS, -1, WIDTH)
        for part in (keys, values)
    )
    out = np.zeros(row.q.shape)
    for token, head, member in np.ndindex(row.q.shape[:3]):
        last = row.first + token
        seen = slice(0 if scoring.window is None else max(0, last - scoring.window + 1), last + 1)
        scores = keys[head, seen] @ row.q[token, head, member].astype(np.float64) * scoring.scale
        if scoring.softcap is not None:
            scores = scoring.softcap * np.tanh(scores / scoring.softcap)
        weights = np.exp(scores)
        sink = 0.0 if scoring.sinks is None else np.exp(float(scoring.sinks[head, member]))
        out[token, head, member] = weights @ values[head, seen] / (weights.sum() + sink)
    return out


def tokens_of(steps: list[tuple[int, int]]) -> int:
    """Tokens of a step with room for some padding."""
    count = sum(count for _, count in steps)
    return count if count == 1 else count + 3


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("scoring", SCORINGS)
def test_attention_agrees_with_the_reference(scoring, steps, sizes):
    generator = np.random.default_rng(1)
    rows, cache = rows_of(STEPS[steps], generator), pool(generator)
    results = attended(rows, cache, SCORINGS[scoring], tokens_of(STEPS[steps]), sizes)
    for row, result in zip(rows, results, strict=True):
        wanted = reference(row, cache, SCORINGS[scoring])
        assert np.abs(wanted).max() > 0.1
        np.testing.assert_allclose(result, wanted, atol=2e-5, rtol=0)


@pytest.mark.parametrize("group", [1, 2, 4])
def test_groups_of_query_heads_share_a_head_of_keys(group, sizes):
    generator = np.random.default_rng(2)
    rows, cache = rows_of([(300, 1), (20, 1), (150, 40)], generator, group), pool(generator)
    for row, result in zip(rows, attended(rows, cache, Scoring(SCALE), 42, sizes), strict=True):
        wanted = reference(row, cache, Scoring(SCALE))
        np.testing.assert_allclose(result, wanted, atol=2e-5, rtol=0)


@pytest.mark.parametrize("scoring", ["plain", "all of them"])
def test_pages_of_bfloat16_are_read_as_they_are(scoring, sizes):
    """The pages' numbers are those that the reference reads; products are in float32."""
    generator = np.random.default_rng(3)
    rows = rows_of([(300, 1), (20, 1), (150, 40)], generator)
    cache = pool(generator, np.uint16)
    results = attended(rows, cache, SCORINGS[scoring], 42, sizes)
    for row, result in zip(rows, results, strict=True):
        wanted = reference(row, cache, SCORINGS[scoring])
        np.testing.assert_allclose(result, wanted, atol=2e-5, rtol=0)


def test_results_have_the_queries_type(sizes):
    generator = np.random.default_rng(4)
    q, view = step(rows_of([(20, 1), (3, 4)], generator), 8)
    cache = pool(generator, np.uint16)
    narrow = jnp.asarray(q, jnp.bfloat16)
    out = attend_flat(narrow, cache, view, Scoring(SCALE), sizes)
    assert out.dtype == jnp.bfloat16
    wide = attend_flat(narrow.astype(jnp.float32), cache, view, Scoring(SCALE), sizes)
    np.testing.assert_array_equal(out[:5], wide.astype(jnp.bfloat16)[:5])


@pytest.mark.parametrize("seed", range(3))
def test_steps_of_random_rows_agree_with_the_reference(seed, sizes):
    generator = np.random.default_rng(seed)
    singles = sorted(generator.integers(0, 620, 6), reverse=True)
    several = [(first, int(generator.integers(2, 70))) for first in generator.integers(0, 500, 3)]
    steps = [(int(first), 1) for first in singles] + [(int(first), n) for first, n in several]
    rows, cache = rows_of(steps, generator), pool(generator)
    scoring = Scoring(SCALE, window=int(generator.integers(1, 400)))
    for row, result in zip(rows, attended(rows, cache, scoring, 220, sizes), strict=True):
        wanted = reference(row, cache, scoring)
        np.testing.assert_allclose(result, wanted, atol=2e-5, rtol=0)


@pytest.mark.parametrize("kept", [(2, 1), (39, 1), (300, 1), (599, 1), (100, 2), (90, 50)])
@pytest.mark.parametrize("scoring", ["plain", "window of 100", "all of them"])
def test_a_row_does_not_depend_on_its_neighbours(scoring, kept, sizes):
    """To the last bit: alone, at any place, and whatever the others' lengths are."""
    generator = np.random.default_rng(5)
    cache = pool(generator)
    mine = rows_of([kept], generator)[0]
    alone = attended([mine], cache, SCORINGS[scoring], 200, sizes)[0]
    for count in range(1, len(NEIGHBOURS) + 1):
        chosen = generator.permutation(len(NEIGHBOURS))[:count]
        others = rows_of([NEIGHBOURS[index] for index in chosen], generator)
        rows = sorted([mine, *others], key=lambda row: (len(row.q) > 1, -row.first))
        results = attended(rows, cache, SCORINGS[scoring], 200, sizes)
        together = next(out for row, out in zip(rows, results, strict=True) if row is mine)
        np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize(
    ("steps", "read"),
    [
        ([(299, 1)], [1, 2]),
        ([(299, 1), (39, 1)], [0, 1, 2]),
        ([(226, 1)], [0, 1]),
        ([(227, 1)], [1]),
        ([(250, 30)], [1, 2]),
        ([(39, 2)], [0]),
        ([(0, 200)], [0, 1]),
    ],
)
def test_turns_that_no_window_reaches_are_not_read(steps, read, sizes):
    """What is not a number spoils a result even with weight 0: a turn that is read shows."""
    generator = np.random.default_rng(6)
    rows, cache = rows_of(steps, generator), pool(generator)
    q, view = step(rows, tokens_of(steps))
    pages = KEYS_PER_TURN // PAGE
    for turn in range(4):
        values = np.array(cache.values)
        for row in rows:
            values[:, row.table[turn * pages : (turn + 1) * pages]] = np.nan
        spoilt = LayerCache(cache.keys, jnp.asarray(values))
        out = _attend(sizes, SCORINGS["window of 100"], None, q, spoilt, view)
        assert np.isnan(out).any() == (turn in read), f"turn {turn}"


@pytest.mark.parametrize("tokens", [1, 2, FOR_CPU.queries + 1])
def test_a_step_of_padding_is_finite(tokens, sizes):
    generator = np.random.default_rng(7)
    nobody = Row(np.empty((0, HEADS, 3, WIDTH), np.float32), np.zeros(TABLE, np.int32), 0)
    attended([nobody], pool(generator), SCORINGS["plain"], tokens, sizes)
