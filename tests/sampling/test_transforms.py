"""Each rule on numbers that can be checked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sampling import top_k as top_k_rule
from sampling import transforms
from sampling.by_sort import keep_top_k_by_sort, keep_top_p_by_sort
from sampling.transforms import (
    add_bias,
    apply_temperature,
    ban,
    keep_allowed,
    keep_min_p,
    likeliest,
    penalize_repetition,
    subtract_penalties,
)

pytestmark = pytest.mark.usefixtures("quickly")

# Called one by one, their loops would be compiled at every call.
keep_top_k = jax.jit(top_k_rule.keep_top_k)
TOP_K_WAYS = {"selection": keep_top_k, "search": jax.jit(top_k_rule.keep_top_k_by_search)}
keep_top_p = jax.jit(transforms.keep_top_p)
draw = jax.jit(transforms.draw)

# Probabilities 0.5, 0.25, 0.125, 0.125.
HALVES = jnp.log(jnp.array([[0.5, 0.25, 0.125, 0.125]]))
GONE = -jnp.inf


def ids_kept(out: jax.Array) -> list[int]:
    return np.flatnonzero(np.isfinite(out[0])).tolist()


def kept(logits: jax.Array, top_p: float) -> list[int]:
    return ids_kept(keep_top_p(logits, jnp.full(logits.shape[0], top_p, jnp.float32)))


@pytest.fixture(params=TOP_K_WAYS.values(), ids=TOP_K_WAYS)
def way(request):
    """A CPU selects these tests' small k; other platforms search for all."""
    return request.param


def kept_k(way, logits: jax.Array, top_k: int) -> list[int]:
    return ids_kept(way(logits, jnp.full(logits.shape[0], top_k, jnp.int32)))


def rows_of(*rows: list[float]) -> jax.Array:
    return jnp.array(rows, jnp.float32)


# --- bias, penalties, bans -----------------------------------------------------------------


def test_bias_is_added_per_row_and_minus_infinity_removes():
    logits = rows_of([1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4])
    ids = jnp.array([[3, 0, 1], [2, 1, 0], [0, 1, 2]])
    values = rows_of([-1, 5, 7], [GONE, 7, 7], [7, 7, 7])
    out = add_bias(logits, ids, values, jnp.array([2, 1, 0]))
    assert out.tolist() == [[6, 2, 3, 3], [1, 2, GONE, 4], [1, 2, 3, 4]]


def test_bias_of_ids_out_of_range_is_dropped():
    out = add_bias(rows_of([1, 2]), jnp.array([[7, 1]]), rows_of([9, 1]), jnp.array([2]))
    assert out.tolist() == [[1, 3]]


def test_repetition_divides_what_is_positive_and_multiplies_what_is_not():
    logits = rows_of([3, -3, 0, GONE, 3, -3], [3, -3, 0, GONE, 3, -3])
    counts = jnp.array([[1, 2, 1, 1, 0, 0]] * 2)
    prompts = jnp.array([[0b010000]] * 2, jnp.uint32)
    out = penalize_repetition(logits, counts, prompts, rows_of([2.0, 0.0])[0])
    assert out.tolist() == [[1.5, -6, 0, GONE, 1.5, -3], [3, -3, 0, GONE, 3, -3]]
    least = rows_of([2.0**-120] * 2)[0]
    assert np.isfinite(penalize_repetition(logits[:, :3], counts[:, :3], prompts, least)).all()


def test_frequency_counts_and_presence_does_not():
    logits = rows_of([0, 0, 0], [0, 0, 0])
    counts = jnp.array([[0, 1, 4], [0, 1, 4]])
    out = subtract_penalties(logits, counts, rows_of([0.5, 0.0])[0], rows_of([0.25, -2.0])[0])
    assert out.tolist() == [[0, -0.75, -2.25], [0, 2, 2]]


def test_penalties_leave_removed_tokens_removed():
    out = subtract_penalties(
        rows_of([GONE, 1]), jnp.array([[9, 0]]), jnp.array([-2.0]), jnp.array([-2.0])
    )
    assert out.tolist() == [[GONE, 1]]


