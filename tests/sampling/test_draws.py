"""What is drawn: with the oracle's probabilities, and each draw on its own.

The seeds are fixed, so a test gives the same p-values on every run of one version of JAX. With
a threshold of 0.001, a right sampler would fail one of a thousand choices of seeds per test
of a setting.
"""

from dataclasses import replace
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import chi2
from support.oracle import oracle_distribution

from sampling import study
from sampling.batch import (
    Choice,
    Rows,
    bias_of,
    empty_rows,
    load_bias,
    load_prompts,
    load_rows,
    recount,
    row_settings,
    sampled_chunks,
    token_bits,
)
from sampling.params import SamplingParams
from sampling.sampler import sample

VOCAB = 32
END_IDS = (3, 11)
LEAST_P_VALUE = 1e-3
# Cells of fewer expected draws are counted together.
LEAST_EXPECTED = 5.0
# Token 5 four times, 7 twice, 0 and 11 once.
SAMPLED = (5, 7, 5, 0, 5, 11, 7, 5)
# Tokens of the prompt.
HELD = (5, 2, 30, 2)

SETTINGS = {
    "plain": SamplingParams(),
    "cold": SamplingParams(temperature=0.4),
    "hot": SamplingParams(temperature=2.0),
    "top_k": SamplingParams(top_k=7),
    "top_p": SamplingParams(top_p=0.8),
    "min_p": SamplingParams(min_p=0.1),
    "bias": SamplingParams(logit_bias=((1, 2.5), (2, -100.0), (9, -1.0))),
    "frequency": SamplingParams(frequency_penalty=0.75),
    "presence": SamplingParams(presence_penalty=1.5),
    "encouraged": SamplingParams(frequency_penalty=-0.5, presence_penalty=-1.0),
    "repetition": SamplingParams(repetition_penalty=1.8),
    "no end": SamplingParams(ignore_eos=True),
    "no end yet": SamplingParams(min_tokens=9, temperature=1.5),
    "end allowed": SamplingParams(min_tokens=8, top_p=0.99),
    "cold top_p": SamplingParams(temperature=0.5, top_p=0.9),
    "hot top_k min_p": SamplingParams(temperature=1.8, top_k=20, min_p=0.02),
    "all": SamplingParams(
        temperature=1.3,
        top_k=24,
        top_p=0.97,
        min_p=0.01,
        frequency_penalty=0.3,
        presence_penalty=0.4,
        logit_bias=((4, 1.0), (20, -100.0)),
        ignore_eos=True,
    ),
}
SEEDS = (0, 1, 2**63 + 5, -77)
CHOICES = (*range(12), 63, 64, 126, 127)
PROMPT = 100
# Rows of a setting in a batch: with 17 settings a batch has 1,088 rows.
COPIES = 64
BATCH = COPIES * len(SETTINGS)


def p_value(counts: np.ndarray, probabilities: np.ndarray) -> float:
    """Of Pearson's chi-square test; cells of probability 0 must be empty."""
    assert not counts[probabilities == 0].any()
    expected = probabilities * counts.sum()
    small = expected < LEAST_EXPECTED
    observed = np.append(counts[~small], counts[small].sum())
    expected = np.append(expected[~small], expected[small].sum())
    observed, expected = observed[expected > 0], expected[expected > 0]
    statistic = ((observed - expected) ** 2 / expected).sum()
    return float(chi2.sf(statistic, len(expected) - 1))


def logits() -> np.ndarray:
    return np.random.default_rng(5).normal(0.0, 1.5, VOCAB).astype(np.float32)


def test_p_values_by_hand() -> None:
    # (60 − 50)² / 50 twice is 4, of one degree of freedom: 0.0455 in any table.
    assert p_value(np.array([60, 40]), np.array([0.5, 0.5])) == pytest.approx(0.0455, abs=1e-4)
    # 10, 0, 0 and 2 expected; the last three together make one cell of 6 for 4 expected.
    counts, expected = np.array([10, 2, 2, 2]), np.array([12, 1, 1, 2]) / 16
    assert p_value(counts, expected) == pytest.approx(0.2482, abs=1e-4)


# Enough to tell a temperature of 1.05 from 1 (below).
DRAWS_EACH = 64_000
STEPS_EACH = DRAWS_EACH // COPIES
# Each copy of a setting has a key of its own.
KEYS = [(seed, choice) for seed in SEEDS for choice in CHOICES]
# Positions move on from step to step while the tokens sampled so far stay the same: one
# setting bans the end at each of them, another at none.
PROMPTS = {"no end yet": PROMPT + STEPS_EACH}


