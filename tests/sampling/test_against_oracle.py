"""The sampler's distributions against the oracle's, over random batches of mixed rows.

Every example is one call with as many rows of different settings as its shape has, so that a
shape is compiled once. `disagreement` says where float32 is allowed to decide.
"""

from dataclasses import dataclass
from functools import partial
from math import log

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.oracle import (
    disagreement,
    oracle_distribution,
    oracle_log_probabilities,
    oracle_top,
)

from sampling import sampler, study, transforms
from sampling.params import SamplingParams
from sampling.top_k import keep_top_k_by_search

FOUR = np.log([0.1, 0.4, 0.2, 0.3])
EQUAL = np.zeros(4)
D = 0.01 + 40**0.5 + 0.2 + 0.09

# Vocabulary, rows of a call, calls for each way of top_k. The draw goes by chunks of 256 tokens:
# the smallest, less than a chunk, one, one and a token, many, and the largest of published models.
SHAPES = [
    (2, 32, 13),
    (17, 32, 30),
    (256, 32, 30),
    (257, 32, 30),
    (32_000, 16, 10),
    (262_144, 8, 4),
]
# A quarter: float32 adds multiples of it to logits on the grid without rounding.
STEP = 0.25
GRID = 2.0**-8
BIASES = ("none", "none", "none", "few", "few", "many", "many", "all but one")
PLAIN = ("normal", "sharp", "levels", "equal", "holes")
LARGE = ("1e4", "near 1e4", "1e30", "ties")
LOGITS = (*PLAIN, *PLAIN, *LARGE, "alone")


