"""The plain paged backend: every key a query may see and no other, in rows of any length."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from model.attention import KEYS_PER_BLOCK, PageView, Scoring, attend_pages
from model.cache import LayerCache

HEADS, GROUP, WIDTH, PAGE, TABLE, ROWS = 2, 3, 8, 16, 24, 4
SINKS = np.linspace(-2.0, 3.0, HEADS * GROUP, dtype=np.float32).reshape(HEADS, GROUP)
SCALE = 0.5
SCORINGS = {
    "plain": Scoring(SCALE),
    "window of 100": Scoring(SCALE, window=100),
    "window of 8": Scoring(SCALE, window=8),
    "soft cap": Scoring(SCALE, softcap=2.0),
    "sinks": Scoring(SCALE, sinks=jnp.asarray(SINKS)),
    "all of them": Scoring(SCALE, window=100, softcap=2.0, sinks=jnp.asarray(SINKS)),
}
# Per row: the position of the first token of the step, and how many there are; the other rows
# are padding.
STEPS = {
    "decode": [(299, 1), (39, 1)],
    "decode, all far on": [(299, 1), (355, 1), (300, 1), (383, 1)],
    "prefill": [(0, 300), (0, 40)],
    "chunks": [(250, 50), (35, 5), (0, 0), (130, 1)],
    # The oldest key in sight is the last of the first block, and the first of the second.
    "before a block's edge": [(226, 1)],
    "at a block's edge": [(227, 1)],
}


@dataclass(frozen=True)
class Case:
    """Queries of some rows and pages with everything up to them.

    Attributes:
        q: [B, T, K, G, H].
        cache: a layer's pages.
        view: where the tokens are; positions −1 for padding.
    """

    q: np.ndarray
    cache: LayerCache
    view: PageView

    def attend(self, scoring: Scoring) -> np.ndarray:
        return np.asarray(
            _attend(scoring._replace(sinks=None), scoring.sinks, self.q, self.cache, self.view)
        )

    def without_neighbours(self, row: int) -> "Case":
        """With padding in the place of all rows but one."""
        others = np.arange(len(self.q))[:, None] != row
        positions = np.where(others, -1, self.view.positions)
        return Case(self.q, self.cache, PageView(self.view.tables, positions))


@partial(jax.jit, static_argnums=0)
def _attend(scoring, sinks, q, cache, view):
    return attend_pages(q, cache, view, scoring._replace(sinks=sinks))


def case(rows: list[tuple[int, int]]) -> Case:
    generator = np.random.default_rng(len(rows))
    length = max(count for _, count in rows)
    positions = np.full((ROWS, length), -1, np.int32)
    for row, (start, count) in enumerate(rows):
        positions[row, :count] = np.arange(start, start + count)
    tables = generator.permutation(ROWS * TABLE).reshape(ROWS, TABLE)
    q = generator.standard_normal((ROWS, length, HEADS, GROUP, WIDTH), np.float32)
    keys, values = generator.standard_normal((2, HEADS, ROWS * TABLE, PAGE, WIDTH), np.float32)
    return Case(q, LayerCache(keys, values), PageView(tables.astype(np.int32), positions))


def reference(case: Case, scoring: Scoring) -> np.ndarray:
    """Query by query and head by head, in float64; 0 for padding."""
    tables, positions = case.view
    out = np.zeros(case.q.shape)
    for row, token in zip(*np.nonzero(positions >= 0), strict=True):
        last = positions[row, token]
        seen = slice(0 if scoring.window is None else max(0, last - scoring.window + 1), last + 1)
        for head in range(HEADS):
            keys = case.cache.keys[head, tables[row]].reshape(-1, WIDTH)[seen].astype(np.float64)
            values = case.cache.values[head, tables[row]].reshape(-1, WIDTH)[seen]
            for member in range(GROUP):
                scores = keys @ case.q[row, token, head, member] * scoring.scale
                if scoring.softcap is not None:
                    scores = scoring.softcap * np.tanh(scores / scoring.softcap)
                weights = np.exp(scores)
                sink = 0.0 if scoring.sinks is None else np.exp(float(scoring.sinks[head, member]))
                out[row, token, head, member] = weights @ values / (weights.sum() + sink)
    return out


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("scoring", SCORINGS)
def test_attention_agrees_with_the_reference(scoring, step):
    made = case(STEPS[step])
    wanted = reference(made, SCORINGS[scoring])
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(made.attend(SCORINGS[scoring]), wanted, atol=2e-5, rtol=0)


@pytest.mark.parametrize("step", ["decode", "decode, all far on", "prefill", "chunks"])
@pytest.mark.parametrize("scoring", SCORINGS)
def test_a_row_does_not_depend_on_its_neighbours(scoring, step):
    """To the last bit, whichever blocks the others need."""
    made = case(STEPS[step])
    together = made.attend(SCORINGS[scoring])
    for row in range(ROWS):
        alone = made.without_neighbours(row).attend(SCORINGS[scoring])
        np.testing.assert_array_equal(alone[row], together[row])


@pytest.mark.parametrize(
    ("rows", "read"),
    [
        ([(299, 1)], [1, 2]),
        ([(299, 1), (355, 1), (300, 1), (383, 1)], [1, 2]),
        ([(299, 1), (39, 1)], [0, 1, 2]),
        ([(250, 50)], [1, 2]),
        ([(226, 1)], [0, 1]),
        ([(227, 1)], [1]),
        ([(39, 1)], [0]),
    ],
)
def test_blocks_that_no_window_reaches_are_not_read(rows, read):
    """What is not a number spoils a result even with weight 0: a block that is read shows."""
    made = case(rows)
    block_pages = KEYS_PER_BLOCK // PAGE
    for block in range(TABLE // block_pages):
        values = np.array(made.cache.values)
        pages = made.view.tables[:, block * block_pages : (block + 1) * block_pages]
        values[:, pages] = np.nan
        spoilt = Case(made.q, LayerCache(made.cache.keys, values), made.view)
        out = spoilt.attend(SCORINGS["window of 100"])
        assert np.isnan(out).any() == (block in read), f"block {block}"