def test_ban_removes_the_rows_own_ids_where_asked():
    logits = jnp.zeros((3, 4))
    ids = jnp.array([[1, 3, 99], [0, 99, 99], [2, 99, 99]])
    banned = jnp.array([[True, True, True], [False, True, True], [True, False, False]])
    out = ban(logits, ids, banned)
    assert out.tolist() == [[0, GONE, 0, GONE], [0, 0, 0, 0], [0, 0, GONE, 0]]
    out = ban(logits, ids, banned.at[0, 1].set(False))
    assert out.tolist() == [[0, GONE, 0, 0], [0, 0, 0, 0], [0, 0, GONE, 0]]


def test_the_likeliest_is_the_lowest_id_among_equals():
    logits = rows_of([1, 5, 5, 0], [GONE, GONE, -3, -3], [-0.0, 0.0, -1, 0.0], [GONE] * 4)
    assert likeliest(logits).tolist() == [1, 2, 0, 0]


# --- top_k ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("top_k", "ids"),
    [
        (0, [0, 1, 2, 3]),
        (1, [0]),
        (2, [0, 1]),
        (3, [0, 1, 2]),
        (4, [0, 1, 2, 3]),
        (9, [0, 1, 2, 3]),
    ],
)
def test_top_k_keeps_the_first_of_equals(way, top_k, ids):
    assert kept_k(way, HALVES, top_k) == ids


@pytest.mark.parametrize("vocab", [2, 257, 1000])
def test_top_k_of_equal_tokens_keeps_the_lowest_ids(way, vocab):
    for top_k in (1, 2, vocab - 1, vocab):
        assert kept_k(way, jnp.full((1, vocab), -7.5), top_k) == list(range(top_k))


def test_top_k_counts_only_what_is_left(way):
    assert kept_k(way, rows_of([GONE, 1, GONE, 3, 2]), 2) == [3, 4]
    assert kept_k(way, rows_of([GONE, 1, GONE, 3, 2]), 4) == [1, 3, 4]
    assert kept_k(way, rows_of([GONE, GONE]), 1) == []


def test_top_k_tells_neighbouring_floats_apart_on_both_sides_of_zero(way):
    small, large = np.float32(2e-38), np.float32(3e38)
    ladder = [-large, -np.float32(1), -small, small, np.nextafter(small, large), large]
    for top_k in range(1, 6):
        assert kept_k(way, rows_of(ladder), top_k) == list(range(6 - top_k, 6))


def test_top_k_is_per_row(way):
    out = way(jnp.tile(HALVES, (4, 1)), jnp.array([1, 0, 3, 2]))
    assert np.isfinite(out).sum(axis=1).tolist() == [1, 4, 3, 2]


def test_top_k_ranks_by_what_temperature_has_not_rounded(way):
    order = rows_of([100.0, 0.0, 1e-9])
    scores = apply_temperature(order, jnp.array([1.0]))
    assert scores[0, 1] == scores[0, 2]
    assert ids_kept(way(scores, jnp.array([2]), order)) == [0, 2]


@pytest.mark.parametrize("vocab", [2, 100, 256, 3000])
@pytest.mark.parametrize("levels", [0, 3, 40])
def test_top_k_is_what_a_sort_gives(way, vocab, levels):
    generator = np.random.default_rng(vocab + levels)
    logits = generator.normal(size=(8, vocab)) * 5
    if levels:
        logits = generator.integers(-levels, levels, (8, vocab)) / 4
    logits[generator.random((8, vocab)) < 0.2] = -np.inf
    logits = jnp.asarray(logits, jnp.float32)
    top_k = jnp.asarray(generator.integers(0, vocab + 2, 8), jnp.int32)
    np.testing.assert_array_equal(way(logits, top_k), keep_top_k_by_sort(logits, top_k))


# --- top_p ---------------------------------------------------------------------------------


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


def test_top_p_among_tokens_of_equal_weight_keeps_the_higher_logit():
    # exp(−1e−9) is 1 in float32: only the logits tell the two apart.
    logits = rows_of([-1e-9, 0.0, -1.0])
    assert kept(logits, 0.0) == [1]
    assert kept(logits, 0.3) == [1]
    order = rows_of([2.0, 2.0, 3.0, 1.0])
    assert ids_kept(keep_top_p(jnp.zeros((1, 4)), jnp.array([0.5]), order)) == [0, 2]


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_top_p_is_what_a_sort_gives(scale):
    logits = scale * jax.random.normal(jax.random.key(3), (9, 700))
    logits = jnp.where(jax.random.bernoulli(jax.random.key(4), 0.2, (9, 700)), GONE, logits)
    top_p = jnp.array([0.0, 1e-6, 0.1, 0.3, 0.5, 0.8, 0.97, 0.999, 1.0])
    np.testing.assert_array_equal(keep_top_p(logits, top_p), keep_top_p_by_sort(logits, top_p))


