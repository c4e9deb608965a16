"""Log-probabilities of raw logits."""

import jax.numpy as jnp
import numpy as np

from sampling.logprobs import log_probabilities, ranked_logprobs, top_logprobs


def test_by_hand():
    logits = jnp.log(jnp.array([[0.125, 0.5, 0.125, 0.25]])) + 10
    sampled, ids, values = top_logprobs(logits, jnp.array([2]))
    np.testing.assert_allclose(sampled, np.log([0.125]), atol=1e-6)
    assert ids.tolist() == [[1, 3, 0, 2]]  # all four there are; equals by id
    np.testing.assert_allclose(values, np.log([[0.5, 0.25, 0.125, 0.125]]), atol=1e-6)
    every = np.log([[0.125, 0.5, 0.125, 0.25]])
    np.testing.assert_allclose(log_probabilities(logits), every, atol=1e-6)


def test_twenty_likeliest_first_and_the_sampled_ones_entry_is_its_own():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(64, 500)) * 4, jnp.float32)
    tokens = jnp.argsort(-logits, axis=-1)[jnp.arange(64), jnp.arange(64) % 20]
    sampled, ids, values = top_logprobs(logits, tokens)
    assert ids.shape == values.shape == (64, 20)
    assert (np.diff(values, axis=1) <= 0).all()
    np.testing.assert_array_equal(ids, np.argsort(-logits, axis=-1, kind="stable")[:, :20])
    # Bit for bit: the same number must not read differently in two places.
    np.testing.assert_array_equal(sampled, values[jnp.arange(64), jnp.arange(64) % 20])


def test_equals_go_by_id_and_minus_zero_equals_zero():
    logits = jnp.array([[0.0, -0.0, 0.0] + [-0.0, 0.0] * 20])
    _, ids, values = top_logprobs(logits, jnp.array([0]))
    assert ids.tolist() == [list(range(20))]
    np.testing.assert_allclose(values, -np.log(43), rtol=1e-6)


def test_large_logits_lose_nothing():
    logits = jnp.array([[1e6, 1e6, 1e6 - 1, -1e6]])
    sampled, _, values = top_logprobs(logits, jnp.array([3]))
    norm = np.log(2 + np.exp(-1))
    np.testing.assert_allclose(values, [[-norm, -norm, -1 - norm, -2e6 - norm]], rtol=1e-6)
    np.testing.assert_allclose(sampled, [-2e6 - norm], rtol=1e-6)


def test_impossible_tokens_have_minus_infinity():
    sampled, ids, values = top_logprobs(jnp.array([[0.0, -jnp.inf, 0.0]]), jnp.array([1]))
    assert sampled.tolist() == [-np.inf]
    assert ids.tolist() == [[0, 2, 1]]
    assert values[0, 2] == -np.inf


def test_a_rank_counts_the_tokens_that_are_at_least_as_likely():
    logits = jnp.array([[1.0, 3.0, 2.0, 2.0, -0.0, 0.0, -jnp.inf]] * 7)
    tokens = jnp.arange(7)
    values, ranks, ids, likeliest = ranked_logprobs(logits, tokens)
    assert ranks.tolist() == [4, 1, 3, 3, 6, 6, 7]
    for found, expected in zip((values, ids, likeliest), top_logprobs(logits, tokens), strict=True):
        np.testing.assert_array_equal(found, expected)