# --- the oracle itself, by hand ------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, [0.1, 0.4, 0.2, 0.3]),
        ({"temperature": 0.0}, [0, 1, 0, 0]),
        # Half the temperature squares: 1, 16, 4 and 9 of 30.
        ({"temperature": 0.5}, [1 / 30, 16 / 30, 4 / 30, 9 / 30]),
        ({"top_k": 2}, [0, 4 / 7, 0, 3 / 7]),
        ({"top_k": 9}, [0.1, 0.4, 0.2, 0.3]),
        # 0.4 + 0.3 is less than 0.75: the third token crosses it and stays.
        ({"top_p": 0.75}, [0, 4 / 9, 2 / 9, 3 / 9]),
        ({"top_p": 0.65}, [0, 4 / 7, 0, 3 / 7]),
        ({"top_p": 0.0}, [0, 1, 0, 0]),
        # 0.2 is half of 0.4 and 0.1 a quarter.
        ({"min_p": 0.3}, [0, 4 / 9, 2 / 9, 3 / 9]),
        ({"min_p": 1.0}, [0, 1, 0, 0]),
        # top_p counts what top_k has left: 4/7 reaches 0.5.
        ({"top_k": 2, "top_p": 0.5}, [0, 1, 0, 0]),
        ({"logit_bias": ((1, -100.0),)}, [1 / 6, 0, 2 / 6, 3 / 6]),
        ({"logit_bias": ((0, log(5)),)}, [5 / 14, 4 / 14, 2 / 14, 3 / 14]),
        # Tokens 1, 1 and 3 were sampled: a quarter of 0.4, half of 0.3.
        ({"frequency_penalty": log(2)}, [2 / 11, 2 / 11, 4 / 11, 3 / 11]),
        # Half of 0.4 and half of 0.3.
        ({"presence_penalty": log(2)}, [2 / 13, 4 / 13, 4 / 13, 3 / 13]),
        ({"ignore_eos": True}, [0.1 / 0.7, 0.4 / 0.7, 0.2 / 0.7, 0]),
        ({"min_tokens": 4}, [0.1 / 0.7, 0.4 / 0.7, 0.2 / 0.7, 0]),
        ({"min_tokens": 3}, [0.1, 0.4, 0.2, 0.3]),
        # The logits are log(0.1) … : negative, so that 2 squares the probabilities of those seen,
        # which are 1 and 3 of the answer and 0 of the prompt: 1, 16, 20 and 9 of 46.
        ({"repetition_penalty": 2.0}, [1 / 46, 16 / 46, 20 / 46, 9 / 46]),
        # Positive after a bias of log(100), and halved: the square root of 40.
        (
            {"repetition_penalty": 2.0, "logit_bias": ((1, log(100)),)},
            [0.01 / D, 40**0.5 / D, 0.2 / D, 0.09 / D],
        ),
        # Before the other penalties: half of 0.16 and half of 0.09.
        (
            {"repetition_penalty": 2.0, "presence_penalty": log(2)},
            [0.01 / 0.335, 0.08 / 0.335, 0.2 / 0.335, 0.045 / 0.335],
        ),
        ({"min_tokens": 4, "stop_ids": (0,)}, [0, 0.4 / 0.6, 0.2 / 0.6, 0]),
        ({"min_tokens": 3, "stop_ids": (0,)}, [0.1, 0.4, 0.2, 0.3]),
        ({"ignore_eos": True, "stop_ids": (0,)}, [0.1 / 0.7, 0.4 / 0.7, 0.2 / 0.7, 0]),
        # A bias cannot bring a banned end back.
        ({"ignore_eos": True, "logit_bias": ((3, 100.0),), "temperature": 0.0}, [0, 1, 0, 0]),
    ],
)
def test_four_tokens(params, expected) -> None:
    made = SamplingParams(**params)
    got = oracle_distribution(FOUR, made, [1, 1, 3], [3], prompt=[0, 0])
    np.testing.assert_allclose(got, expected, atol=1e-12)
    row = study.distribution(
        FOUR[None].astype(np.float32), [made], sampled=[[1, 1, 3]], prompts=[[0, 0]], end_ids=[3]
    )
    np.testing.assert_allclose(row[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"temperature": 0.0}, [1, 0, 0, 0]),
        ({"top_k": 3}, [1 / 3, 1 / 3, 1 / 3, 0]),
        ({"top_p": 0.4}, [1 / 2, 1 / 2, 0, 0]),
        ({"top_p": 0.0}, [1, 0, 0, 0]),
        ({"min_p": 1.0}, [1 / 4, 1 / 4, 1 / 4, 1 / 4]),
    ],
)
def test_equals_go_by_id(params, expected) -> None:
    made = SamplingParams(**params)
    np.testing.assert_allclose(oracle_distribution(EQUAL, made), expected, atol=1e-12)
    row = study.distribution(EQUAL[None].astype(np.float32), [made])
    np.testing.assert_allclose(row[0], expected, atol=1e-6)


def test_log_probabilities_by_hand() -> None:
    np.testing.assert_allclose(oracle_log_probabilities(FOUR), np.log([0.1, 0.4, 0.2, 0.3]))
    assert oracle_top(FOUR, 3).tolist() == [1, 3, 2]
    assert oracle_top(EQUAL).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("logits", "params", "got", "fault"),
    [
        (FOUR, {"top_p": 0.75}, [0, 4 / 7, 0, 3 / 7], "kept 2 tokens of 4, not 3 to 3"),
        (FOUR, {"top_p": 0.75}, [0.1, 0.4, 0.2, 0.3], "kept 4 tokens of 4, not 3 to 3"),
        (FOUR, {"top_k": 2}, [0, 4 / 6, 2 / 6, 0], "kept 2 and dropped the likelier [3]"),
        (FOUR, {}, [0.1001, 0.3999, 0.2, 0.3], "token 0 has 0.1001, not 0.1"),
        (FOUR, {"temperature": 0.0}, [0, 0, 0, 1], "argmax is 1, not [3]"),
        (EQUAL, {"top_k": 2}, [0.5, 0, 0.5, 0], "kept 2 and dropped its equal 1"),
        (EQUAL, {"temperature": 0.0}, [0, 1, 0, 0], "argmax is 0, not [1]"),
        (EQUAL, {"logit_bias": ((0, -100.0),)}, EQUAL + 0.25, "removed tokens came back: [0]"),
        (EQUAL, {}, EQUAL, "no distribution: it sums to 0.0"),
        # 0.7 is reached within rounding after two tokens: two and three are both right.
        (FOUR, {"top_p": 0.7}, [0, 4 / 7, 0, 3 / 7], ""),
        (FOUR, {"top_p": 0.7}, [0, 4 / 9, 2 / 9, 3 / 9], ""),
        # At top_p 0 one token is right and no other number.
        (EQUAL, {"top_p": 0.0}, [0.5, 0.5, 0, 0], "kept 2 tokens of 4, not 1 to 1"),
    ],
)
def test_the_comparison_finds_faults(logits, params, got, fault) -> None:
    made = SamplingParams(**params)
    assert disagreement(np.asarray(got, float), logits, made, exact_sums=True) == fault


