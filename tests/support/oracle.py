"""The sampling rules in NumPy float64, one function each: what the sampler is checked against.

Written from the API's contract alone. Removed tokens are −inf from the rule that removes them
on; no rule looks back at what was there before.
"""

from collections.abc import Sequence

import numpy as np

from sampling.params import BAN, SamplingParams

TOP = 20
# Less likely by this factor (as a logarithm) than the likeliest, a token's float32 probability
# may be zero with nothing wrong.
_UNDERFLOW = -70.0
_BORDER = 1e-5
_ULP = 2.0**-23


def add_bias(logits: np.ndarray, params: SamplingParams) -> np.ndarray:
    """Bias added; −100 removes."""
    out = logits.copy()
    for token, bias in params.logit_bias:
        out[token] = -np.inf if bias == BAN else out[token] + bias
    return out


def penalize(logits: np.ndarray, params: SamplingParams, sampled: Sequence[int]) -> np.ndarray:
    """Tokens sampled before lose frequency · count + presence."""
    out = logits.copy()
    for token in set(sampled):
        count = list(sampled).count(token)
        out[token] -= count * params.frequency_penalty + params.presence_penalty
    return out


def penalize_repetition(
    logits: np.ndarray, params: SamplingParams, seen: Sequence[int]
) -> np.ndarray:
    """Tokens of the prompt or the answer are divided where positive, else multiplied."""
    out = logits.copy()
    for token in set(seen):
        factor = params.repetition_penalty
        out[token] = out[token] / factor if out[token] > 0 else out[token] * factor
    return out


def ban_ends(
    logits: np.ndarray, params: SamplingParams, sampled: Sequence[int], end_ids: Sequence[int]
) -> np.ndarray:
    """End ids removed throughout, or until `min_tokens` are sampled; stop ids until then."""
    out = logits.copy()
    if len(sampled) < params.min_tokens:
        out[list(params.stop_ids)] = -np.inf
    if params.ignore_eos or len(sampled) < params.min_tokens:
        out[list(end_ids)] = -np.inf
    return out


