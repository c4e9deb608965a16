"""The sampler's per-row arrays: on the device, donated from step to step.

A row slot holds one choice's settings, its random key, its last sampled token and how often
it has sampled each token. Settings are data: any mixture of them runs the same compiled
program, and neutral values stand for what a choice does not ask for. What few choices use is
loaded on its own, so that the others' loads stay small. On the host, on the way there, the
same tuples hold NumPy arrays.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from sampling.params import (
    BAN,
    END_IDS,
    MAX_LOGIT_BIAS,
    MAX_STOP_IDS,
    SEED_BITS,
    SamplingParams,
)

# Sampled tokens per row that `recount` takes at a time.
RECOUNT_TOKENS = 256
# No id and no position: out of range everywhere.
NOTHING = np.iinfo(np.int32).max
_SMALLEST = float(np.finfo(np.float32).tiny)


class Choice(NamedTuple):
    """Whose settings a slot is loaded with.

    Attributes:
        params: the request's settings.
        number: the choice's; together with the seed it makes the key.
        prompt_length: tokens before the first sampled one.
        end_ids: ids that end a turn, which `min_tokens` and `ignore_eos` ban.
        masked: whether only the tokens of masks may be sampled, loaded before each draw.
    """

    params: SamplingParams
    number: int = 0
    prompt_length: int = 0
    end_ids: Collection[int] = ()
    masked: bool = False


class Settings(NamedTuple):
    """What choices ask for, one entry per row. Zeros are a greedy row without rules.

    Attributes:
        temperature: 0 means argmax.
        top_k: 0 keeps everything.
        top_p: 1 keeps everything.
        min_p: 0 keeps everything.
        frequency: penalty for every time that a token was sampled.
        presence: penalty for having been sampled at all.
        repetition: what divides or multiplies the logits of tokens that were seen; 0 for off.
        bias_count: how many entries of the slot's bias are in use.
        early_ids: banned before their `first_positions`; padded out of range.
        first_positions: position of the first token that each of `early_ids` may be.
        masked: whether masks apply to what the slot samples.
        key: threefry key of (seed, choice).
    """

    temperature: Float[Array, " R"]
    top_k: Int[Array, " R"]
    top_p: Float[Array, " R"]
    min_p: Float[Array, " R"]
    frequency: Float[Array, " R"]
    presence: Float[Array, " R"]
    repetition: Float[Array, " R"]
    bias_count: Int[Array, " R"]
    early_ids: Int[Array, "R E"]
    first_positions: Int[Array, "R E"]
    masked: Bool[Array, " R"]
    key: UInt32[Array, "R 2"]


class Bias(NamedTuple):
    """Sparse additions to logits: up to 1,024 entries a row, those in use first.

    Attributes:
        ids: tokens, distinct within a row.
        values: what is added; −inf removes.
    """

    ids: Int[Array, "R N"]
    values: Float[Array, "R N"]


class SampledTokens(NamedTuple):
    """Tokens to be counted for slots.

    Attributes:
        slots: out of range for padding.
        fresh: whether the row's counts start from zero or go on.
        ids: up to 256 a row, padded out of range.
    """

    slots: Int[Array, " R"]
    fresh: Bool[Array, " R"]
    ids: Int[Array, "R N"]


_Columns = TypeVar("_Columns", Settings, Bias)


class Rows(NamedTuple):
    """One entry per row slot, R in all.

    Attributes:
        last_token: what the slot sampled last; the next decode step reads it here.
        settings: see `Settings`.
        bias: of the slot's choice, as far as `settings.bias_count` goes.
        counts: how often the slot's choice has sampled each token; kept only for choices
            with a penalty.
        prompts: one bit per token that the slot's prompt holds; read where
            `settings.repetition` is set.
        allowed: of each token of the next draw, in its order, a bit per token that it may be; read
            where its slot's `settings.masked` is set.
    """

    last_token: Int[Array, " R"]
    settings: Settings
    bias: Bias
    counts: Int[Array, "R V"]
    prompts: UInt32[Array, "R W"]
    allowed: UInt32[Array, "R W"]


def empty_rows(slots: int, vocab: int, end_ids: int = END_IDS) -> Rows:
    """Neutral rows.

    Args:
        slots: rows, R.
        vocab: tokens, V.
        end_ids: room for so many end ids in each row, beside a request's own.
    """
    columns = _blank_settings(1, end_ids, key_words=2).items()
    settings = Settings(**{name: jnp.zeros((slots, *x.shape[1:]), x.dtype) for name, x in columns})
    bias = Bias(*(jnp.broadcast_to(x, (slots, *x.shape[1:])) for x in bias_of([], 1)))
    counts = jnp.zeros((slots, vocab), jnp.int32)
    bits = [jnp.zeros((slots, mask_words(vocab)), jnp.uint32) for _ in ("prompts", "allowed")]
    return Rows(jnp.zeros(slots, jnp.int32), settings, bias, counts, *bits)


def mask_words(vocab: int) -> int:
    """32-bit words of a mask that has one bit per token."""
    return -(-vocab // 32)


def token_bits(tokens: Collection[int], vocab: int) -> UInt32[np.ndarray, " W"]:
    """One bit per token, set for those given: token t is bit t mod 32 of word ⌊t / 32⌋."""
    held = np.zeros(mask_words(vocab) * 32, np.bool_)
    held[list(tokens)] = True
    return np.packbits(held, bitorder="little").view("<u4").astype(np.uint32)


def _blank_settings(width: int, end_ids: int, key_words: int) -> dict[str, Any]:
    room = end_ids + MAX_STOP_IDS
    return {
        "temperature": np.zeros(width, np.float32),
        "top_k": np.zeros(width, np.int32),
        "top_p": np.ones(width, np.float32),
        "min_p": np.zeros(width, np.float32),
        "frequency": np.zeros(width, np.float32),
        "presence": np.zeros(width, np.float32),
        "repetition": np.zeros(width, np.float32),
        "bias_count": np.zeros(width, np.int32),
        "early_ids": np.full((width, room), NOTHING, np.int32),
        "first_positions": np.zeros((width, room), np.int32),
        "masked": np.zeros(width, np.bool_),
        "key": np.zeros((width, key_words), np.uint32),
    }


def row_settings(choices: Sequence[Choice], width: int, room: int = END_IDS) -> Settings:
    """Settings of choices, padded to `width`, on the host, with `room` for end ids in each row.

    The key has three words here, the seed's 64 bits and the choice: `load_rows` folds the
    choice in.

    Raises:
        ValueError: a choice bans more end ids than a row has room for.
    """
    columns = _blank_settings(width, room, key_words=3)
    for row, (params, number, prompt_length, end_ids, masked) in enumerate(choices):
        columns["masked"][row] = masked
        columns["temperature"][row] = _temperature(params)
        columns["top_k"][row] = min(params.top_k, NOTHING)
        columns["top_p"][row] = params.top_p
        columns["min_p"][row] = params.min_p
        columns["frequency"][row] = params.frequency_penalty
        columns["presence"][row] = params.presence_penalty
        if repeats(params):
            columns["repetition"][row] = params.repetition_penalty
        columns["bias_count"][row] = len(params.logit_bias)
        check_end_ids(params, end_ids, room)
        early = sorted(params.early_ids(end_ids).items())
        if early:
            ids, sampled = zip(*early, strict=True)
            columns["early_ids"][row, : len(ids)] = ids
            positions = [min(prompt_length + count, NOTHING) for count in sampled]
            columns["first_positions"][row, : len(ids)] = positions
        bits = params.seed % (1 << SEED_BITS)
        columns["key"][row] = bits >> 32, bits & 0xFFFFFFFF, number
    return Settings(**columns)


def _temperature(params: SamplingParams) -> float:
    """Never a float32 that the device may take for zero, unless it is zero."""
    return max(params.temperature, _SMALLEST) if params.temperature else 0.0


def has_penalty(params: SamplingParams) -> bool:
    """Whether the choice's tokens are counted."""
    return params.frequency_penalty != 0 or params.presence_penalty != 0 or repeats(params)


