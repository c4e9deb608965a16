"""The sampler's per-row arrays on the device, donated from step to step.

A row slot holds one choice's settings, its random key and its last sampled token. Settings
are data: any mixture of them runs the same compiled program, and neutral values stand for
what a choice does not ask for.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

from sampling.params import SEED_BITS, SamplingParams


class Rows(NamedTuple):
    """One entry per row slot, R in all.

    Attributes:
        last_token: what the slot sampled last; the next decode step reads it here.
        temperature: 0 means argmax.
        top_p: 1 keeps everything.
        key: threefry key of (seed, choice).
    """

    last_token: Int[Array, " R"]
    temperature: Float[Array, " R"]
    top_p: Float[Array, " R"]
    key: UInt32[Array, "R 2"]


class RowSettings(NamedTuple):
    """What is loaded into slots: the columns of `Rows` that a request decides, on the host."""

    temperature: np.ndarray
    top_p: np.ndarray
    key: np.ndarray


def empty_rows(slots: int) -> Rows:
    """Neutral rows."""
    return Rows(
        last_token=jnp.zeros(slots, jnp.int32),
        temperature=jnp.zeros(slots, jnp.float32),
        top_p=jnp.ones(slots, jnp.float32),
        key=jnp.zeros((slots, 2), jnp.uint32),
    )


def row_settings(choices: list[tuple[SamplingParams, int]], width: int) -> RowSettings:
    """Settings of (params, choice index) pairs, padded to `width`.

    The key's two words are the seed's 64 bits; the choice is folded in on the device.
    """
    temperature = np.zeros(width, np.float32)
    top_p = np.ones(width, np.float32)
    key = np.zeros((width, 3), np.uint32)
    for row, (params, choice) in enumerate(choices):
        temperature[row] = params.temperature
        top_p[row] = params.top_p
        bits = params.seed % (1 << SEED_BITS)
        key[row] = bits >> 32, bits & 0xFFFFFFFF, choice
    return RowSettings(temperature, top_p, key)


def load_rows(rows: Rows, slots: Int[Array, " b"], settings: RowSettings) -> Rows:
    """Put settings into slots; slots out of range are dropped."""

    def fold(words: jax.Array) -> jax.Array:
        key = jax.random.wrap_key_data(words[:2], impl="threefry2x32")
        return jax.random.key_data(jax.random.fold_in(key, words[2]))

    return Rows(
        last_token=rows.last_token,
        temperature=rows.temperature.at[slots].set(settings.temperature, mode="drop"),
        top_p=rows.top_p.at[slots].set(settings.top_p, mode="drop"),
        key=rows.key.at[slots].set(jax.vmap(fold)(jnp.asarray(settings.key)), mode="drop"),
    )
