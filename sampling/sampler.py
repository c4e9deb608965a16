"""The order of the sampling rules, and the jitted step that applies them.

    raw logits            (log-probabilities are read here: `logprobs.py`)
      → logit bias        −100 removes
      → repetition        over the tokens of the prompt, and those sampled so far
      → penalties         frequency and presence, over the tokens sampled so far
      → grammar mask      the tokens that the row's grammar allows next
      → banned ids        min_tokens: end and stop ids; ignore_eos: end ids
      → [temperature 0: the likeliest token of these]
      → temperature
      → top_k
      → top_p
      → min_p
      → draw

What a rule has removed stays removed. Rules that no row of the batch uses are skipped on the
device; which rows use what is data, so every mixture runs the same program, and a row's
result depends on nothing but the row. Should a row's settings remove every token, it gets
token 0: whoever takes settings from people refuses such a bias.

A row may bring drafts: tokens that it may sample next, which the decoder has been given already. At
each place the token is drawn as it would be after the drafts before it; as far as what is drawn
agrees with the drafts it is what would have been drawn one by one, and is kept
(Leviathan et al. 2023, with draws that do not depend on the draft).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Bool, Float, Int

from sampling.batch import NOTHING, Rows, Settings, settings_at
from sampling.top_k import keep_top_k
from sampling.transforms import (
    add_bias,
    apply_temperature,
    ban,
    draw,
    keep_allowed,
    keep_min_p,
    keep_top_p,
    likeliest,
    penalize_repetition,
    subtract_penalties,
)


def sample(
    rows: Rows,
    logits: Float[Array, "B V"],
    where: Int[Array, "2 B"],
    drafts: Int[Array, "2 B"] | None = None,
) -> tuple[Rows, Int[Array, " B"]]:
    """Sample tokens, remember the last one of each slot and count them.

    Args:
        rows: the per-slot state; donated.
        logits: float32 scores.
        where: of each token to be sampled its slot, out of range for padding, and the position in
            its sequence that it will have.
        drafts: of each token how many drafts of its slot come before it, and the last of these;
            a slot's are side by side, the one without drafts first. None where there are no
            drafts: every token has a slot of its own.

    Returns:
        The new per-slot state and the tokens. Those after the first that a draft does not agree
        with are neither remembered nor counted, and mean nothing.
    """
    slots, positions = where
    settings = settings_at(rows, slots)
    allowed = edited(rows, settings, logits, where, drafts)
    with jax.named_scope("greedy"):
        best = likeliest(allowed)
    random = settings.temperature > 0

    def drawn(allowed: jax.Array) -> jax.Array:
        scores = truncated(settings, allowed)
        with jax.named_scope("draw"):
            return draw(scores, settings.key, positions)

    tokens = jax.lax.cond(jnp.any(random), drawn, lambda _: best, allowed)
    tokens = jnp.where(random, tokens, best)
    with jax.named_scope("remember"):
        kept, last = _kept(drafts, tokens)
        counted = jnp.where(_counted(settings) & kept, slots, NOTHING)
        rows = rows._replace(
            last_token=rows.last_token.at[jnp.where(last, slots, NOTHING)].set(tokens, mode="drop"),
            counts=rows.counts.at[counted, tokens].add(1, mode="drop"),
        )
    return rows, tokens


def _kept(
    drafts: Int[Array, "2 B"] | None, tokens: Int[Array, " B"]
) -> tuple[Bool[Array, " B"], Bool[Array, " B"]]:
    """Which tokens stay, and which of them are the last of their slots."""
    if drafts is None:
        every = jnp.ones(tokens.shape, jnp.bool_)
        return every, every
    before, given = drafts
    agrees = (before == 0) | (jnp.roll(tokens, 1) == given)
    refusals = jnp.cumsum(~agrees)
    kept = refusals == refusals[jnp.arange(len(tokens)) - before]
    goes_on = jnp.roll(kept & (before > 0), -1).at[-1].set(False)
    return kept, kept & ~goes_on


def distribution(
    rows: Rows,
    logits: Float[Array, "B V"],
    where: Int[Array, "2 B"],
) -> Float[Array, "B V"]:
    """The probabilities that `sample` draws from, one-hot at temperature 0. For study."""
    settings = settings_at(rows, where[0])
    allowed = edited(rows, settings, logits, where)
    greedy = jax.nn.one_hot(likeliest(allowed), logits.shape[1])
    random = jax.nn.softmax(truncated(settings, allowed), axis=-1)
    return jnp.where((settings.temperature > 0)[:, None], random, greedy)


def edited(
    rows: Rows,
    settings: Settings,
    logits: Float[Array, "B V"],
    where: Int[Array, "2 B"],
    drafts: Int[Array, "2 B"] | None = None,
) -> Float[Array, "B V"]:
    """Logits after the rules that change or ban single tokens."""
    slots, positions = where

    def repetition(logits: jax.Array) -> jax.Array:
        prompts = rows.prompts.at[slots].get(mode="clip")
        return penalize_repetition(logits, counts(), prompts, settings.repetition)

    def penalties(logits: jax.Array) -> jax.Array:
        return subtract_penalties(logits, counts(), settings.frequency, settings.presence)

    def counts() -> jax.Array:
        """How often each token was sampled, and drafted before."""
        return _with_drafts(rows.counts.at[slots].get(mode="clip"), drafts)

    def bias(logits: jax.Array) -> jax.Array:
        ids, values = (column.at[slots].get(mode="clip") for column in rows.bias)
        return add_bias(logits, ids, values, settings.bias_count)

    def mask(logits: jax.Array) -> jax.Array:
        return keep_allowed(logits, rows.allowed[: len(slots)], settings.masked)

    early = positions[:, None] < settings.first_positions
    logits = _if_any(settings.bias_count > 0, "logit_bias", bias, logits)
    logits = _if_any(settings.repetition != 0, "repetition", repetition, logits)
    penalized = (settings.frequency != 0) | (settings.presence != 0)
    logits = _if_any(penalized, "penalties", penalties, logits)
    logits = _if_any(settings.masked, "grammar_mask", mask, logits)
    return _if_any(early, "ban", lambda x: ban(x, settings.early_ids, early), logits)


def _with_drafts(counts: Int[Array, "B V"], drafts: Int[Array, "2 B"] | None) -> Int[Array, "B V"]:
    """Counts with the drafts before each token counted too."""
    if drafts is None:
        return counts
    before, given = drafts

    def added(counts: jax.Array) -> jax.Array:
        each = jnp.arange(len(before))
        distance = each[:, None] - each[None]
        precedes = (distance >= 0) & (distance < before[:, None])
        ids = jnp.where(precedes, given[None], NOTHING)
        return counts.at[each[:, None], ids].add(1, mode="drop")

    return jax.lax.cond(jnp.any(before > 0), added, lambda same: same, counts)


def truncated(settings: Settings, allowed: Float[Array, "B V"]) -> Float[Array, "B V"]:
    """Scores after temperature and the rules that remove the unlikely; greedy rows aside."""
    temperature, top_k, top_p, min_p = settings[:4]
    random = temperature > 0
    with jax.named_scope("temperature"):
        scores = apply_temperature(allowed, temperature)
    scores = _if_any(random & (top_k > 0), "top_k", lambda x: keep_top_k(x, top_k, allowed), scores)
    scores = _if_any(random & (top_p < 1), "top_p", lambda x: keep_top_p(x, top_p, allowed), scores)
    return _if_any(random & (min_p > 0), "min_p", lambda x: keep_min_p(x, min_p), scores)


def _counted(settings: Settings) -> Bool[Array, " B"]:
    return (settings.frequency != 0) | (settings.presence != 0) | (settings.repetition != 0)


def _if_any(
    rows: Bool[Array, "B ..."],
    name: str,
    rule: Callable[[jax.Array], jax.Array],
    logits: Float[Array, "B V"],
) -> Float[Array, "B V"]:
    """Apply the rule if a row uses it; those that don't have settings that change nothing."""

    def as_they_lie(logits: jax.Array) -> jax.Array:
        # Else a TPU rearranges all logits before and after, whether a row uses the rule or not.
        return with_layout_constraint(rule(logits), Layout((0, 1)))

    with jax.named_scope(name):
        return jax.lax.cond(jnp.any(rows), as_they_lie, lambda unchanged: unchanged, logits)
