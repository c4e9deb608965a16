"""The sampling step: order of the rules, counting, and independence of neighbours."""

import random
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sampling.batch import (
    Choice,
    Rows,
    bias_of,
    empty_rows,
    load_bias,
    load_masks,
    load_prompts,
    load_rows,
    recount,
    row_settings,
    sampled_chunks,
    token_bits,
)
from sampling.params import SamplingParams
from sampling.sampler import distribution as distribution_step
from sampling.sampler import sample as sample_step

pytestmark = pytest.mark.usefixtures("quickly")

SLOTS = 64
VOCAB = 300
sample = jax.jit(sample_step)
distribution = jax.jit(distribution_step)
put_settings, put_bias, count_anew = jax.jit(load_rows), jax.jit(load_bias), jax.jit(recount)
put_prompt = jax.jit(load_prompts)


def loaded(
    params: dict[int, SamplingParams],
    number: int = 0,
    sampled: dict[int, list[int]] | None = None,
    end_ids: tuple[int, ...] = (),
    vocab: int = VOCAB,
) -> Rows:
    """Rows with these settings, by slot, loaded in the dictionary's order.

    Every seventh token is in their prompts.
    """
    rows = empty_rows(SLOTS, vocab)
    for slot, settings in params.items():
        at = jnp.array([slot])
        prompt = token_bits(range(0, vocab, 7), vocab)[None]
        rows = put_prompt(rows, at, jnp.asarray(prompt))
        rows = put_settings(rows, at, row_settings([Choice(settings, number, 10, end_ids)], 1))
        if settings.logit_bias:
            rows = put_bias(rows, at, bias_of([settings], 1))
        for chunk in sampled_chunks([(slot, (sampled or {}).get(slot, []))], 1):
            rows = count_anew(rows, chunk)
    return rows


def logits_of(seed: int, rows: int) -> jax.Array:
    return 3 * jax.random.normal(jax.random.key(seed), (rows, VOCAB))


def where(slots: list[int], positions: list[int]) -> jax.Array:
    return jnp.array([slots, positions], jnp.int32)


def probabilities(logits: list[float], sampled: list[int] | None = None, **fields) -> np.ndarray:
    """What one row draws from, with end id 3 and the answer starting at position 10."""
    vocab = len(logits)
    params, tokens = {0: SamplingParams(**fields)}, {0: sampled or []}
    rows = loaded(params, sampled=tokens, end_ids=(3,), vocab=vocab)
    at = where([0], [10 + len(tokens[0])])
    return np.asarray(distribution(rows, jnp.array([logits], jnp.float32), at)[0])


# --- order ---------------------------------------------------------------------------------

QUARTERS = [0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # At temperature 2 the square roots of 8 : 4 : 2 : 1, of which the first two have
        # 0.67 and the third crosses 0.75; without temperature the first two have 0.8.
        (
            {"temperature": 2.0, "top_p": 0.75},
            np.sqrt([8, 4, 2, 0]) / np.sqrt([8, 4, 2]).sum(),
        ),
        # 8 and 4 are left of top_k; 8/12 reaches 0.6 alone, 8/15 would not.
        ({"top_k": 2, "top_p": 0.6}, [1, 0, 0, 0]),
        # min_p 0.3 of 8 keeps 4; at temperature 0.5 it is 64 to 16, and does not.
        ({"min_p": 0.3}, [2 / 3, 1 / 3, 0, 0]),
        ({"min_p": 0.3, "temperature": 0.5}, [1, 0, 0, 0]),
        # The bias decides who is among the two likeliest.
        ({"top_k": 1, "logit_bias": ((2, 2.0),)}, [0, 0, 1, 0]),
        # What the bias removes is neither one of top_k, nor the likeliest of min_p.
        (
            {"top_k": 2, "min_p": 0.9, "logit_bias": ((0, -100.0),)},
            [0, 1, 0, 0],
        ),
        # A bias of 100 does not bring back a banned end.
        ({"ignore_eos": True, "logit_bias": ((3, 100.0),), "temperature": 0.0}, [1, 0, 0, 0]),
    ],
)
def test_rules_apply_in_order(fields, expected):
    logits = np.log([8.0, 4.0, 2.0, 1.0]).tolist()
    np.testing.assert_allclose(probabilities(logits, **fields), expected, atol=1e-6)


