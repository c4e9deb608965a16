"""What most families' configs have in common, read once.

A family reads its own keys first and names how it differs from a plain decoder; the rest is
the same everywhere.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from model.config import CheckpointError, LayerConfig, ModelConfig
from model.families.keys import ConfigKeys
from model.families.ropes import Ropes, read_ropes

FULL, SLIDING = "full_attention", "sliding_attention"


def read_decoder(
    keys: ConfigKeys,
    *,
    windows: Iterable[int | None] | None = None,
    expert_layers: Iterable[bool] | None = None,
    ropes: Ropes | None = None,
    theta: float = 10_000.0,
    norm_eps: float = 1e-6,
    tied: bool = False,
    **differences: Any,
) -> ModelConfig:
    """The decoder's shape from the usual keys.

    Args:
        keys: the config's; finished by this call.
        windows: each layer's; None for none.
        expert_layers: whether each layer has experts; None for none.
        ropes: the rotary embedding; None to read it from the usual keys.
        theta: its base where none is given.
        norm_eps: `rms_norm_eps` where it is not given.
        tied: `tie_word_embeddings` where it is not given.
        **differences: fields of `ModelConfig` that are not the defaults.

    Raises:
        CheckpointError: a key is missing, unknown, or has a value we don't implement.
    """
    keys.require("is_causal", [True])
    keys.require("rope_interleaved", [False, None])
    keys.require("pruned_heads", [{}, None])
    count = num_layers(keys)
    num_heads = keys.take("num_attention_heads", int)
    embed_dim = keys.take("hidden_size", int)
    head_dim = read_head_dim(keys)
    ropes = ropes or read_ropes(keys, head_dim, theta)
    plain = LayerConfig(ropes.rope)
    layers = tuple(
        replace(plain, window=window, experts=has_experts)
        for window, has_experts in zip(
            [None] * count if windows is None else windows,
            [False] * count if expert_layers is None else expert_layers,
            strict=True,
        )
    )
    settings: dict[str, Any] = {
        "vocab_size": keys.take("vocab_size", int),
        "embed_dim": embed_dim,
        "num_heads": num_heads,
        "num_kv_heads": keys.take("num_key_value_heads", int, num_heads),
        "head_dim": head_dim,
        "ffn_dim": keys.take("intermediate_size", int),
        "context_length": ropes.context_length,
        "layers": layers,
        "norm_eps": keys.positive("rms_norm_eps", float, norm_eps),
        "tied_head": keys.take("tie_word_embeddings", bool, tied),
        "long_rope": ropes.long,
        "long_rope_after": ropes.after,
    }
    keys.finish()
    return ModelConfig(**(settings | differences))


def num_layers(keys: ConfigKeys) -> int:
    """How many layers the config has."""
    count: int = keys.take("num_hidden_layers", int)
    if count < 1:
        raise CheckpointError(
            f"{keys.source} has num_hidden_layers: {count}; it must be at least 1"
        )
    return count


def read_head_dim(keys: ConfigKeys) -> int:
    """H: as given, or D / N.

    Raises:
        CheckpointError: not given, and N does not divide D.
    """
    num_heads, embed_dim = keys.take("num_attention_heads", int), keys.take("hidden_size", int)
    if keys.has("head_dim"):
        return keys.take("head_dim", int)
    keys.ignore("head_dim")
    if num_heads < 1 or embed_dim % num_heads:
        raise CheckpointError(
            f"{keys.source} has no head_dim, and {num_heads} heads do not divide a hidden_size "
            f"of {embed_dim}"
        )
    return embed_dim // num_heads


def read_windows(keys: ConfigKeys, kinds: Iterable[str]) -> list[int | None]:
    """Each layer's window, by `layer_types` or, where that is absent, by `kinds`.

    Raises:
        CheckpointError: a kind of layer that we don't have, or not one per layer.
    """
    count = num_layers(keys)
    listed: list[Any] = keys.take("layer_types", list, [])
    chosen = listed or list(kinds)
    if len(chosen) != count or not all(kind in (FULL, SLIDING) for kind in chosen):
        raise CheckpointError(
            f"{keys.source} has layer_types: {chosen!r}; it must be {count} times {FULL!r} or "
            f"{SLIDING!r}"
        )
    window = read_window(keys)
    if window is None and SLIDING in chosen:
        raise CheckpointError(f"{keys.source} has sliding layers and no sliding_window")
    return [window if kind == SLIDING else None for kind in chosen]


def read_window(keys: ConfigKeys, absent: int | None = None) -> int | None:
    """The window that `sliding_window` gives, None for none.

    Args:
        keys: the config's.
        absent: the window where the key is not there; null is none.

    Raises:
        CheckpointError: it is not positive.
    """
    if not keys.has("sliding_window"):
        keys.ignore("sliding_window")
        return None if "sliding_window" in keys else absent
    window: int = keys.take("sliding_window", int)
    if window < 1:
        raise CheckpointError(f"{keys.source} has sliding_window: {window}; it must be at least 1")
    return window
