"""Qwen2 and 2.5 (biases on queries, keys and values), Qwen3 (norms on queries and keys), and
Qwen3-MoE.

Keys and meanings follow the configurations that these checkpoints are published with.
"""

from collections.abc import Mapping
from typing import Any

from model.config import CheckpointError, ExpertsConfig, ModelConfig
from model.families.common import FULL, SLIDING, num_layers, read_decoder, read_windows
from model.families.keys import ConfigKeys
from model.families.names import ExpertNames, common_weights
from model.families.stored import Stored


def qwen2_config(config: Mapping[str, Any], source: str) -> ModelConfig:
    """The decoder's shape from a Qwen2 `config.json`.

    Raises:
        CheckpointError: a key is missing, unknown, or has a value we don't implement.
    """
    keys = ConfigKeys(config, source)
    keys.require("hidden_act", ["silu"])
    keys.require("use_mrope", [False, None])
    return read_decoder(keys, windows=_windows(keys), qkv_bias=True)


def qwen3_config(config: Mapping[str, Any], source: str) -> ModelConfig:
    """The decoder's shape from a Qwen3 `config.json`.

    Raises:
        CheckpointError: a key is missing, unknown, or has a value we don't implement.
    """
    keys = ConfigKeys(config, source)
    keys.require("hidden_act", ["silu"])
    keys.require("use_qk_norm", [True, None])
    bias = keys.take("attention_bias", bool, False)
    return read_decoder(keys, windows=_windows(keys), qkv_bias=bias, out_bias=bias, qk_norm="head")


def qwen3_moe_config(config: Mapping[str, Any], source: str) -> ModelConfig:
    """The decoder's shape from a Qwen3-MoE `config.json`.

    Raises:
        CheckpointError: a key is missing, unknown, or has a value we don't implement.
    """
    keys = ConfigKeys(config, source)
    keys.require("hidden_act", ["silu"])
    keys.require("use_qk_norm", [True, None])
    keys.require("shared_expert_intermediate_size", [0, None])
    keys.require("use_sliding_window", [False, None])
    keys.ignore("sliding_window", "max_window_layers")
    bias = keys.take("attention_bias", bool, False)
    renamed = "num_local_experts" if keys.has("num_local_experts") else "num_experts"
    experts = ExpertsConfig(
        count=keys.take(renamed, int),
        chosen=keys.take("num_experts_per_tok", int),
        ffn_dim=keys.take("moe_intermediate_size", int),
        renormalize=keys.take("norm_topk_prob", bool, False),
    )
    every, plain = (
        keys.positive("decoder_sparse_step", int, 1),
        keys.take("mlp_only_layers", list, []),
    )
    if not all(type(index) is int for index in plain):
        raise CheckpointError(
            f"{keys.source} has mlp_only_layers: {plain!r}; it must be a list of layers' numbers"
        )
    layers = [index not in plain and (index + 1) % every == 0 for index in range(num_layers(keys))]
    return read_decoder(
        keys,
        expert_layers=layers,
        experts=experts,
        qkv_bias=bias,
        out_bias=bias,
        qk_norm="head",
    )


def qwen3_moe_weights(config: ModelConfig) -> Mapping[str, Stored]:
    """Where a Qwen3-MoE checkpoint keeps each parameter."""
    return common_weights(
        config,
        ExpertNames(
            router="mlp.gate",
            gate="mlp.experts.{}.gate_proj",
            up="mlp.experts.{}.up_proj",
            down="mlp.experts.{}.down_proj",
        ),
    )


def _windows(keys: ConfigKeys) -> list[int | None]:
    count, first = num_layers(keys), keys.take("max_window_layers", int, 28)
    if not keys.take("use_sliding_window", bool, False):
        keys.ignore("sliding_window", "layer_types")
        return [None] * count
    return read_windows(keys, [SLIDING if index >= first else FULL for index in range(count)])