def test_penalties_reorder_before_top_k():
    logits = np.log([8.0, 4.0, 2.0, 1.0]).tolist()
    got = probabilities(logits, [0, 0], frequency_penalty=2.0, top_k=2)
    np.testing.assert_allclose(got, [0, 2 / 3, 1 / 3, 0], atol=1e-6)
    got = probabilities(logits, [0, 0], frequency_penalty=2.0, temperature=0.0)
    assert got.tolist() == [0, 1, 0, 0]


def test_end_ids_come_back_after_min_tokens():
    assert probabilities(QUARTERS, [0], min_tokens=2).tolist() == pytest.approx([1 / 3] * 3 + [0])
    assert probabilities(QUARTERS, [0, 0], min_tokens=2).tolist() == pytest.approx([1 / 4] * 4)
    assert probabilities(QUARTERS, [0] * 99, ignore_eos=True)[3] == 0


def test_a_row_without_any_token_left_gets_token_0():
    bias = tuple((token, -100.0) for token in range(VOCAB))
    params = {0: SamplingParams(logit_bias=bias), 1: SamplingParams(0.0, logit_bias=bias)}
    _, tokens = sample(loaded(params), logits_of(0, 2), where([0, 1], [4, 4]))
    assert tokens.tolist() == [0, 0]


def test_temperature_zero_is_argmax_and_ties_go_to_the_lowest_id():
    rows = loaded({0: SamplingParams(temperature=0.0)})
    logits = jnp.zeros((1, VOCAB)).at[0, jnp.array([40, 7, 90])].set(2.0)
    _, tokens = sample(rows, logits, where([0], [0]))
    assert tokens.tolist() == [7]


@pytest.mark.parametrize(
    "fields", [{"top_p": 0.0}, {"top_k": 1}, {"temperature": 1e-4}, {"min_p": 1.0}]
)
def test_other_ways_to_the_likeliest_token(fields):
    logits = logits_of(1, 8)
    rows = loaded({slot: SamplingParams(seed=slot, **fields) for slot in range(8)})
    _, tokens = sample(rows, logits, where(list(range(8)), [9] * 8))
    assert tokens.tolist() == jnp.argmax(logits, axis=-1).tolist()


# --- state ---------------------------------------------------------------------------------


def test_tokens_are_remembered_in_their_slots_and_padding_is_not():
    rows = loaded({3: SamplingParams(temperature=0.0), 9: SamplingParams(temperature=0.0)})
    logits = jnp.zeros((3, VOCAB)).at[jnp.arange(3), jnp.array([11, 22, 33])].set(1.0)
    after, _ = sample(rows, logits, where([9, 3, SLOTS], [0, 0, 0]))
    assert after.last_token[9] == 11
    assert after.last_token[3] == 22
    assert jnp.sum(after.last_token > 0) == 2


def test_only_tokens_of_rows_with_a_penalty_are_counted():
    greedy = partial(SamplingParams, temperature=0.0)
    rows = loaded({1: greedy(), 2: greedy(frequency_penalty=0.5), 3: greedy(presence_penalty=-1.0)})
    logits = jnp.zeros((4, VOCAB)).at[:, 5].set(9.0)
    for position in (10, 11):
        rows, _ = sample(rows, logits, where([1, 2, 3, SLOTS], [position] * 4))
    assert rows.counts.sum() == 4
    assert rows.counts[2, 5] == rows.counts[3, 5] == 2


def test_a_presence_penalty_walks_down_the_ranking_and_a_frequency_penalty_comes_back():
    # Scores 3, 2, 1, 0. Frequency 1.25: 3 → 1.75; 2 → .75; 1.75 → .5; 1 → −.25; .75 → …
    logits = jnp.tile(jnp.array([[3.0, 2.0, 1.0, 0.0]]), (2, 1))
    params = [
        SamplingParams(temperature=0.0, presence_penalty=2.0, frequency_penalty=2.0),
        SamplingParams(temperature=0.0, frequency_penalty=1.25),
    ]
    rows = loaded(dict(enumerate(params)), vocab=4)
    answers = []
    for position in range(5):
        rows, tokens = sample(rows, logits, where([0, 1], [position] * 2))
        answers.append(tokens.tolist())
    assert [first for first, _ in answers] == [0, 1, 2, 3, 0]
    assert [second for _, second in answers] == [0, 1, 0, 2, 1]