@pytest.mark.parametrize(
    ("min_p", "ids"), [(0.0, [0, 1, 3]), (0.2, [0, 1, 3]), (0.3, [0, 3]), (1.0, [3])]
)
def test_min_p_keeps_tokens_a_share_as_likely_as_the_likeliest(min_p, ids):
    logits = jnp.log(rows_of([0.2, 0.1, 0.0, 0.4]))  # 1/2, 1/4, gone, 1
    assert ids_kept(keep_min_p(logits, jnp.array([min_p]))) == ids


def test_min_p_one_keeps_all_that_are_equally_likely():
    assert ids_kept(keep_min_p(rows_of([1e30, 3, 1e30, GONE]), jnp.array([1.0]))) == [0, 2]


# --- temperature and the draw --------------------------------------------------------------


def test_temperature_divides_and_never_overflows():
    logits = jnp.array([[1.0, 3.0], [1e30, -1e30], [3.0, 1.0]])
    out = apply_temperature(logits, jnp.array([0.5, 1e-4, 0.0]))
    np.testing.assert_allclose(out[0], [-4.0, 0.0])
    np.testing.assert_allclose(out[1], [0.0, -2e34])
    np.testing.assert_allclose(out[2], [0.0, -2.0])


def keys(count: int) -> jax.Array:
    return jnp.stack([jnp.full(count, 7, jnp.uint32), jnp.arange(count, dtype=jnp.uint32)], axis=1)


@pytest.mark.parametrize("vocab", [2, 256, 257, 1000])
def test_draw_follows_the_distribution(vocab):
    """Chi-square over 20,000 draws, seed fixed; passes when p > 0.001."""
    count = 20_000
    generator = np.random.default_rng(vocab)
    logits = generator.normal(size=vocab).astype(np.float32)
    logits[generator.integers(0, vocab, vocab // 4)] = -np.inf
    probabilities = np.exp(logits - logits[np.isfinite(logits)].max())
    probabilities /= probabilities.sum()
    drawn = draw(
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


def test_draw_where_everything_is_removed_is_token_0():
    tokens = draw(jnp.full((2, 300), GONE), keys(2), jnp.zeros(2, jnp.int32))
    assert tokens.tolist() == [0, 0]


def test_all_rules_on_a_row_where_everything_is_removed():
    gone = jnp.full((1, 300), GONE)
    half = jnp.array([0.5])
    for out in (
        apply_temperature(gone, half),
        *(way(gone, jnp.array([3])) for way in TOP_K_WAYS.values()),
        keep_top_p(gone, half),
        keep_min_p(gone, half),
    ):
        assert ids_kept(out) == []
        assert not np.isnan(out).any()


# --- masks ---------------------------------------------------------------------------------


def test_only_tokens_whose_bit_is_set_stay_in_rows_that_are_marked():
    """Tokens 1 and 33 of 34: bit 1 of the first word and bit 1 of the second."""
    logits = jnp.ones((2, 34))
    allowed = jnp.array([[0b10, 0b10], [0b10, 0b10]], jnp.uint32)
    out = keep_allowed(logits, allowed, jnp.array([True, False]))
    assert ids_kept(out) == [1, 33]
    assert out[1].tolist() == [1.0] * 34


@pytest.mark.parametrize("vocab", [1, 31, 32, 33, 67, 1000])
def test_masks_are_numpys_little_endian_bits(vocab):
    rng = np.random.default_rng(vocab)
    logits = rng.normal(size=(5, vocab)).astype(np.float32)
    wanted = rng.random((5, vocab)) < 0.4
    padded = np.zeros((5, -(-vocab // 32) * 32), bool)
    padded[:, :vocab] = wanted
    allowed = np.packbits(padded, axis=1, bitorder="little").view("<u4")
    masked = np.array([True, True, False, True, True])
    out = keep_allowed(jnp.asarray(logits), jnp.asarray(allowed), jnp.asarray(masked))
    kept = wanted | ~masked[:, None]
    np.testing.assert_array_equal(np.asarray(out), np.where(kept, logits, -np.inf))
