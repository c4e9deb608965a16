"""Steps of prompts, chunks and running rows together, against the naive reference."""

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
from model.steps import (
    LAST,
    RowTokens,
    StepInputs,
    copy_pages,
    forward,
    logits,
    seat,
    step_inputs,
)

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


class Stepper:
    """Runs steps of one program per size, and makes logits after all of their tokens."""

    def __init__(self, config: ModelConfig, parameters: Parameters, cache: Cache) -> None:
        self.parameters, self.cache = parameters, cache

        def run(parameters, cache, last, inputs):
            picks = jnp.arange(len(inputs.tokens[0]))
            picked, _, cache = forward(config, parameters, cache, last, inputs, picks)
            return logits(config, parameters, picked), cache

        self.run = jax.jit(run, donate_argnums=1)

    def __call__(self, parts, size: int, last=(0,) * ROWS) -> list[np.ndarray]:
        """Logits after each token of each part."""
        inputs, firsts = step_inputs(parts, size, ROWS, PAGE)
        scores, self.cache = self.run(self.parameters, self.cache, jnp.array(last), inputs)
        return [
            np.asarray(scores[first : first + len(part.tokens)])
            for first, part in zip(firsts, parts, strict=True)
        ]


def test_a_prompt_agrees_with_the_reference_at_every_position(config):
    parameters, tokens = tiny_parameters(config), tokens_of(1)
    step = Stepper(config, parameters, fresh_cache(config))
    (scores,) = step([RowTokens(0, 0, tokens, shuffled_tables(1)[0])], 160)
    np.testing.assert_allclose(scores, naive_logits(config, parameters, tokens), atol=1e-4)


def test_chunks_then_tokens_agree_with_the_reference(config):
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
    step = Stepper(config, parameters, fresh_cache(config, dtype))
    at = [0, 0]
    while any(done < len(text) for done, text in zip(at, TEXTS, strict=True)):
        rows, parts, last = [], [], [0] * ROWS
        for row, (done, text) in enumerate(zip(at, TEXTS, strict=True)):
            end = min(done + chunk, len(text) - 20) if done < len(text) - 20 else done + 1
            if done == len(text):
                continue
            tokens = text[done:end]
            if done >= len(text) - 20:
                last[row], tokens = tokens[0], [LAST]
            rows.append(row)
            parts.append(RowTokens(row, done, tokens, tables[row]))
            at[row] = end
        size = 2 if all(len(part.tokens) == 1 for part in parts) else 16 if chunk < 9 else 300
        for row, part, scores in zip(rows, parts, step(parts, size, last), strict=True):
            for offset, after in enumerate(scores):
                yield row, part.start + offset, after


