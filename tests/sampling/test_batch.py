"""Settings on their way into row slots, and the counts of sampled tokens."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sampling.batch import (
    NOTHING,
    RECOUNT_TOKENS,
    Choice,
    bias_of,
    empty_rows,
    load_bias,
    load_rows,
    recount,
    row_settings,
    sampled_chunks,
    settings_at,
    token_bits,
)
from sampling.params import MAX_STOP_IDS, SamplingParams

pytestmark = pytest.mark.usefixtures("quickly")


def test_settings_are_padded_with_neutral_values():
    params = SamplingParams(
        0.5, 0.25, 2**32 + 7, ((4, 1.0),), frequency_penalty=1.5, presence_penalty=-2.0
    )
    settings = row_settings([Choice(params, 3)], 2)
    assert settings.temperature.tolist() == [0.5, 0.0]
    assert settings.top_p.tolist() == [0.25, 1.0]
    assert settings.frequency.tolist() == [1.5, 0.0]
    assert settings.presence.tolist() == [-2.0, 0.0]
    assert settings.bias_count.tolist() == [1, 0]
    assert settings.key.tolist() == [[1, 7, 3], [0, 0, 0]]
    assert settings.key.dtype == np.uint32


@pytest.mark.parametrize(
    ("fields", "position"),
    [
        ({"min_tokens": 5}, 15),
        ({"ignore_eos": True, "min_tokens": 5}, NOTHING),
        ({"min_tokens": 2**40}, NOTHING),
        ({}, 0),
    ],
)
def test_end_ids_are_banned_up_to_a_position(fields, position):
    settings = row_settings([Choice(SamplingParams(**fields), 0, 10, {9, 2})], 1)
    assert settings.first_positions[0, :3].tolist() == [position, position, 0]
    assert settings.early_ids[0, :3].tolist() == ([2, 9, NOTHING] if fields else [NOTHING] * 3)


@pytest.mark.parametrize(
    ("fields", "banned"),
    [
        ({"min_tokens": 5}, {2: 15, 4: 15, 9: 15}),
        ({"ignore_eos": True, "min_tokens": 5}, {2: NOTHING, 4: 15, 9: NOTHING}),
        ({"ignore_eos": True}, {2: NOTHING, 9: NOTHING}),
        ({}, {}),
    ],
)
def test_a_requests_own_stop_ids_wait_for_min_tokens_alone(fields, banned):
    params = SamplingParams(stop_ids=(4, 2), **fields)
    settings = row_settings([Choice(params, 0, 10, {9, 2})], 1)
    found = zip(settings.early_ids[0].tolist(), settings.first_positions[0].tolist(), strict=True)
    assert {token: position for token, position in found if token != NOTHING} == banned


def test_more_end_ids_than_a_row_holds_are_refused_where_they_are_to_be_banned():
    many = Choice(SamplingParams(min_tokens=1), end_ids=range(9))
    with pytest.raises(ValueError, match=r"9 end ids .* room for 8"):
        row_settings([many], 1)
    row_settings([many._replace(params=SamplingParams())], 1)


def test_rows_have_the_room_for_end_ids_that_is_asked_for():
    many = Choice(SamplingParams(min_tokens=1), end_ids=range(30))
    settings = row_settings([many], 2, room=31)
    rest = [NOTHING] * (1 + MAX_STOP_IDS)
    assert settings.early_ids.tolist() == [[*range(30), *rest], [NOTHING] * 30 + rest]
    rows = jax.jit(load_rows)(empty_rows(4, 50, 31), jnp.array([3, NOTHING]), settings)
    assert rows.settings.early_ids[3].tolist() == [*range(30), *rest]


def test_values_beyond_the_devices_types_are_clamped():
    settings = row_settings([Choice(SamplingParams(temperature=5e-324, top_k=2**40))], 1)
    assert settings.temperature[0] > 0
    assert settings.top_k[0] == NOTHING


def test_a_bias_of_minus_100_removes_and_minus_99_does_not():
    bias = bias_of([SamplingParams(logit_bias=((7, -100.0), (2, -99.0))), SamplingParams()], 3)
    assert bias.ids.shape == (3, 1024)
    assert bias.ids[0, :3].tolist() == [7, 2, NOTHING]
    assert bias.values[0, :3].tolist() == [-np.inf, -99, 0]
    assert (bias.ids[1:] == NOTHING).all()


def test_loading_touches_the_named_slots_only():
    rows = empty_rows(4, 10)
    slots = jnp.array([2, 0, NOTHING])
    settings = row_settings([Choice(SamplingParams(0.25, top_k=5)), Choice(SamplingParams(2.0))], 3)
    rows = load_rows(rows, slots, settings)
    rows = load_bias(rows, slots, bias_of([SamplingParams(logit_bias=((1, 3.0),))], 3))
    assert rows.settings.temperature.tolist() == [2.0, 0, 0.25, 0]
    assert rows.settings.top_k.tolist() == [0, 0, 5, 0]
    assert rows.bias.ids[:, 0].tolist() == [NOTHING, NOTHING, 1, NOTHING]
    assert settings_at(rows, jnp.array([2, 99])).temperature.tolist() == [0.25, 0]


def test_keys_of_choices_and_seeds_differ():
    choices = [
        Choice(SamplingParams(seed=seed), number) for seed in (0, 1, 2**32) for number in (0, 1)
    ]
    rows = load_rows(empty_rows(6, 10), jnp.arange(6), row_settings(choices, 6))
    assert len({tuple(key) for key in rows.settings.key.tolist()}) == 6


def test_bits_of_tokens():
    assert token_bits([0, 33, 33, 31], 40).tolist() == [1 + 2**31, 2]
    assert token_bits([], 40).tolist() == [0, 0]


def test_recounting_starts_from_zero_and_leaves_other_slots_alone():
    rows = empty_rows(3, 6)
    rows = rows._replace(counts=jnp.full((3, 6), 7))
    (chunk,) = sampled_chunks([(2, [5, 1, 5]), (0, [])], 4)
    counts = recount(rows, chunk).counts
    assert counts.tolist() == [[0] * 6, [7] * 6, [0, 1, 0, 0, 0, 2]]


def test_long_answers_are_recounted_in_chunks():
    generator = np.random.default_rng(0)
    answers = [generator.integers(0, 50, length).tolist() for length in (0, 256, 257, 1000)]
    chunks = sampled_chunks(list(enumerate(answers)), 8)
    assert len(chunks) == 4
    assert all(chunk.ids.shape == (8, RECOUNT_TOKENS) for chunk in chunks)
    rows = empty_rows(4, 50)._replace(counts=jnp.ones((4, 50), jnp.int32))
    jitted = jax.jit(partial(recount))  # partial: a compile cache of its own
    for chunk in chunks:
        rows = jitted(rows, chunk)
    wanted = [np.bincount(np.array(answer, int), minlength=50).tolist() for answer in answers]
    assert rows.counts.tolist() == wanted
    assert jitted._cache_size() == 1