# --- random batches ------------------------------------------------------------------------


@dataclass(frozen=True)
class Spec:
    """What hypothesis chooses of a row; `make_row` chooses the rest at random by its seed."""

    seed: int
    logits: str
    grid: bool
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    penalties: tuple[float, float]
    repetition: float
    bias: str
    sampled: int
    min_tokens: int
    ignore_eos: bool


@pytest.fixture
def way(request, monkeypatch) -> str:
    """Of top_k: a CPU selects if no row's k is above 64; other platforms search for any."""
    if request.param == "search":
        for module in (sampler, transforms):
            monkeypatch.setattr(module, "keep_top_k", keep_top_k_by_search)
        # What has been traced is as it was.
        monkeypatch.setattr(study, "_sample", jax.jit(partial(sampler.sample)))
        monkeypatch.setattr(study, "_distribution", jax.jit(partial(sampler.distribution)))
    return request.param


def specs(vocab: int, way: str) -> st.SearchStrategy[Spec]:
    penalty = st.just(0.0) | st.floats(-2, 2)
    large = [64] if way == "selection" else [256, vocab - 1, vocab, vocab + 1]
    return st.builds(
        Spec,
        seed=st.integers(0, 2**32),
        logits=st.sampled_from(LOGITS),
        grid=st.booleans(),
        temperature=st.sampled_from([0.0, 1e-4, 0.7, 1.0, 1.0, 2.0]) | st.floats(0.01, 2),
        top_p=st.sampled_from([0.0, 0.5, 0.9, 0.95, 0.999, *[1.0] * 5]) | st.floats(0, 1),
        top_k=st.sampled_from([*[0] * 6, 1, 2, 5, 20, *large]),
        min_p=st.sampled_from([*[0.0] * 5, 0.05, 1.0]) | st.floats(1e-4, 1),
        penalties=st.tuples(penalty, penalty),
        repetition=st.sampled_from([*[1.0] * 4, 0.5, 2.0]) | st.floats(0.25, 2),
        bias=st.sampled_from(BIASES),
        sampled=st.sampled_from([0, 0, 1, 5, 60]),
        min_tokens=st.sampled_from([0, 0, 5, 6, 500]),
        ignore_eos=st.booleans(),
    )


@dataclass(frozen=True)
class Row:
    """One row to be checked.

    Attributes:
        logits: raw, [V] float32.
        params: settings.
        sampled: tokens of the answer so far.
        prompt: tokens before the answer.
        exact_sums: see `disagreement`.
    """

    logits: np.ndarray
    params: SamplingParams
    sampled: list[int]
    prompt: list[int]
    exact_sums: bool