def repeats(params: SamplingParams) -> bool:
    """Whether it matters which tokens the choice's prompt holds."""
    return params.repetition_penalty != 1


def check_end_ids(params: SamplingParams, end_ids: Collection[int], room: int) -> None:
    """Refuse more end ids to ban than a row has room for.

    Raises:
        ValueError: that is so.
    """
    if params.bans_ends and len(end_ids) > room:
        raise ValueError(
            f"{len(end_ids)} end ids are to be banned by min_tokens or ignore_eos; a row has "
            f"room for {room}: leave both settings out, or give fewer end ids"
        )


def bias_of(all_params: Sequence[SamplingParams], width: int) -> Bias:
    """Bias entries of choices, padded to `width`, on the host; a ban becomes −inf."""
    ids: Any = np.full((width, MAX_LOGIT_BIAS), NOTHING, np.int32)
    values: Any = np.zeros((width, MAX_LOGIT_BIAS), np.float32)
    for row, params in enumerate(all_params):
        if params.logit_bias:
            tokens, biases = zip(*params.logit_bias, strict=True)
            ids[row, : len(tokens)] = tokens
            added = np.array(biases, np.float64)
            values[row, : len(tokens)] = np.where(added == BAN, -np.inf, added)
    return Bias(ids, values)


def load_rows(rows: Rows, slots: Int[Array, " b"], settings: Settings) -> Rows:
    """Put settings into slots; slots out of range are dropped."""

    def fold(words: jax.Array) -> jax.Array:
        key = jax.random.wrap_key_data(words[:2], impl="threefry2x32")
        return jax.random.key_data(jax.random.fold_in(key, words[2]))

    loaded = settings._replace(key=jax.vmap(fold)(settings.key))
    return rows._replace(settings=_put(rows.settings, slots, loaded))


