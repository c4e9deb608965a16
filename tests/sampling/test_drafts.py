"""Several tokens of a slot in one draw are those that come one by one."""

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sampling.batch import (
    Bias,
    Choice,
    Rows,
    bias_of,
    empty_rows,
    load_bias,
    load_masks,
    load_prompts,
    load_rows,
    mask_words,
    row_settings,
    token_bits,
)
from sampling.params import SamplingParams
from sampling.sampler import sample

VOCAB, SLOTS, WIDTH, LENGTH = 40, 3, 16, 24
END_IDS = (1, 2)
_sample = jax.jit(sample)


def logits_after(slot: int, answer: list[int]) -> np.ndarray:
    """A model: scores that hang on all that was said."""
    seed = [slot, *answer]
    return np.random.default_rng(seed).normal(0, 2, VOCAB).astype(np.float32)


def allowed_after(slot: int, answer: list[int]) -> np.ndarray:
    """A grammar: half of the tokens, which half hangs on all that was said."""
    chosen = np.random.default_rng([7, slot, *answer]).permutation(VOCAB)[: VOCAB // 2]
    return token_bits(chosen.tolist(), VOCAB)


def any_params(rng: random.Random) -> SamplingParams:
    bias = {rng.randrange(VOCAB): rng.choice([-100.0, -3.0, 2.5]) for _ in range(4)}
    return SamplingParams(
        seed=rng.randrange(2**40),
        temperature=rng.choice([0.0, 0.0, 0.7, 1.3]),
        top_k=rng.choice([0, 5]),
        top_p=rng.choice([1.0, 0.8]),
        min_p=rng.choice([0.0, 0.05]),
        frequency_penalty=rng.choice([0.0, 0.9, -0.5]),
        presence_penalty=rng.choice([0.0, 1.5]),
        repetition_penalty=rng.choice([1.0, 1.4]),
        min_tokens=rng.choice([0, 6]),
        logit_bias=tuple(bias.items()) if rng.random() < 0.5 else (),
    )


class Story:
    """Three slots with random settings, from the same start."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.params = [any_params(rng) for _ in range(SLOTS)]
        self.masked = [rng.random() < 0.4 for _ in range(SLOTS)]
        prompts = [[rng.randrange(VOCAB) for _ in range(5)] for _ in range(SLOTS)]
        choices = [
            Choice(params, 0, 5, END_IDS, masked)
            for params, masked in zip(self.params, self.masked, strict=True)
        ]
        slots = jnp.arange(SLOTS)
        rows = load_rows(empty_rows(WIDTH, VOCAB), slots, row_settings(choices, SLOTS))
        rows = load_bias(rows, slots, Bias(*map(jnp.asarray, bias_of(self.params, SLOTS))))
        bits = jnp.asarray(np.stack([token_bits(prompt, VOCAB) for prompt in prompts]))
        self.rows: Rows = load_prompts(rows, slots, bits)
        self.answers: list[list[int]] = [[] for _ in range(SLOTS)]

    def step(self, drafts: list[list[int]]) -> int:
        """Draw after each slot's answer and after its drafts; keeps what agrees, tells how many."""
        places = [
            (slot, before, drafted[before - 1] if before else 0)
            for slot, drafted in enumerate(drafts)
            for before in range(len(drafted) + 1)
        ]
        where, drafted = np.zeros((2, 2, WIDTH), np.int32)
        where[0] = WIDTH
        logits = np.zeros((WIDTH, VOCAB), np.float32)
        masks = np.zeros((WIDTH, mask_words(VOCAB)), np.uint32)
        for index, (slot, before, given) in enumerate(places):
            said = self.answers[slot] + drafts[slot][:before]
            where[:, index] = slot, 5 + len(said)
            drafted[:, index] = before, given
            logits[index] = logits_after(slot, said)
            masks[index] = allowed_after(slot, said)
        self.rows = load_masks(self.rows, jnp.arange(WIDTH), jnp.asarray(masks))
        self.rows, tokens = _sample(self.rows, logits, where, drafted)
        kept = agrees = 0
        for (slot, before, given), token in zip(places, np.asarray(tokens).tolist(), strict=False):
            agrees = before == 0 or (agrees and self.answers[slot][-1] == given)
            if agrees:
                self.answers[slot].append(token)
                kept += 1
        return kept


@pytest.mark.parametrize("seed", range(40))
def test_drafts_change_nothing_but_the_number_of_steps(seed):
    one_by_one, drafted = Story(seed), Story(seed)
    for _ in range(LENGTH):
        one_by_one.step([[]] * SLOTS)
    rng = random.Random(seed)
    right = rng.choice([0.0, 0.6, 1.0])
    most = 0
    while min(map(len, drafted.answers)) < LENGTH - 4:
        drafts = []
        for slot in range(SLOTS):
            done = len(drafted.answers[slot])
            draft = one_by_one.answers[slot][done : done + rng.randint(0, 4)]
            drafts.append([t if rng.random() < right else (t + 1) % VOCAB for t in draft])
        most = max(most, drafted.step(drafts))
    assert (most > SLOTS) == (right > 0)
    for slot in range(SLOTS):
        length = min(LENGTH, len(drafted.answers[slot]))
        assert drafted.answers[slot][:length] == one_by_one.answers[slot][:length]
        # What the device remembers is what was kept, and no more.
        answer = drafted.answers[slot]
        assert int(drafted.rows.last_token[slot]) == answer[-1]
        params = drafted.params[slot]
        penalized = params.frequency_penalty or params.presence_penalty
        if penalized or params.repetition_penalty != 1:
            counted = np.bincount(answer, minlength=VOCAB)
            np.testing.assert_array_equal(drafted.rows.counts[slot], counted)