def test_reloading_a_slot_forgets_the_last_ones_bias_and_counts():
    biased = SamplingParams(0.0, logit_bias=((7, 100.0),), presence_penalty=2.0)
    rows = loaded({0: biased})
    logits = jnp.zeros((1, VOCAB)).at[0, 9].set(1.0)
    rows, tokens = sample(rows, logits, where([0], [10]))
    assert tokens.tolist() == [7]
    rows = put_settings(rows, jnp.array([0]), row_settings([Choice(SamplingParams(0.0))], 1))
    _, tokens = sample(rows, logits, where([0], [10]))
    assert tokens.tolist() == [9]


# --- independence --------------------------------------------------------------------------


def any_params(rng: random.Random) -> SamplingParams:
    tokens = rng.sample(range(VOCAB), rng.choice([0, 0, 3, 40]))
    return SamplingParams(
        temperature=rng.choice([0.0, 0.7, 1.0, 2.0]),
        top_p=rng.choice([0.0, 0.5, 0.9, 1.0]),
        seed=rng.randrange(2**64),
        logit_bias=tuple((token, rng.choice([-100.0, -3.0, 8.0])) for token in tokens),
        frequency_penalty=rng.choice([0.0, 0.5, -0.5]),
        presence_penalty=rng.choice([0.0, 1.0]),
        top_k=rng.choice([0, 1, 20, 200]),
        min_p=rng.choice([0.0, 0.05]),
        min_tokens=rng.choice([0, 12]),
        ignore_eos=rng.random() < 0.2,
        repetition_penalty=rng.choice([1.0, 1.0, 1.3, 0.7]),
        stop_ids=tuple(rng.sample(range(VOCAB), rng.choice([0, 0, 5]))),
    )


@pytest.mark.parametrize("seed", range(12))
def test_a_row_gets_the_same_token_alone_and_as_row_37_of_64_in_any_order(seed):
    rng = random.Random(seed)
    wanted, history = any_params(rng), {37: [rng.randrange(VOCAB) for _ in range(9)]}
    logits = logits_of(seed, SLOTS)
    positions = [10 + rng.randrange(30) for _ in range(SLOTS)]
    at = where(list(range(SLOTS)), positions)
    tokens, odds = [], []
    for _ in range(3):
        crowd = [*((slot, any_params(rng)) for slot in range(SLOTS) if slot != 37), (37, wanted)]
        rng.shuffle(crowd)
        rows = loaded(dict(crowd), sampled=history, end_ids=(1, 2))
        tokens.append(int(sample(rows, logits, at)[1][37]))
        odds.append(np.asarray(distribution(rows, logits, at)[37]))
    for slot in (0, 37, 63):
        alone = loaded({slot: wanted}, sampled={slot: history[37]}, end_ids=(1, 2))
        single = where([slot], [positions[37]])
        tokens.append(int(sample(alone, logits[37:38], single)[1][0]))
    assert len(set(tokens)) == 1
    np.testing.assert_array_equal(odds[0], odds[1])
    np.testing.assert_array_equal(odds[0], odds[2])
    assert odds[0][tokens[0]] > 0


def test_choices_and_seeds_draw_independently():
    logits = jnp.tile(logits_of(3, 1) / 10, (200, 1))

    def tokens(seed: int, choice: int) -> list[int]:
        rows = loaded({0: SamplingParams(seed=seed)}, choice)
        found = []
        for position in range(40):
            rows, token = sample(rows, logits[:1], where([0], [position]))
            found.append(int(token[0]))
        return found

    drawn = [tokens(1, 0), tokens(1, 1), tokens(2, 0), tokens(2**63 + 1, 0), tokens(-1, 0)]
    assert len({tuple(run) for run in drawn}) == len(drawn)
    assert tokens(1, 1) == drawn[1]
    assert tokens(2**64 - 1, 0) == drawn[4]  # −1 as an unsigned 64-bit number


