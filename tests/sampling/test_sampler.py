"""The sampling step: rows of settings, order, and independence of neighbours."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sampling.batch import Rows, empty_rows, load_rows, row_settings
from sampling.params import SamplingParams
from sampling.sampler import sample as sample_step

SLOTS = 64
VOCAB = 300
sample = jax.jit(sample_step)


def loaded(params: dict[int, SamplingParams], choice: int = 0) -> Rows:
    rows = empty_rows(SLOTS)
    for slot, settings in params.items():
        rows = load_rows(rows, jnp.array([slot]), row_settings([(settings, choice)], 1))
    return rows


def logits_of(seed: int, rows: int) -> jax.Array:
    return 3 * jax.random.normal(jax.random.key(seed), (rows, VOCAB))


def where(slots: list[int], positions: list[int]) -> jax.Array:
    return jnp.array([slots, positions], jnp.int32)


def test_temperature_zero_is_argmax_and_ties_go_to_the_lowest_id():
    rows = loaded({0: SamplingParams(temperature=0.0)})
    logits = jnp.zeros((1, VOCAB)).at[0, jnp.array([40, 7, 90])].set(2.0)
    _, tokens = sample(rows, logits, where([0], [0]))
    assert tokens.tolist() == [7]


def test_top_p_zero_is_argmax_too():
    logits = logits_of(1, 8)
    rows = loaded({slot: SamplingParams(top_p=0.0, seed=slot) for slot in range(8)})
    _, tokens = sample(rows, logits, where(list(range(8)), [9] * 8))
    assert tokens.tolist() == jnp.argmax(logits, axis=-1).tolist()


def test_tokens_are_remembered_in_their_slots_and_padding_is_not():
    rows = loaded({3: SamplingParams(temperature=0.0), 9: SamplingParams(temperature=0.0)})
    logits = jnp.zeros((3, VOCAB)).at[jnp.arange(3), jnp.array([11, 22, 33])].set(1.0)
    after, _ = sample(rows, logits, where([9, 3, SLOTS], [0, 0, 0]))
    assert after.last_token[9] == 11
    assert after.last_token[3] == 22
    assert jnp.sum(after.last_token > 0) == 2


def test_a_row_gets_the_same_token_alone_and_among_63_others():
    params = SamplingParams(temperature=1.3, top_p=0.8, seed=5)
    logits = logits_of(2, SLOTS)
    neighbours = {
        slot: SamplingParams(temperature=float(slot % 3), top_p=(slot % 5) / 4, seed=slot)
        for slot in range(SLOTS)
    }
    crowd = loaded(neighbours | {37: params})
    _, tokens = sample(crowd, logits, where(list(range(SLOTS)), list(range(SLOTS))))
    for slot in (0, 37, 63):
        alone = loaded({slot: params})
        _, single = sample(alone, logits[37:38], where([slot], [37]))
        assert single[0] == tokens[37]


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
    rows = loaded({0: SamplingParams(), 1: SamplingParams(temperature=0.0)})
    logits = logits_of(4, 2)
    for params in (SamplingParams(top_p=0.1), SamplingParams(temperature=2.0), SamplingParams()):
        rows = load_rows(rows, jnp.array([1]), row_settings([(params, 0)], 1))
        rows, _ = jitted(rows, logits, where([0, 1], [1, 1]))
    assert jitted._cache_size() == 1


@pytest.mark.parametrize("field", [{"temperature": 2.1}, {"temperature": -0.1}, {"top_p": 1.01}])
def test_settings_out_of_range_are_refused(field):
    with pytest.raises(ValueError, match=next(iter(field))):
        SamplingParams(**field)


def test_settings_are_padded_with_neutral_values():
    settings = row_settings([(SamplingParams(0.5, 0.25, 2**32 + 7), 3)], 2)
    assert settings.temperature.tolist() == [0.5, 0.0]
    assert settings.top_p.tolist() == [0.25, 1.0]
    assert settings.key.tolist() == [[1, 7, 3], [0, 0, 0]]
    assert settings.key.dtype == np.uint32