def heat(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Logits over temperature, the largest 0; at temperature 0 the first of the largest only."""
    if temperature == 0:
        out = np.full_like(logits, -np.inf)
        out[np.argmax(logits)] = 0.0
        return out
    return (logits - logits.max()) / temperature


def ranking(logits: np.ndarray) -> np.ndarray:
    """Ids that are not removed, likeliest first, equals by id."""
    order = np.argsort(-logits, kind="stable")
    return order[np.isfinite(logits[order])]


def keep_top_k(logits: np.ndarray, k: int) -> np.ndarray:
    """The k likeliest; 0 keeps all."""
    return _only(logits, ranking(logits)[:k]) if k else logits


def keep_top_p(logits: np.ndarray, top_p: float) -> np.ndarray:
    """The likeliest up to the one with which their mass reaches top_p; at least one."""
    if top_p >= 1:
        return logits
    order = ranking(logits)
    mass = np.cumsum(probabilities(logits)[order])
    return _only(logits, order[: 1 + int((mass < top_p).sum())])


def keep_min_p(logits: np.ndarray, min_p: float) -> np.ndarray:
    """Tokens at least min_p times as likely as the likeliest."""
    return np.where(np.exp(logits - logits.max()) >= min_p, logits, -np.inf)


def _only(logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
    out = np.full_like(logits, -np.inf)
    out[ids] = logits[ids]
    return out


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax."""
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def adjusted(
    logits: np.ndarray,
    params: SamplingParams,
    sampled: Sequence[int] = (),
    end_ids: Sequence[int] = (),
    prompt: Sequence[int] = (),
) -> np.ndarray:
    """Logits after all that adds to them or bans: what temperature is applied to."""
    out = add_bias(np.asarray(logits, np.float64), params)
    out = penalize_repetition(out, params, [*prompt, *sampled])
    out = penalize(out, params, sampled)
    return ban_ends(out, params, sampled, end_ids)


def oracle_distribution(
    logits: np.ndarray,
    params: SamplingParams,
    sampled: Sequence[int] = (),
    end_ids: Sequence[int] = (),
    prompt: Sequence[int] = (),
) -> np.ndarray:
    """Probabilities [V] of the next token, from raw logits [V]."""
    out = heat(adjusted(logits, params, sampled, end_ids, prompt), params.temperature)
    out = keep_top_k(out, params.top_k)
    out = keep_top_p(out, params.top_p)
    out = keep_min_p(out, params.min_p)
    return probabilities(out)


def oracle_log_probabilities(logits: np.ndarray) -> np.ndarray:
    """Log-softmax of the raw logits [V]."""
    shifted = np.asarray(logits, np.float64) - np.max(logits)
    return shifted - np.log(np.exp(shifted).sum())


def oracle_top(logits: np.ndarray, count: int = TOP) -> np.ndarray:
    """Ids of the likeliest tokens by the raw logits, likeliest first, equals by id."""
    return np.argsort(-np.asarray(logits, np.float64), kind="stable")[:count]


# --- comparing with float32 ----------------------------------------------------------------


def disagreement(
    got: np.ndarray,
    logits: np.ndarray,
    params: SamplingParams,
    sampled: Sequence[int] = (),
    end_ids: Sequence[int] = (),
    prompt: Sequence[int] = (),
    *,
    exact_sums: bool,
) -> str:
    """What is wrong with the probabilities `got`, or nothing.

    top_k, top_p and min_p each keep the first so many tokens in order of likelihood, so
    together they keep a prefix. Its length must be the oracle's, unless float32 cannot tell:
    where the length would change with a top_p that differs by 1e-5 or a min_p by 1e-5 of
    itself, all lengths between are right. top_p of 0 and 1 and every top_k leave no such room.
    Which tokens are in the prefix must be the oracle's choice but for tokens that float32
    cannot order; exactly equal ones go by id. The probabilities must be the oracle's for that
    prefix to 1e-5, and to the rounding of the exponents.

    Args:
        got: probabilities [V].
        logits: raw logits [V].
        params: the row's settings.
        sampled: tokens of the answer so far.
        end_ids: ids that end a turn.
        prompt: tokens before the answer.
        exact_sums: logits, biases and penalties have few enough bits for float32 to add and
            multiply them without rounding. If not, the rounding of a sum counts as not telling.
    """
    values = adjusted(logits, params, sampled, end_ids, prompt)
    order = ranking(values)
    sums = np.zeros_like(values)
    if not exact_sums:
        sums[order] = 4 * _ULP * (np.abs(logits[order]) + np.abs(values[order] - logits[order]))
        sums[values == logits] = 0.0
    kept = np.flatnonzero(got > 0)
    if np.isnan(got).any() or (got < 0).any() or not np.isclose(got.sum(dtype=float), 1, atol=1e-5):
        return f"no distribution: it sums to {got.sum(dtype=float)}"
    if not np.isin(kept, order).all():
        return f"removed tokens came back: {np.setdiff1d(kept, order)[:5]}"
    if params.temperature == 0:
        best = order[0]
        tied = values[best] - values[kept] <= sums[best] + sums[kept]
        fine = len(kept) == 1 and tied.all() and (sums[best] > 0 or kept[0] == best)
        return "" if fine else f"argmax is {best}, not {kept[:5]}"
    return _sizes(got, values, order, params, sums.max()) or _choice(got, values, params, sums)


def _exponents(values: np.ndarray, params: SamplingParams) -> np.ndarray:
    return (values - values.max()) / params.temperature


def _sizes(
    got: np.ndarray,
    values: np.ndarray,
    order: np.ndarray,
    params: SamplingParams,
    sums: float,
) -> str:
    weights = np.exp(_exponents(values, params)[order])
    border = _BORDER + 2 * sums / params.temperature
    fewest = _prefix(weights, params, -border)
    most = _prefix(weights, params, border)
    visible = int((weights > np.exp(_UNDERFLOW)).sum())
    kept = int((got[order[:visible]] > 0).sum())
    if not min(fewest, visible) <= kept <= min(most, visible):
        return f"kept {kept} tokens of {len(order)}, not {fewest} to {most}"
    beyond = np.flatnonzero(got[order] > 0).max(initial=0)
    if beyond >= max(most, visible):
        return f"kept the token of rank {beyond}, with at most {most} to keep"
    return ""


def _prefix(weights: np.ndarray, params: SamplingParams, border: float) -> int:
    """How many of the weights, falling from 1, are kept with top_p and min_p off by `border`."""
    size = min(params.top_k, len(weights)) if params.top_k else len(weights)
    if params.top_p <= 0:
        size = 1
    elif params.top_p < 1:
        mass = np.cumsum(weights[:size]) / weights[:size].sum()
        size = min(size, 1 + int((mass < params.top_p + border).sum()))
    # The likeliest has exactly 1, and so have its equals: no rounding there.
    least = min(params.min_p * (1 - border), 1.0)
    return int((weights[:size] >= least).sum())


def _choice(got: np.ndarray, values: np.ndarray, params: SamplingParams, sums: np.ndarray) -> str:
    exponents = _exponents(values, params)
    rounding = 2 * _ULP * np.abs(exponents) + sums / params.temperature
    rounding[~np.isfinite(exponents)] = 0.0
    kept = np.flatnonzero(got > 0)
    dropped = np.flatnonzero((got <= 0) & (exponents > _UNDERFLOW))
    last = kept[np.argmin(exponents[kept])]
    if len(dropped):
        ahead = exponents[dropped] - exponents[last] > rounding[dropped] + rounding[last]
        if ahead.any():
            return f"kept {last} and dropped the likelier {dropped[ahead][:5]}"
        equals = kept[(values[kept] == values[last]) & (sums[kept] == 0)]
        passed = dropped[(values[dropped] == values[last]) & (sums[dropped] == 0)]
        if len(equals) and len(passed) and passed.min() < equals.max():
            return f"kept {equals.max()} and dropped its equal {passed.min()}"
    weights = np.exp(exponents[kept])
    want = weights / weights.sum()
    allowed = _BORDER + 2 * rounding[kept] + 2 * sums.max() / params.temperature
    wrong = np.abs(got[kept] - want) > allowed * want + 1e-12
    if wrong.any():
        token = int(np.flatnonzero(wrong)[0])
        return f"token {kept[token]} has {got[kept[token]]:.9g}, not {want[token]:.9g}"
    return ""
