"""The sampler for people: settings and logits in, tokens or distributions out.

    sample(logits, [SamplingParams(temperature=0.7, top_p=0.9)])
    distribution(logits, [SamplingParams(min_p=0.1)])

No model and no engine, but the same functions and row arrays that the engine runs.
"""

from collections.abc import Collection, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from sampling import logprobs, sampler
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
from sampling.params import END_IDS, SamplingParams

_empty_rows = jax.jit(empty_rows, static_argnums=(0, 1, 2))
_load_rows = jax.jit(load_rows)
_load_bias = jax.jit(load_bias)
_load_prompts = jax.jit(load_prompts)
_recount = jax.jit(recount)
_sample = jax.jit(sampler.sample)
_distribution = jax.jit(sampler.distribution)
_top_logprobs = jax.jit(logprobs.top_logprobs)
_log_probabilities = jax.jit(logprobs.log_probabilities)

Logits = Float[np.ndarray, "B V"] | Float[jax.Array, "B V"]


def sample(
    logits: Logits,
    params: Sequence[SamplingParams],
    *,
    choices: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    sampled: Sequence[Sequence[int]] | None = None,
    prompt_lengths: Sequence[int] | None = None,
    prompts: Sequence[Collection[int]] | None = None,
    end_ids: Collection[int] = (),
) -> Int[np.ndarray, " B"]:
    """One token per row, as the engine would sample it.

    Args:
        logits: raw scores, one row per token to be sampled.
        params: settings of each row; the seed keys its draw.
        choices: each row's number among its request's choices; 0 if not given.
        positions: each row's place in its sequence, which the draw depends on; what is
            sampled so far after the prompt if not given.
        sampled: per row the tokens sampled so far, for penalties and `min_tokens`; none if
            not given.
        prompt_lengths: tokens before those; if not given, what `positions` leaves, or 0.
        prompts: per row the tokens that its prompt holds, for repetition penalties; none if not
            given.
        end_ids: what `min_tokens` and `ignore_eos` ban.

    Returns:
        Token ids.

    Raises:
        ValueError: the arguments do not fit each other.
    """
    count = len(params)
    rows, scores, where = _prepared(
        logits,
        params,
        choices or [0] * count,
        positions,
        sampled or [()] * count,
        prompt_lengths,
        prompts or [()] * count,
        end_ids,
    )
    return np.asarray(_sample(rows, scores, where)[1])


def distribution(
    logits: Logits,
    params: Sequence[SamplingParams],
    *,
    sampled: Sequence[Sequence[int]] | None = None,
    prompts: Sequence[Collection[int]] | None = None,
    end_ids: Collection[int] = (),
) -> Float[np.ndarray, "B V"]:
    """The probabilities that `sample` draws from, after all rules; one-hot at temperature 0.

    Args:
        logits: raw scores.
        params: settings of each row.
        sampled: per row the tokens sampled so far, for penalties and `min_tokens`.
        prompts: per row the tokens that its prompt holds, for repetition penalties.
        end_ids: what `min_tokens` and `ignore_eos` ban.

    Raises:
        ValueError: the arguments do not fit each other.
    """
    count = len(params)
    rows, scores, where = _prepared(
        logits,
        params,
        [0] * count,
        None,
        sampled or [()] * count,
        None,
        prompts or [()] * count,
        end_ids,
    )
    return np.asarray(_distribution(rows, scores, where))


def log_probabilities(logits: Logits) -> Float[np.ndarray, "B V"]:
    """Of every token, in the model's own distribution."""
    return np.asarray(_log_probabilities(_scores(logits)))


def top_logprobs(
    logits: Logits, tokens: Sequence[int] | Int[np.ndarray, " B"]
) -> tuple[Float[np.ndarray, " B"], Int[np.ndarray, "B W"], Float[np.ndarray, "B W"]]:
    """Log-probabilities of a token per row, and the ids and log-probabilities of the top 20."""
    found = _top_logprobs(_scores(logits), jnp.asarray(tokens, jnp.int32))
    sampled, ids, values = (np.asarray(array) for array in found)
    return sampled, ids, values


def _scores(logits: Logits) -> jax.Array:
    return jnp.asarray(logits, jnp.float32)


def _prepared(
    logits: Logits,
    params: Sequence[SamplingParams],
    choices: Sequence[int],
    positions: Sequence[int] | None,
    sampled: Sequence[Sequence[int]],
    prompt_lengths: Sequence[int] | None,
    prompts: Sequence[Collection[int]],
    end_ids: Collection[int],
) -> tuple[Rows, jax.Array, Int[np.ndarray, "2 B"]]:
    """Rows loaded as the engine loads them, with the sampler's other two arguments."""
    count, vocab = logits.shape
    lengths = [len(tokens) for tokens in sampled]
    if prompt_lengths is None:
        begins = positions or lengths
        prompt_lengths = [begin - length for begin, length in zip(begins, lengths, strict=True)]
    if positions is None:
        positions = [a + b for a, b in zip(prompt_lengths, lengths, strict=True)]
    for name, given in (
        ("params", params),
        ("choices", choices),
        ("positions", positions),
        ("sampled", sampled),
        ("prompt_lengths", prompt_lengths),
        ("prompts", prompts),
    ):
        if len(given) != count:
            raise ValueError(f"{name} has {len(given)} entries for {count} rows of logits")
    used = [token for each in params for token, _ in each.logit_bias]
    used += [token for tokens in (*sampled, *prompts, end_ids) for token in tokens]
    used += [token for each in params for token in each.stop_ids]
    for token in used:
        if not 0 <= token < vocab:
            raise ValueError(f"token {token} is not in a vocabulary of {vocab}")
    slots = np.arange(count, dtype=np.int32)
    loaded = [
        Choice(each, choice, prompt_length, end_ids)
        for each, choice, prompt_length in zip(params, choices, prompt_lengths, strict=True)
    ]
    room = max(END_IDS, len(end_ids))
    rows = _load_rows(_empty_rows(count, vocab, room), slots, row_settings(loaded, count, room))
    if any(each.logit_bias for each in params):
        rows = _load_bias(rows, slots, bias_of(params, count))
    if any(map(len, prompts)):
        held = np.stack([token_bits(prompt, vocab) for prompt in prompts])
        rows = _load_prompts(rows, slots, held)
    if any(lengths):
        for chunk in sampled_chunks(list(enumerate(sampled)), count):
            rows = _recount(rows, chunk)
    return rows, _scores(logits), np.stack([slots, np.asarray(positions, np.int32)])