@pytest.fixture(scope="module")
def counts() -> dict[str, np.ndarray]:
    """Draws by setting and token: all settings in every batch, keys and positions varied."""
    params = [replace(SETTINGS[name], seed=seed) for name in SETTINGS for seed, _ in KEYS]
    choices = [
        Choice(each, choice, PROMPTS.get(name, PROMPT - len(SAMPLED)), END_IDS)
        for each, (name, (_, choice)) in zip(params, product(SETTINGS, KEYS), strict=True)
    ]
    slots = np.arange(BATCH)
    rows = jax.jit(load_rows)(empty_rows(BATCH, VOCAB), slots, row_settings(choices, BATCH))
    rows = jax.jit(load_bias)(rows, slots, bias_of(params, BATCH))
    held = np.tile(token_bits(HELD, VOCAB), (BATCH, 1))
    rows = jax.jit(load_prompts)(rows, slots, held)
    for chunk in sampled_chunks([(slot, SAMPLED) for slot in range(BATCH)], BATCH):
        rows = jax.jit(recount)(rows, chunk)
    scores = jnp.tile(jnp.asarray(logits()), (BATCH, 1))

    @jax.jit
    def draw_all(rows: Rows) -> jax.Array:
        def step(found: jax.Array, position: jax.Array) -> tuple[jax.Array, None]:
            where = jnp.stack([slots, jnp.full(BATCH, position)])
            tokens = sample(rows, scores, where)[1]
            return found.at[slots // COPIES, tokens].add(1), None

        start = jnp.zeros((len(SETTINGS), VOCAB), jnp.int32)
        return jax.lax.scan(step, start, PROMPT + jnp.arange(STEPS_EACH))[0]

    found = np.asarray(draw_all(rows))
    assert (found.sum(axis=1) == DRAWS_EACH).all()
    return dict(zip(SETTINGS, found, strict=True))


@pytest.mark.parametrize("name", SETTINGS)
def test_draws_follow_the_oracle(counts, name: str, record_property) -> None:
    expected = oracle_distribution(logits(), SETTINGS[name], SAMPLED, END_IDS, HELD)
    # A token that a rule removed is never drawn.
    assert not counts[name][expected == 0].any()
    found = p_value(counts[name], expected)
    record_property("p-value", found)
    assert found > LEAST_P_VALUE


def test_the_test_tells_neighbouring_settings_apart(counts) -> None:
    near = oracle_distribution(logits(), SamplingParams(temperature=1.05), SAMPLED, END_IDS)
    assert p_value(counts["plain"], near) < LEAST_P_VALUE


# --- keys ----------------------------------------------------------------------------------

UNIFORM = 8
PAIRS = 8 * BATCH


def draw(seed: int, choices: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """One draw from 8 equal tokens for each (choice, position)."""
    row = np.where(np.arange(VOCAB) < UNIFORM, 0.0, -np.inf).astype(np.float32)
    drawn = [
        study.sample(
            np.tile(row, (BATCH, 1)),
            [SamplingParams(seed=seed)] * BATCH,
            choices=choices[start : start + BATCH].tolist(),
            positions=positions[start : start + BATCH].tolist(),
        )
        for start in range(0, len(choices), BATCH)
    ]
    return np.concatenate(drawn)


ZERO = np.zeros(PAIRS, np.int64)
STEPS = np.arange(PAIRS)
FEW = STEPS % 128
LATER = STEPS // 128


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param((3, ZERO, STEPS), (3, ZERO, STEPS + 1), id="the position after"),
        pytest.param((3, ZERO, STEPS), (3, ZERO + 1, STEPS), id="the next choice"),
        pytest.param((3, ZERO, STEPS), (4, ZERO, STEPS), id="the next seed"),
        pytest.param((3, ZERO, STEPS), (3 + 2**32, ZERO, STEPS), id="a seed's upper half"),
        pytest.param((3, ZERO, STEPS), (3 << 32, ZERO, STEPS), id="a seed's halves swapped"),
        pytest.param((0, ZERO + 1, STEPS), (1, ZERO, STEPS), id="seed and choice swapped"),
        pytest.param((3, FEW, LATER + 128), (3, LATER + 128, FEW), id="choice, position swapped"),
        pytest.param((3, ZERO, STEPS), (-4, ZERO, STEPS), id="all bits turned"),
    ],
)
def test_draws_of_different_keys_are_independent(one, other) -> None:
    pairs = np.zeros((UNIFORM, UNIFORM), np.int64)
    np.add.at(pairs, (draw(*one), draw(*other)), 1)
    assert p_value(pairs.ravel(), np.full(UNIFORM**2, 1 / UNIFORM**2)) > LEAST_P_VALUE


def test_a_key_draws_the_same_again() -> None:
    choices, positions = FEW[:BATCH], LATER[:BATCH]
    first = draw(3, choices, positions)
    np.testing.assert_array_equal(first, draw(3, choices, positions))
    np.testing.assert_array_equal(first, draw(3 + 2**64, choices, positions))
    np.testing.assert_array_equal(first, draw(3 - 2**64, choices, positions))


def test_a_row_draws_the_same_wherever_it_stands() -> None:
    rng = np.random.default_rng(1)
    mine = [replace(params, seed=2024) for params in SETTINGS.values()]
    rows = rng.normal(0.0, 1.5, (len(mine), VOCAB)).astype(np.float32)
    alone = [
        find(row[None], [params], sampled=[SAMPLED], end_ids=END_IDS)[0]
        for row, params in zip(rows, mine, strict=True)
        for find in (study.distribution, study.sample)
    ]
    for _ in range(3):
        batch = rng.normal(0.0, 3.0, (64, VOCAB)).astype(np.float32)
        settings = [replace(mine[place % len(mine)], seed=place) for place in range(64)]
        sampled = [((7 * place) % VOCAB, place % VOCAB) for place in range(64)]
        places = rng.permutation(64)[: len(mine)]
        for place, row, params in zip(places, rows, mine, strict=True):
            batch[place], settings[place], sampled[place] = row, params, SAMPLED
        among = study.distribution(batch, settings, sampled=sampled, end_ids=END_IDS)
        tokens = study.sample(batch, settings, sampled=sampled, end_ids=END_IDS)
        np.testing.assert_array_equal(np.asarray(among)[places], np.stack(alone[::2]))
        np.testing.assert_array_equal(np.asarray(tokens)[places], alone[1::2])


def test_temperature_zero_and_one_candidate_need_no_luck() -> None:
    greedy = [
        SamplingParams(temperature=0.0),
        SamplingParams(top_k=1),
        SamplingParams(top_p=0.0),
        SamplingParams(min_p=1.0),
    ]
    rows = [replace(params, seed=seed) for params in greedy for seed in range(16)]
    drawn = study.sample(np.tile(logits(), (64, 1)), rows)
    assert set(drawn.tolist()) == {int(np.argmax(logits()))}
