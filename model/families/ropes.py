"""Reading a rotary embedding out of a published config, in its older and newer forms.

Older: `rope_theta` beside `rope_scaling`, whose kind is under `type` or `rope_type`. Newer:
both in `rope_parameters`. The keys of each kind are those of the reference implementation.
"""

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from model.config import CheckpointError, RopeConfig
from model.families.keys import ConfigKeys
from model.rope import linear_rope, llama3_rope, long_rope, plain_rope, yarn_rope

KINDS = ("default", "linear", "llama3", "yarn", "longrope")
_OLDER_NAMES = {"su": "longrope"}


@dataclass(frozen=True, slots=True)
class Ropes:
    """A rotary embedding and how far it reaches.

    Attributes:
        rope: to serve texts of the length that the model was first trained for, or any length.
        context_length: tokens that the model was made for, stretched where it was.
        long: replaces `rope` for texts longer than `after` (LongRoPE); None for none.
        after: see `long`.
    """

    rope: RopeConfig
    context_length: int
    long: RopeConfig | None = None
    after: int = 0


def read_ropes(keys: ConfigKeys, head_dim: int, default_theta: float = 10_000.0) -> Ropes:
    """The rotary embedding that a config's top-level keys describe.

    Raises:
        CheckpointError: a kind that we don't have, or keys that don't fit it.
    """
    context = keys.positive("max_position_embeddings", int)
    original = keys.positive("original_max_position_embeddings", int, context)
    share = keys.positive("partial_rotary_factor", float, 1.0)
    theta = keys.positive("rope_theta", float, default_theta)
    scaling = keys.nested("rope_parameters") or keys.nested("rope_scaling")
    keys.ignore("rope_parameters", "rope_scaling")
    if scaling is None:
        return Ropes(plain_rope(theta, _width(keys, head_dim, share)), context)
    return read_scaled_ropes(scaling, head_dim, theta, share, context, original)


def read_scaled_ropes(
    keys: ConfigKeys, head_dim: int, theta: float, share: float, context: int, original: int
) -> Ropes:
    """The rotary embedding that one object of scaling keys describes.

    Args:
        keys: the object's keys.
        head_dim: H.
        theta: the base, unless the keys name one.
        share: of H that is rotated, unless the keys name one.
        context: the config's `max_position_embeddings`.
        original: the context before stretching, unless the keys name one.

    Raises:
        CheckpointError: a kind that we don't have, or keys that don't fit it.
    """
    older = keys.take("type", str, "default")
    kind = keys.take("rope_type", str, older)
    kind = _OLDER_NAMES.get(kind, kind)
    if kind not in KINDS:
        raise CheckpointError(
            f"{keys.source} has rope_type: {kind!r}, which is not supported; "
            f"supported: {', '.join(KINDS)}"
        )
    theta = keys.positive("rope_theta", float, theta)
    width = _width(keys, head_dim, keys.positive("partial_rotary_factor", float, share))
    if kind not in ("default", "linear"):
        original = keys.positive("original_max_position_embeddings", int, original)
    try:
        with np.errstate(divide="raise", invalid="raise"):
            ropes = _ropes(keys, kind, theta, width, context, original)
    except ArithmeticError:
        ropes = None
    if ropes is None or not all(map(_sound, (ropes.rope, ropes.long))):
        raise CheckpointError(
            f"{keys.source} describes a rotary embedding of kind {kind!r} that has no finite "
            "frequencies; give the numbers that the model was published with"
        )
    keys.finish()
    return ropes


def _width(keys: ConfigKeys, head_dim: int, share: float) -> int:
    width = int(head_dim * share)
    if width > head_dim or width % 2 != head_dim % 2:
        raise CheckpointError(
            f"{keys.source} has partial_rotary_factor: {share}, which is {width} of {head_dim} "
            "components; it must be an even number of them, at most all"
        )
    return width


def _sound(rope: RopeConfig | None) -> bool:
    return rope is None or all(
        math.isfinite(number) and number > 0 for number in (*rope.frequencies, rope.scale)
    )


def _ropes(
    keys: ConfigKeys, kind: str, theta: float, width: int, context: int, original: int
) -> Ropes:
    match kind:
        case "linear":
            return Ropes(linear_rope(theta, width, keys.positive("factor", float)), context)
        case "llama3":
            rope = llama3_rope(
                theta,
                width,
                factor=keys.positive("factor", float),
                low_freq_factor=keys.positive("low_freq_factor", float),
                high_freq_factor=keys.positive("high_freq_factor", float),
                original_context=original,
            )
            return Ropes(rope, context)
        case "yarn":
            return _yarn(keys, theta, width, context, original)
        case "longrope":
            return _longrope(keys, theta, width, context, original)
        case _:
            return Ropes(plain_rope(theta, width), context)


def _yarn(keys: ConfigKeys, theta: float, width: int, context: int, original: int) -> Ropes:
    # Of use to the authors' own code, and there for its dynamic kind alone.
    keys.ignore("finetuned")
    factor = keys.positive("factor", float)
    attention_factor = keys.take("attention_factor", float, 0.0)
    rope = yarn_rope(
        theta,
        width,
        factor=factor,
        original_context=original,
        beta_fast=keys.positive("beta_fast", float, 32.0),
        beta_slow=keys.positive("beta_slow", float, 1.0),
        attention_factor=attention_factor or None,
        truncate=keys.take("truncate", bool, True),
    )
    return Ropes(rope, max(context, int(factor * original)))


def _longrope(keys: ConfigKeys, theta: float, width: int, context: int, original: int) -> Ropes:
    stretch = keys.positive("factor", float, context / original)
    short, long = (_divisors(keys, name, width) for name in ("short_factor", "long_factor"))
    attention_factor = keys.take("attention_factor", float, 0.0) or None
    rope, beyond = (
        long_rope(
            theta,
            factors,
            stretch=stretch,
            original_context=original,
            attention_factor=attention_factor,
        )
        for factors in (short, long)
    )
    return Ropes(rope, context, beyond, original)


def _divisors(keys: ConfigKeys, name: str, width: int) -> list[float]:
    values = cast("list[Any]", keys.take(name, list))
    numbers = [float(value) for value in values if type(value) in (int, float)]
    if len(numbers) != len(values) or len(numbers) != width // 2:
        raise CheckpointError(
            f"{keys.source} has {len(values)} entries in {name}; it must be {width // 2} numbers, "
            "one per rotated pair"
        )
    return numbers
