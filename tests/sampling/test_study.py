"""The sampler without an engine."""

import numpy as np
import pytest

from sampling import study
from sampling.params import SamplingParams

LOGITS = np.log([[0.1, 0.2, 0.3, 0.4]] * 3).astype(np.float32)
PLAIN = [SamplingParams(seed=seed) for seed in range(3)]


def test_distribution_of_mixed_rows():
    params = [SamplingParams(), SamplingParams(temperature=0.0), SamplingParams(top_k=2)]
    got = study.distribution(LOGITS, params)
    np.testing.assert_allclose(
        got, [[0.1, 0.2, 0.3, 0.4], [0, 0, 0, 1], [0, 0, 3 / 7, 4 / 7]], atol=1e-6
    )


def test_draws_follow_seed_choice_and_position():
    def draws(**fields) -> list[int]:
        flat = np.zeros((64, 1000), np.float32)
        return study.sample(flat, [SamplingParams(seed=5)] * 64, **fields).tolist()

    positions = list(range(64))
    first = draws(positions=positions)
    assert draws(positions=positions) == first
    assert len(set(first)) > 50
    assert draws(positions=positions, choices=[1] * 64) != first
    assert len(set(draws())) == 1
    # The same place by another way: nine tokens sampled after prompts.
    after = draws(prompt_lengths=[max(p - 9, 0) for p in positions], sampled=[[1] * 9] * 64)
    assert after[9:] == first[9:]


def test_what_was_sampled_counts_for_penalties_and_for_min_tokens():
    params = [
        SamplingParams(frequency_penalty=2.0),
        SamplingParams(min_tokens=2),
        SamplingParams(min_tokens=3),
    ]
    got = study.distribution(LOGITS, params, sampled=[[3, 3], [0, 0], [0, 0]], end_ids=[3])
    weights = np.array([0.1, 0.2, 0.3, 0.4 * np.exp(-4)])
    np.testing.assert_allclose(got[0], weights / weights.sum(), rtol=1e-5)
    assert got[1][3] > 0
    assert got[2][3] == 0


def test_any_number_of_end_ids_is_banned():
    params = [SamplingParams(ignore_eos=True)]
    got = study.distribution(np.zeros((1, 30), np.float32), params, end_ids=range(20))
    np.testing.assert_allclose(got, [[0.0] * 20 + [0.1] * 10], rtol=1e-6)


def test_log_probabilities():
    np.testing.assert_allclose(study.log_probabilities(LOGITS), LOGITS, atol=1e-6)
    sampled, ids, values = study.top_logprobs(LOGITS, [0, 1, 3])
    np.testing.assert_allclose(sampled, np.log([0.1, 0.2, 0.4]), atol=1e-6)
    assert ids.tolist() == [[3, 2, 1, 0]] * 3
    np.testing.assert_allclose(values[0], np.log([0.4, 0.3, 0.2, 0.1]), atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"params": PLAIN[:2]}, "params has 2 entries for 3 rows"),
        ({"params": PLAIN, "sampled": [[], [4], []]}, "token 4 is not in a vocabulary of 4"),
        ({"params": PLAIN, "end_ids": [-1]}, "token -1"),
        ({"params": [SamplingParams(logit_bias=((9, 1.0),))] * 3}, "token 9"),
        ({"params": PLAIN, "choices": [0]}, "choices has 1 entries"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        study.sample(LOGITS, **fields)