def test_everybody_in_one_step_gets_what_each_gets_alone():
    """Rows of one token, of some drafts, of a chunk from nothing and of one amid a prompt."""
    parameters = tiny_parameters()
    texts = [tokens_of(seed, length) for seed, length in enumerate((140, 60, 50, 131))]
    order = np.random.default_rng(9).permutation(2 * PAGES).astype(np.int32).reshape(4, -1)
    starts = [139, 57, 0, 100]
    empty = empty_cache(
        TINY,
        pages=2 * PAGES,
        page_size=PAGE,
        rows=ROWS,
        table_width=WIDTH,
        dtype=jnp.dtype("float32"),
    )
    step = Stepper(TINY, parameters, empty)
    for row, (text, start) in enumerate(zip(texts, starts, strict=True)):
        if start:
            step([RowTokens(row, 0, text[:start], order[row])], 160)
    parts = [
        RowTokens(row, start, text[start:], order[row])
        for row, (text, start) in enumerate(zip(texts, starts, strict=True))
    ]
    for text, part, scores in zip(texts, parts, step(parts, 96), strict=True):
        expected = naive_logits(TINY, parameters, text)[part.start :]
        np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_a_step_is_in_the_order_that_attention_relies_on():
    parts = [
        RowTokens(5, 8, [1, 2, 3], [7, 8, 9, 10]),
        RowTokens(2, 3, [4], [11]),
        RowTokens(0, 9, [LAST], [12, 13, 14]),
    ]
    (tokens, rows, turns), firsts = step_inputs(parts, 8, 4, 4)
    assert (firsts, turns) == ([2, 1, 0], None)
    assert tokens.tolist() == [
        [LAST, 4, 1, 2, 3, 0, 0, 0],
        [0, 1, 2, 2, 2, 0, 0, 0],
        [9, 3, 8, 9, 10, -1, -1, -1],
        [14, 11, 9, 9, 9, 0, 0, 0],
    ]
    assert rows.tolist() == [[0, 2, 5, 4], [0, 1, 2, 8], [1, 1, 3, 0]]


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
    last, picks = (jax.ShapeDtypeStruct((rows,), jnp.int32) for _ in ("last", "picks"))
    inputs = StepInputs(*(jax.ShapeDtypeStruct((count, rows), jnp.int32) for count in (4, 3)))

    def step(parameters, cache, *rest):
        picked, _, cache = forward(config, parameters, cache, *rest)
        return logits(config, parameters, picked), cache

    lowered = jax.jit(step, donate_argnums=1).lower(parameters, cache, last, inputs, picks)
    text = lowered.compile().as_text()
    # What is computed inside of a fusion is not written to memory.
    text = "".join(part for part in text.split("\n\n") if not part.startswith("%fused"))
    shapes = {tuple(map(int, found.split(","))) for found in re.findall(r"f32\[([\d,]+)\]", text)}
    largest = max(math.prod(shape) for shape in shapes)
    smallest = min(
        math.prod(spec.shape) for spec in parameter_specs(config).values() if spec.inputs
    )
    assert rows * config.vocab_size <= largest < smallest


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("size", [1, 2, 4, 16, 64])
def test_pages_are_written_in_place(size, dtype):
    """Whatever is in a step: what it works in is smaller than one layer's keys."""
    sizes = {"pages": 4096, "page_size": 16, "rows": 8, "table_width": WIDTH}
    cache = jax.eval_shape(partial(empty_cache, TINY, dtype=jnp.dtype(dtype), **sizes))
    parameters = jax.eval_shape(partial(random_parameters, TINY, jnp.dtype(dtype), 0))
    numbers = partial(jax.ShapeDtypeStruct, dtype=jnp.int32)
    inputs = StepInputs(numbers((4, size)), numbers((3, min(size, 8))))
    step = jax.jit(partial(forward, TINY), donate_argnums=1)
    lowered = step.lower(parameters, cache, numbers((8,)), inputs, numbers((8,)))
    memory = lowered.compile().memory_analysis()
    pool = math.prod(cache.layers[0].keys.shape) * cache.layers[0].keys.dtype.itemsize
    assert memory.temp_size_in_bytes < pool
    assert memory.alias_size_in_bytes >= 2 * TINY.num_layers * pool


def test_a_rows_bits_do_not_depend_on_how_long_its_neighbour_is():
    parameters, tables = tiny_parameters(), shuffled_tables(5)
    cache = fresh_cache(TINY)
    random = partial(jax.random.normal, jax.random.key(0))
    layers = jax.tree.map(lambda pool: random(pool.shape), cache.layers)
    whole = seat(cache._replace(layers=layers), jnp.arange(2), jnp.asarray(tables))

    def first_row(neighbour: int) -> np.ndarray:
        step = Stepper(TINY, parameters, jax.tree.map(jnp.copy, whole))
        parts = [
            RowTokens(row, position, [LAST], tables[row])
            for row, position in enumerate((10, neighbour))
        ]
        return step(parts, 4, (5, 9, 0, 0))[0]

    np.testing.assert_array_equal(first_row(3), first_row(250))


def test_padding_writes_nothing():
    step = Stepper(TINY, tiny_parameters(), fresh_cache(TINY))
    step([], 16)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(step.cache))


def test_a_fork_continues_from_its_own_copy_of_the_last_page():
    parameters, tokens = tiny_parameters(), tokens_of(4, 11)  # two full pages and three tokens
    table = list(range(WIDTH))
    step = Stepper(TINY, parameters, fresh_cache(TINY))
    step([RowTokens(0, 0, tokens[:10], table)], 16)
    forked = [*table[:2], 99, *table[3:]]
    cache = seat(step.cache, jnp.array([2, ROWS]), jnp.array([forked, table]))
    step.cache = copy_pages(cache, jnp.array([2, PAGES]), jnp.array([99, PAGES]))
    # The original goes on with another token first: the fork must not see it.
    other = (tokens[10] + 1) % TINY.vocab_size
    step([RowTokens(0, 10, [other], table)], 4)
    (scores,) = step([RowTokens(2, 10, [tokens[10]], forked)], 4)
    np.testing.assert_allclose(scores[0], naive_logits(TINY, parameters, tokens)[-1], atol=1e-4)