def test_every_mixture_runs_one_compiled_program():
    jitted = jax.jit(partial(sample_step))
    rng = random.Random(0)
    logits = logits_of(4, 4)
    for _ in range(20):
        rows = loaded({slot: any_params(rng) for slot in range(4)}, end_ids=(1, 2))
        jitted(rows, logits, where([0, 1, 2, 3], [10, 11, 12, 13]))
    assert jitted._cache_size() == 1


@pytest.mark.parametrize(
    "field",
    [
        {"temperature": 2.1},
        {"temperature": -0.1},
        {"top_p": 1.01},
        {"min_p": -0.1},
        {"top_k": -1},
        {"min_tokens": -1},
        {"frequency_penalty": 2.5},
        {"presence_penalty": -2.5},
        {"repetition_penalty": 0.0},
        {"repetition_penalty": 2.01},
        {"stop_ids": tuple(range(33))},
        {"logit_bias": ((1, 101.0),)},
        {"logit_bias": ((1, 1.0), (1, 2.0))},
        {"logit_bias": tuple((token, 1.0) for token in range(1025))},
    ],
)
def test_settings_out_of_range_are_refused(field):
    with pytest.raises(ValueError, match=next(iter(field))):
        SamplingParams(**field)


# --- masks ---------------------------------------------------------------------------------


def masked_rows(params: SamplingParams, allowed: list[int], vocab: int) -> Rows:
    """Slot 0 with these settings and tokens, end id 3, and the answer starting at 10."""
    rows = empty_rows(SLOTS, vocab)
    rows = put_settings(rows, jnp.array([0]), row_settings([Choice(params, 0, 10, (3,), True)], 1))
    if params.logit_bias:
        rows = put_bias(rows, jnp.array([0]), bias_of([params], 1))
    bits = np.zeros((1, vocab), np.int64)
    bits[0, allowed] = 1 << np.array(allowed)
    words = bits.sum(axis=1, keepdims=True).astype(np.uint32)
    return load_masks(rows, jnp.array([0]), jnp.asarray(words))


def masked(logits: list[float], allowed: list[int], at: int = 10, **fields) -> list[float]:
    rows = masked_rows(SamplingParams(**fields), allowed, len(logits))
    out = distribution(rows, jnp.array([logits], jnp.float32), where([0], [at]))
    return np.round(np.asarray(out)[0], 6).tolist()


def test_a_mask_comes_before_the_argmax_of_temperature_0():
    assert masked([9, 2, 5, 1], [1, 3], temperature=0.0) == [0, 1, 0, 0]


def test_a_mask_removes_and_the_rest_keeps_its_proportions():
    assert masked(np.log([0.5, 0.25, 0.125, 0.125]).tolist(), [1, 2]) == [
        0,
        pytest.approx(2 / 3, abs=1e-5),
        pytest.approx(1 / 3, abs=1e-5),
        0,
    ]


def test_a_mask_revives_nothing_that_a_bias_has_removed():
    assert masked([1, 1, 1, 1], [0, 1], logit_bias=((0, -100.0),)) == [0, 1, 0, 0]


def test_a_bias_revives_nothing_that_a_mask_removes():
    assert masked([1, 1, 1, 1], [0], logit_bias=((1, 100.0),)) == [1, 0, 0, 0]


def test_bans_of_end_ids_hold_beside_a_mask():
    assert masked([1, 1, 1, 1], [0, 3], min_tokens=2) == [1, 0, 0, 0]
    assert masked([1, 1, 1, 1], [0, 3], at=12, min_tokens=2) == [0.5, 0, 0, 0.5]


def test_what_top_k_and_top_p_count_are_the_tokens_that_the_mask_leaves():
    assert masked([9, 8, 2, 1], [2, 3], top_k=1) == [0, 0, 1, 0]
    assert masked([9, 8, 2, 1], [2, 3], top_p=0.5) == [0, 0, 1, 0]


def test_the_mask_of_a_slot_whose_choice_has_none_is_not_read():
    rows = load_masks(
        loaded({0: SamplingParams()}, vocab=4), jnp.array([0]), jnp.array([[1]], jnp.uint32)
    )
    out = distribution(rows, jnp.ones((1, 4)), where([0], [10]))
    assert out[0].tolist() == [0.25] * 4