def make_logits(kind: str, vocab: int, survivor: int, grid: bool, rng) -> np.ndarray:
    """Logits of a kind, the survivor's finite."""
    out = rng.normal(size=vocab) * (12.0 if kind == "sharp" else 2.0)
    if grid:
        out = np.round(out / GRID) * GRID
    if kind == "levels":
        # Negative zeros too: they are equal to the others.
        out = rng.integers(0, 3, vocab) * rng.choice([-1.0, 1.0], vocab)
    elif kind == "equal":
        out[:] = out[0]
    elif kind == "holes":
        out[rng.random(vocab) < 0.5] = -np.inf
        out[survivor] = 1.0
    elif kind == "alone":
        out[:] = -np.inf
        out[survivor] = -3.0
    elif kind == "1e4":
        out = np.round(rng.uniform(-1e4, 1e4, vocab) / GRID) * GRID
    elif kind == "near 1e4":
        out = 1e4 + rng.integers(0, 17, vocab) * GRID
    elif kind == "1e30":
        out = rng.uniform(-1e30, 1e30, vocab)
    elif kind == "ties":
        out[rng.random(vocab) < 0.3] = rng.choice([1e30, 1e4, 3.0])
    return out.astype(np.float32)


def make_bias(
    kind: str, vocab: int, survivor: int, grid: bool, rng
) -> tuple[tuple[int, float], ...]:
    """A bias of a kind that does not ban the survivor."""
    if kind == "none" or (kind == "all but one" and vocab > 1025):
        return ()
    if kind == "all but one":
        return tuple((token, -100.0) for token in range(vocab) if token != survivor)
    count = min(vocab, 1024 if kind == "many" else 3)
    tokens = rng.choice(vocab, count, replace=False)
    biases = rng.uniform(-99, 100, count) * rng.choice([0.0, 0.03, 1.0], count)
    if grid:
        biases = np.round(biases / STEP) * STEP
    biases[rng.random(count) < 0.3] = -100.0
    biases[rng.random(count) < 0.05] = 100.0
    biases[tokens == survivor] = 0.5
    return tuple(zip(tokens.tolist(), biases.tolist(), strict=True))


def make_row(spec: Spec, vocab: int, end_ids: list[int]) -> Row:
    """A row of this kind in which at least one token, the survivor, can be drawn."""
    rng = np.random.default_rng(spec.seed)
    survivor = int(rng.choice(np.setdiff1d(np.arange(min(vocab, 999)), end_ids)))
    # A small temperature magnifies what sums are rounded by beyond any comparison.
    grid = spec.grid or spec.logits in LARGE or spec.temperature < 0.3
    # Of a few tokens at most, or there is none left that may come.
    stops = np.setdiff1d(rng.integers(0, vocab, rng.choice([0, 1, 4])), [survivor])
    rounded = [round(p / STEP) * STEP if grid else p for p in spec.penalties]
    params = SamplingParams(
        temperature=spec.temperature,
        top_p=spec.top_p,
        top_k=spec.top_k,
        min_p=spec.min_p,
        frequency_penalty=rounded[0],
        presence_penalty=rounded[1],
        logit_bias=make_bias(spec.bias, vocab, survivor, grid, rng),
        min_tokens=spec.min_tokens,
        ignore_eos=spec.ignore_eos,
        # Powers of two: float32 multiplies by them without rounding.
        repetition_penalty=2.0 ** round(np.log2(spec.repetition)) if grid else spec.repetition,
        stop_ids=tuple(stops.tolist()),
    )
    sampled = rng.integers(0, rng.choice([2, min(5, vocab), vocab]), spec.sampled)
    logits = make_logits(spec.logits, vocab, survivor, grid, rng)
    prompt = rng.integers(0, vocab, rng.choice([1, 8, 3000]))
    return Row(logits, params, sampled.tolist(), prompt.tolist(), grid)


