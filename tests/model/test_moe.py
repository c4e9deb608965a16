"""Experts: any routing is computed in full, by either way of the grouped product."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from support.tiny import TINY

from model.config import ExpertsConfig
from model.grouped import LARGE_TILE, SMALL_TILE, tiled_dot
from model.moe import Experts

FLOAT32 = jnp.dtype("float32")
COUNT, CHOSEN = 5, 2

SIZES = {
    "some of each": [3, 1, 4, 2, 7],
    "all in the first": [17, 0, 0, 0, 0],
    "all in the last": [0, 0, 0, 0, 17],
    "none in some": [0, 9, 0, 8, 0],
    "whole tiles": [SMALL_TILE, SMALL_TILE, 0, 2 * SMALL_TILE, 1],
    "large tiles": [LARGE_TILE + 1, 0, 2 * LARGE_TILE, 3, 60],
}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("way", [tiled_dot, jax.lax.ragged_dot])
def test_each_row_meets_its_groups_matrix(way, sizes):
    generator = np.random.default_rng(0)
    x = generator.standard_normal((sum(sizes), 8)).astype(np.float32)
    weights = generator.standard_normal((len(sizes), 8, 6)).astype(np.float32)
    group = np.repeat(np.arange(len(sizes)), sizes)
    expected = np.einsum("mi,mio->mo", x.astype(np.float64), weights[group])
    result = jax.jit(way)(jnp.asarray(x), jnp.asarray(weights), jnp.asarray(sizes, jnp.int32))
    np.testing.assert_allclose(result, expected, atol=1e-5)


def layer(*, bias: bool, renormalize: bool) -> Experts:
    experts = ExpertsConfig(COUNT, CHOSEN, ffn_dim=12, renormalize=renormalize, bias=bias)
    config = replace(TINY, experts=experts)
    made = Experts(config, FLOAT32, rngs=nnx.Rngs(0))
    if made.gate_up_bias is not None and made.down_bias is not None:
        generator = np.random.default_rng(1)
        for value in (made.gate_up_bias, made.down_bias):
            value.set_value(jnp.asarray(generator.standard_normal(value.shape), jnp.float32))
    return made


def naive(experts: Experts, x: np.ndarray) -> np.ndarray:
    """Token by token, expert by expert, in float64."""
    out = np.zeros_like(x)
    for index, token in enumerate(x):
        scores = token @ np.asarray(experts.router.weight[...], np.float64)
        if experts.router.bias is not None:
            scores += np.asarray(experts.router.bias[...])
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
        chosen = np.argsort(-shares, kind="stable")[:CHOSEN]
        weights = shares[chosen]
        if experts.router.experts.renormalize:
            weights = weights / weights.sum()
        for weight, expert in zip(weights, chosen, strict=True):
            both = token @ np.asarray(experts.gate_up[...], np.float64)[expert]
            both = both.reshape(2, -1)
            if experts.gate_up_bias is not None:
                both = both + np.asarray(experts.gate_up_bias[...])[expert]
            hidden = both[0] / (1 + np.exp(-both[0])) * both[1]
            added = hidden @ np.asarray(experts.down[...], np.float64)[expert]
            if experts.down_bias is not None:
                added = added + np.asarray(experts.down_bias[...])[expert]
            out[index] += weight * added
    return out


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("renormalize", [False, True])
def test_the_layer_agrees_with_one_expert_at_a_time(bias, renormalize):
    experts = layer(bias=bias, renormalize=renormalize)
    x = np.random.default_rng(2).standard_normal((3, 7, TINY.embed_dim))
    result = experts(jnp.asarray(x, jnp.float32))
    expected = naive(experts, x.reshape(-1, TINY.embed_dim)).reshape(x.shape)
    np.testing.assert_allclose(result, expected, atol=1e-4)


def test_all_tokens_choose_the_same_experts():
    experts = layer(bias=True, renormalize=True)
    favoured = jnp.asarray([0.0, 1e4, 0.0, 2e4, 0.0])
    assert experts.router.bias is not None
    experts.router.bias.set_value(favoured)
    x = np.random.default_rng(3).standard_normal((40, TINY.embed_dim))
    _, chosen = experts.router(jnp.asarray(x, jnp.float32))
    assert set(np.asarray(chosen).flatten().tolist()) == {1, 3}
    np.testing.assert_allclose(
        experts(jnp.asarray(x[None], jnp.float32))[0], naive(experts, x), atol=1e-4
    )


def test_a_tokens_result_does_not_depend_on_the_others():
    experts = layer(bias=False, renormalize=True)
    apply = nnx.jit(lambda module, x: module(x))
    x = jnp.asarray(np.random.default_rng(4).standard_normal((16, 1, TINY.embed_dim)), jnp.float32)
    together = np.asarray(apply(experts, x))
    for index in range(16):
        others = jnp.roll(x, index, axis=0).at[index].set(x[5])
        np.testing.assert_array_equal(np.asarray(apply(experts, others))[index], together[5])
