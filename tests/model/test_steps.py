"""Prefill, chunked prefill and decode through pages against the naive reference."""

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.naive import naive_logits
from support.tiny import TINY, tiny_parameters

from model.cache import Cache, empty_cache
from model.config import ModelConfig
from model.layers import product
from model.parameters import (
    Parameters,
    parameter_specs,
    random_parameters,
    turn,
)
from model.steps import decode, fork, logits, prefill

PAGE, PAGES, ROWS, WIDTH = 4, 128, 4, 64
LENGTH = 150  # more than one block of 128 keys
VARIANTS = {
    "qk_norm, own head": TINY,
    "plain, tied head": replace(TINY, qk_norm="none", tied_head=True),
    "one kv head": replace(TINY, num_kv_heads=1),
    "as many kv heads": replace(TINY, num_kv_heads=6),
}


def fresh_cache(config: ModelConfig, dtype: str = "float32") -> Cache:
    empty = empty_cache(
        config,
        pages=PAGES,
        page_size=PAGE,
        rows=ROWS,
        table_width=WIDTH,
        dtype=jnp.dtype(dtype),
    )
    # Where the programs' own results lie: else their second call would compile again.
    return jax.device_put(empty, jax.devices()[0])


def shuffled_tables(seed: int) -> np.ndarray:
    """Page tables of two rows over randomly ordered, disjoint pages."""
    order = np.random.default_rng(seed).permutation(PAGES).astype(np.int32)
    return order.reshape(2, WIDTH)


def tokens_of(seed: int, length: int = LENGTH) -> list[int]:
    return np.random.default_rng(seed).integers(0, TINY.vocab_size, length).tolist()


TEXTS = [tokens_of(2), tokens_of(3, LENGTH - 37)]


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def config(request) -> ModelConfig:
    return request.param


def test_prefill_agrees_with_the_reference_at_every_position(config):
    parameters, tokens = tiny_parameters(config), tokens_of(1)
    rows = np.array([[0], [0], [len(tokens)]], np.int32)
    run = jax.jit(partial(prefill, config))
    tables = shuffled_tables(1)[:1]
    last, hidden, _ = run(parameters, fresh_cache(config), jnp.array([tokens]), rows, tables)
    expected = naive_logits(config, parameters, tokens)
    everywhere = logits(config, parameters, hidden)[0]
    np.testing.assert_allclose(everywhere, expected, atol=1e-4)
    np.testing.assert_allclose(last[0], expected[-1], atol=1e-4)


def test_chunked_prefill_then_decode_agrees_with_the_reference(config):
    """With whole prompts in one chunk below."""
    parameters = tiny_parameters(config)
    expected = [naive_logits(config, parameters, text) for text in TEXTS]
    for row, position, scores in through_pages(config, parameters, 7):
        np.testing.assert_allclose(scores, expected[row][position], atol=1e-4)


@pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-4), ("bfloat16", 0.1)])
@pytest.mark.parametrize("turned", [False, True], ids=["inputs first", "inputs last"])
def test_either_order_of_the_matrices_agrees_with_the_reference(turned, dtype, error):
    """Logits are of order 1; bfloat16 has three digits."""
    rounded = {name: value.astype(dtype) for name, value in tiny_parameters().items()}
    expected = [naive_logits(TINY, rounded, text) for text in TEXTS]
    specs = parameter_specs(TINY)
    held = {name: turn(rounded[name], turned * spec.inputs) for name, spec in specs.items()}
    config = replace(TINY, turned=turned)
    assert {name: spec.shape for name, spec in parameter_specs(config).items()} == {
        name: value.shape for name, value in held.items()
    }
    for row, position, scores in through_pages(config, held, 149, dtype):
        np.testing.assert_allclose(scores, expected[row][position], atol=error)


