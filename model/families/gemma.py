"""Gemma 2 and Gemma 3 (text): norms around each part, layers with and without a window.

Keys and meanings follow the configurations that these checkpoints are published with. Norm
weights are stored less one, embedded tokens are scaled by the square root of D.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from model.config import LayerConfig, ModelConfig
from model.families.common import (
    FULL,
    SLIDING,
    num_layers,
    read_decoder,
    read_head_dim,
    read_windows,
)
from model.families.keys import ConfigKeys
from model.families.names import attention_weights, decoder_weights, mlp_weights
from model.families.ropes import Ropes, read_ropes, read_scaled_ropes
from model.families.stored import Stored, keep
from model.rope import plain_rope


def gemma2_config(config: Mapping[str, Any], source: str) -> ModelConfig:
    """The decoder's shape from a Gemma 2 `config.json`: every other layer has a window.

    Raises:
        CheckpointError: a key is missing, unknown, or has a value we don't implement.
    """
    keys = ConfigKeys(config, source)
    windows = read_windows(
        keys, [FULL if index % 2 else SLIDING for index in range(num_layers(keys))]
    )
    # The same number under an older name in published files.
    keys.require("sliding_window_size", list(dict.fromkeys([None, *windows])))
    return _read_gemma(keys, windows, attention_cap=50.0, logit_cap=30.0)


def gemma3_config(config: Mapping[str, Any], source: str) -> ModelConfig:
    """The decoder's shape from a Gemma 3 text `config.json`: every sixth layer has no window.

    Layers with a window have a rotary base of their own, and never a scaled one.

    Raises:
        CheckpointError: a key is missing, unknown, or has a value we don't implement.
    """
    keys = ConfigKeys(config, source)
    older = keys.positive("_sliding_window_pattern", int, 6)
    every = keys.positive("sliding_window_pattern", int, older)
    windows = read_windows(
        keys, [SLIDING if (index + 1) % every else FULL for index in range(num_layers(keys))]
    )
    whole, local = _gemma3_ropes(keys)
    result = _read_gemma(keys, windows, whole, qk_norm="head")

    def with_rope(layer: LayerConfig) -> LayerConfig:
        return layer if layer.window is None else replace(layer, rope=local.rope)

    return replace(result, layers=tuple(with_rope(layer) for layer in result.layers))


def gemma_weights(config: ModelConfig) -> Mapping[str, Stored]:
    """Where a Gemma 2 or 3 checkpoint keeps each parameter."""

    def block_weights(config: ModelConfig, layer: LayerConfig) -> dict[str, Stored]:
        del layer
        norms = {
            "attention_norm": "input_layernorm",
            "attention_out_norm": "post_attention_layernorm",
            "mlp_norm": "pre_feedforward_layernorm",
            "mlp_out_norm": "post_feedforward_layernorm",
        }
        return {
            **{f"{ours}.weight": Stored((f"{name}.weight",), keep) for ours, name in norms.items()},
            **attention_weights(config),
            **mlp_weights(config),
        }

    return decoder_weights(config, block_weights)


def _read_gemma(
    keys: ConfigKeys,
    windows: list[int | None],
    ropes: Ropes | None = None,
    attention_cap: float | None = None,
    logit_cap: float | None = None,
    **differences: Any,
) -> ModelConfig:
    # Caps are those where the config has no such key; null is none.
    # Gemma 2 files have both names of the activation; the second is the one that counts.
    keys.require("hidden_activation", ["gelu_pytorch_tanh", None])
    keys.require("hidden_act", [None, "gelu_pytorch_tanh"])
    keys.require("use_bidirectional_attention", [False, None])
    bias = keys.take("attention_bias", bool, False)
    return read_decoder(
        keys,
        windows=windows,
        ropes=ropes,
        tied=True,
        norms="around",
        norm_offset=1.0,
        activation="gelu_tanh",
        qkv_bias=bias,
        out_bias=bias,
        embed_scale=keys.positive("hidden_size", int) ** 0.5,
        query_scale=keys.positive("query_pre_attn_scalar", float, 256.0) ** -0.5,
        attention_softcap=_cap(keys, "attn_logit_softcapping", attention_cap),
        logit_softcap=_cap(keys, "final_logit_softcapping", logit_cap),
        **differences,
    )


def _cap(keys: ConfigKeys, name: str, absent: float | None) -> float | None:
    if not keys.has(name):
        keys.ignore(name)
        return None if name in keys else absent
    return float(keys.positive(name, float))


def _gemma3_ropes(keys: ConfigKeys) -> tuple[Ropes, Ropes]:
    """The rotary embeddings of layers without and with a window."""
    head_dim = read_head_dim(keys)
    newer = keys.nested("rope_parameters")
    if newer is None or not newer.has(FULL):
        local = plain_rope(keys.positive("rope_local_base_freq", float, 10_000.0), head_dim)
        whole = read_ropes(keys, head_dim, 1_000_000.0)
        return whole, Ropes(local, whole.context_length)
    context = keys.positive("max_position_embeddings", int)
    keys.ignore("rope_local_base_freq", "rope_theta", "rope_scaling")
    whole, local = (
        read_scaled_ropes(nested, head_dim, theta, 1.0, context, context)
        for nested, theta in (
            (newer.nested(FULL) or ConfigKeys({}, newer.source), 1_000_000.0),
            (newer.nested(SLIDING) or ConfigKeys({}, newer.source), 10_000.0),
        )
    )
    newer.finish()
    return whole, local