def check(vocab: int, batch: list[Spec], end_ids: list[int]) -> None:
    made = [make_row(spec, vocab, end_ids) for spec in batch]
    logits = np.stack([row.logits for row in made])
    params = [row.params for row in made]
    sampled = [row.sampled for row in made]
    told = {"sampled": sampled, "prompts": [row.prompt for row in made], "end_ids": end_ids}
    got = study.distribution(logits, params, **told)
    tokens = study.sample(logits, params, **told)
    for index, row in enumerate(made):
        fault = disagreement(
            np.asarray(got[index]),
            row.logits.astype(np.float64),
            row.params,
            row.sampled,
            end_ids,
            row.prompt,
            exact_sums=row.exact_sums,
        )
        assert not fault, f"row {index}: {fault}"
        assert got[index][tokens[index]] > 0, f"row {index} drew {tokens[index]}"


@pytest.mark.parametrize(
    ("vocab", "size", "calls", "way"),
    [
        *((*shape, "selection") for shape in SHAPES),
        # It knows no chunks.
        *((*shape, "search") for shape in SHAPES if shape[0] in (2, 257, 32_000)),
    ],
    indirect=["way"],
)
def test_random_rows(vocab: int, size: int, calls: int, way: str) -> None:
    ends = st.lists(st.integers(0, vocab - 1), max_size=min(3, vocab - 1), unique=True)

    @settings(
        max_examples=calls,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.lists(specs(vocab, way), min_size=size, max_size=size), ends)
    def run(batch: list[Spec], end_ids: list[int]) -> None:
        check(vocab, batch, end_ids)

    run()


@pytest.mark.parametrize("vocab", [2, 17, 257, 32_000])
@pytest.mark.parametrize("kind", LOGITS)
def test_log_probabilities(vocab: int, kind: str) -> None:
    rng = np.random.default_rng(vocab)
    logits = np.stack([make_logits(kind, vocab, 0, grid, rng) for grid in (False, True) * 4])
    tokens = rng.integers(0, vocab, len(logits))
    tokens[0] = np.argmax(logits[0])
    expected = np.stack([oracle_log_probabilities(row) for row in logits])
    everything = study.log_probabilities(logits)
    sampled, ids, values = study.top_logprobs(logits, tokens)
    within = {"rtol": 1e-6, "atol": 1e-5}
    np.testing.assert_allclose(everything, expected, **within)
    for row in range(len(logits)):
        assert ids[row].tolist() == oracle_top(logits[row]).tolist()
    np.testing.assert_allclose(values, np.take_along_axis(expected, ids, 1), **within)
    np.testing.assert_allclose(sampled, expected[np.arange(len(tokens)), tokens], **within)


# --- corners -------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1e-8, 1e-30, 1e-40, 5e-324])
def test_a_tiny_temperature_is_argmax(temperature) -> None:
    logits = np.float32([[1.0, 2.5, 2.0, -4.0], [-np.inf, -9.0, -8.0, 1e30]])
    got = study.distribution(logits, [SamplingParams(temperature=temperature)] * 2)
    np.testing.assert_array_equal(got, [[0, 1, 0, 0], [0, 0, 0, 1]])


def test_integers_beyond_32_bits() -> None:
    logits = np.tile(FOUR.astype(np.float32), (2, 1))
    params = [SamplingParams(top_k=2**40), SamplingParams(min_tokens=2**40)]
    got = study.distribution(logits, params, end_ids=[3])
    np.testing.assert_allclose(got, [[0.1, 0.4, 0.2, 0.3], [1 / 7, 4 / 7, 2 / 7, 0]], atol=1e-6)


def test_the_largest_float32_logits() -> None:
    top = float(np.finfo(np.float32).max)
    logits = np.float32([[top, top, -top, 0.0], [-top, -top, -np.inf, -np.inf]])
    params = [SamplingParams(logit_bias=((0, 100.0), (3, 100.0)), temperature=2.0)] * 2
    got = study.distribution(logits, params)
    np.testing.assert_allclose(got, [[0.5, 0.5, 0, 0]] * 2)
    params = [SamplingParams(temperature=1e-4, top_p=0.9, min_p=0.5)] * 2
    np.testing.assert_allclose(study.distribution(logits, params), [[0.5, 0.5, 0, 0]] * 2)