def load_bias(rows: Rows, slots: Int[Array, " b"], bias: Bias) -> Rows:
    """Put bias entries into slots; slots out of range are dropped."""
    return rows._replace(bias=_put(rows.bias, slots, bias))


def load_prompts(rows: Rows, slots: Int[Array, " b"], prompts: UInt32[Array, "b W"]) -> Rows:
    """Put which tokens prompts hold into slots; slots out of range are dropped."""
    return rows._replace(prompts=rows.prompts.at[slots].set(prompts, mode="drop"))


def load_masks(rows: Rows, places: Int[Array, " b"], allowed: UInt32[Array, "b W"]) -> Rows:
    """Put masks of some of the next draw's tokens; places out of range are dropped."""
    return rows._replace(allowed=rows.allowed.at[places].set(allowed, mode="drop"))


def recount(rows: Rows, sampled: SampledTokens) -> Rows:
    """Count tokens that slots' choices have sampled before; slots out of range are dropped."""
    restarted = jnp.where(sampled.fresh, sampled.slots, NOTHING)
    counts = rows.counts.at[restarted].set(0, mode="drop")
    slots = sampled.slots[:, None]
    return rows._replace(counts=counts.at[slots, sampled.ids].add(1, mode="drop"))


def sampled_chunks(sampled: Sequence[tuple[int, Sequence[int]]], width: int) -> list[SampledTokens]:
    """(slot, tokens sampled so far) pairs as the calls of `recount` that count them anew."""
    longest = max((len(tokens) for _, tokens in sampled), default=0)
    chunks: list[SampledTokens] = []
    for start in range(0, max(longest, 1), RECOUNT_TOKENS):
        slots: Any = np.full(width, NOTHING, np.int32)
        ids: Any = np.full((width, RECOUNT_TOKENS), NOTHING, np.int32)
        for row, (slot, tokens) in enumerate(sampled):
            part = tokens[start : start + RECOUNT_TOKENS]
            slots[row] = slot
            ids[row, : len(part)] = part
        fresh: Any = np.full(width, start == 0)
        chunks.append(SampledTokens(slots, fresh, ids))
    return chunks


def settings_at(rows: Rows, slots: Int[Array, " B"]) -> Settings:
    """The slots' settings; zeros, a greedy row without rules, where out of range."""
    return jax.tree.map(
        lambda column: column.at[slots].get(mode="fill", fill_value=0), rows.settings
    )


def _put(columns: _Columns, slots: jax.Array, new: _Columns) -> _Columns:
    return jax.tree.map(lambda old, value: old.at[slots].set(value, mode="drop"), columns, new)
