"""Each rule on numbers that can be checked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sampling.transforms import apply_temperature, draw, keep_top_p

# Probabilities 0.5, 0.25, 0.125, 0.125.
HALVES = jnp.log(jnp.array([[0.5, 0.25, 0.125, 0.125]]))


def kept(logits: jax.Array, top_p: float) -> list[int]:
    out = keep_top_p(logits, jnp.full(logits.shape[0], top_p, jnp.float32))
    return np.flatnonzero(np.isfinite(out[0])).tolist()


@pytest.mark.parametrize(
    ("top_p", "ids"),
    [
        (0.0, [0]),
        (0.3, [0]),
        (0.5, [0]),
        (0.51, [0, 1]),
        (0.75, [0, 1]),
        (0.76, [0, 1, 2]),  # a tie: the lower id stays
        (0.9, [0, 1, 2, 3]),
        (1.0, [0, 1, 2, 3]),
    ],
)
def test_top_p_keeps_the_token_that_crosses(top_p, ids):
    assert kept(HALVES, top_p) == ids


def test_top_p_zero_among_ties_keeps_the_lowest_id():
    assert kept(jnp.zeros((1, 600)), 0.0) == [0]


def test_top_p_half_of_equal_tokens_keeps_the_first_half():
    assert kept(jnp.zeros((1, 512)), 0.5) == list(range(256))


def test_top_p_leaves_removed_tokens_removed():
    logits = jnp.array([[0.0, -jnp.inf, -1.0, -jnp.inf]])
    assert kept(logits, 1.0) == [0, 2]
    assert kept(logits, 0.99) == [0, 2]


def test_top_p_is_per_row():
    logits = jnp.tile(HALVES, (3, 1))
    out = keep_top_p(logits, jnp.array([0.0, 0.6, 1.0]))
    assert np.isfinite(out).sum(axis=1).tolist() == [1, 2, 4]


def test_temperature_divides_and_never_overflows():
    logits = jnp.array([[1.0, 3.0], [1e30, -1e30], [3.0, 1.0]])
    out = apply_temperature(logits, jnp.array([0.5, 1e-4, 0.0]))
    np.testing.assert_allclose(out[0], [-4.0, 0.0])
    np.testing.assert_allclose(out[1], [0.0, -2e34])
    np.testing.assert_allclose(out[2], [0.0, -2.0])


def keys(count: int) -> jax.Array:
    return jnp.stack([jnp.full(count, 7, jnp.uint32), jnp.arange(count, dtype=jnp.uint32)], axis=1)


@pytest.mark.parametrize("vocab", [2, 255, 256, 257, 1000])
def test_draw_follows_the_distribution(vocab):
    """Chi-square over 20,000 draws, seed fixed; passes when p > 0.001."""
    count = 20_000
    generator = np.random.default_rng(vocab)
    logits = generator.normal(size=vocab).astype(np.float32)
    logits[generator.integers(0, vocab, vocab // 4)] = -np.inf
    probabilities = np.exp(logits - logits[np.isfinite(logits)].max())
    probabilities /= probabilities.sum()
    drawn = jax.jit(draw)(
        jnp.tile(jnp.asarray(logits), (count, 1)), keys(count), jnp.full(count, 3, jnp.int32)
    )
    counts = np.bincount(drawn, minlength=vocab)
    assert counts[probabilities == 0].sum() == 0
    # Merge rare tokens so that every cell expects at least 5 draws.
    order = np.argsort(-probabilities)
    expected, observed = probabilities[order] * count, counts[order]
    common = int((expected >= 5).sum())
    expected = np.append(expected[:common], expected[common:].sum())
    observed = np.append(observed[:common], observed[common:].sum())
    filled = expected > 0
    statistic = ((observed - expected)[filled] ** 2 / expected[filled]).sum()
    # Wilson–Hilferty: the chi-square quantile at p = 0.001, z = 3.09.
    freedom = max(int(filled.sum()) - 1, 1)
    limit = freedom * (1 - 2 / (9 * freedom) + 3.09 * (2 / (9 * freedom)) ** 0.5) ** 3
    assert statistic < limit


def test_draw_depends_on_key_and_position_only():
    logits = jax.random.normal(jax.random.key(0), (1, 500))
    many = jnp.tile(logits, (8, 1))
    key = jnp.tile(jnp.array([[1, 2]], jnp.uint32), (8, 1))
    tokens = draw(many, key, jnp.arange(8, dtype=jnp.int32))
    assert len(set(tokens.tolist())) > 1
    alone = draw(logits, key[:1], jnp.array([5], jnp.int32))
    assert alone[0] == tokens[5]


def test_draw_of_a_single_possible_token_is_that_token():
    logits = jnp.full((4, 300), -jnp.inf).at[jnp.arange(4), jnp.array([0, 255, 256, 299])].set(-5.0)
    tokens = draw(logits, keys(4), jnp.zeros(4, jnp.int32))
    assert tokens.tolist() == [0, 255, 256, 299]