def through_pages(
    config: ModelConfig, parameters: Parameters, chunk: int, dtype: str = "float32"
) -> Iterator[tuple[int, int, jax.Array]]:
    """Row, position and logits of `TEXTS`, side by side in a shuffled pool: all but the last 20
    tokens in chunks, then one at a time."""
    tables = shuffled_tables(chunk)
    run_prefill = jax.jit(partial(prefill, config), donate_argnums=1)
    run_decode = jax.jit(partial(decode, config), donate_argnums=1)
    cache = fresh_cache(config, dtype)
    width = 64 if chunk <= 64 else 149
    prompts = [len(text) - 20 for text in TEXTS]
    for row, (text, prompt) in enumerate(zip(TEXTS, prompts, strict=True)):
        for start in range(0, prompt, chunk):
            part = text[start : min(start + chunk, prompt)]
            padded = np.zeros((1, width), np.int32)
            padded[0, : len(part)] = part
            rows = np.array([[row], [start], [len(part)]], np.int32)
            scores, _, cache = run_prefill(parameters, cache, padded, rows, tables[row : row + 1])
            yield row, start + len(part) - 1, scores[0]
    for step in range(20):
        positions = [prompt + step for prompt in prompts]
        last = np.zeros(ROWS, np.int32)
        rows = np.zeros((3, 4), np.int32)
        rows[0], rows[1] = ROWS, -1  # two padding rows
        for row, position in enumerate(positions):
            last[row] = TEXTS[row][position]
            rows[:, row] = row, position, tables[row][position // PAGE]
        scores, cache = run_decode(parameters, cache, jnp.array(last), rows)
        for row, position in enumerate(positions):
            yield row, position, scores[row]


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (3, 1)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_products_are_rounded_once(shape, dtype):
    """Of any number of tokens, a single one among them."""
    generator = np.random.default_rng(0)
    x = jnp.asarray(generator.standard_normal((*shape, 64)), dtype)
    weight = jnp.asarray(generator.standard_normal((64, 2, 5)), dtype)
    exact = np.einsum("btd,dcf->btcf", np.float64(x), np.float64(weight))
    out = jax.jit(partial(product, "btd,dcf->btcf"))(x, weight)
    assert (out.dtype, out.shape) == (dtype, (*shape, 2, 5))
    np.testing.assert_allclose(
        np.float64(out), exact, rtol=1e-5 if dtype == "float32" else 2**-8, atol=1e-5
    )


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("turned", [False, True], ids=["inputs first", "inputs last"])
def test_a_cpu_widens_no_bfloat16_weight_and_no_pool(turned, rows):
    """Or a step would write all of them anew: the largest float32 array is of activations."""
    wide = replace(TINY, vocab_size=1024, embed_dim=256, ffn_dim=768, head_dim=64, turned=turned)
    config, dtype = replace(wide, layers=TINY.layers[:1]), jnp.dtype("bfloat16")
    sizes = {
        "pages": 8 * PAGES,
        "page_size": PAGE,
        "rows": rows,
        "table_width": WIDTH,
        "dtype": dtype,
    }
    cache = jax.eval_shape(partial(empty_cache, config, **sizes))
    parameters = jax.eval_shape(partial(random_parameters, config, dtype, 0))
    inputs = [jax.ShapeDtypeStruct(shape, jnp.int32) for shape in ((rows,), (3, rows))]
    step = jax.jit(partial(decode, config), donate_argnums=1)
    text = step.lower(parameters, cache, *inputs).compile().as_text()
    # What is computed inside of a fusion is not written to memory.
    text = "".join(part for part in text.split("\n\n") if not part.startswith("%fused"))
    shapes = {tuple(map(int, found.split(","))) for found in re.findall(r"f32\[([\d,]+)\]", text)}
    largest = max(math.prod(shape) for shape in shapes)
    smallest = min(
        math.prod(spec.shape) for spec in parameter_specs(config).values() if spec.inputs
    )
    assert rows * config.vocab_size <= largest < smallest


def test_a_rows_bits_do_not_depend_on_how_long_its_neighbour_is():
    parameters, tables = tiny_parameters(), shuffled_tables(5)
    run_decode = jax.jit(partial(decode, TINY))
    cache = fresh_cache(TINY)
    cache = cache._replace(
        tables=cache.tables.at[:2].set(tables),
        layers=jax.tree.map(
            lambda pool: jax.random.normal(jax.random.key(0), pool.shape), cache.layers
        ),
    )
    last = jnp.array([5, 9, 0, 0], jnp.int32)

    def first_row(neighbour: int) -> np.ndarray:
        pages = [tables[0][10 // PAGE], tables[1][neighbour // PAGE]]
        rows = np.array([[0, 1], [10, neighbour], pages], np.int32)
        return np.asarray(run_decode(parameters, cache, last, rows)[0][0])

    np.testing.assert_array_equal(first_row(3), first_row(250))


def test_padding_writes_nothing():
    parameters = tiny_parameters()
    cache = fresh_cache(TINY)
    rows = np.array([[ROWS], [0], [0]], np.int32)
    tables = np.full((1, WIDTH), 3, np.int32)
    *_, after = jax.jit(partial(prefill, TINY))(
        parameters, cache, np.ones((1, 16), np.int32), rows, tables
    )
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(after))


def test_a_fork_continues_from_its_own_copy_of_the_last_page():
    parameters, tokens = tiny_parameters(), tokens_of(4, 11)  # two full pages and three tokens
    table = np.arange(WIDTH, dtype=np.int32)[None]
    rows = np.array([[0], [0], [10]], np.int32)
    padded = np.zeros((1, 16), np.int32)
    padded[0, :10] = tokens[:10]
    *_, cache = jax.jit(partial(prefill, TINY))(parameters, fresh_cache(TINY), padded, rows, table)
    forked = table.copy()
    forked[0, 2] = 99
    cache = jax.jit(fork)(cache, np.array([[2], [2], [99]], np.int32), forked)
    # The original goes on with another token first: the fork must not see it.
    other = (tokens[10] + 1) % TINY.vocab_size
    last = jnp.array([other, 0, tokens[10], 0], jnp.int32)
    run_decode = jax.jit(partial(decode, TINY))
    _, cache = run_decode(parameters, cache, last, np.array([[0], [10], [2]], np.int32))
    scores, _ = run_decode(parameters, cache, last, np.array([[2], [10], [99]], np.int32))
    np.testing.assert_allclose(scores[0], naive_logits(TINY, parameters, tokens)[-1], atol=1e-4)
