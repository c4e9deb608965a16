"""Mixtral: Mistral's attention, a mixture of experts in every layer.

Keys and meanings follow the configuration that Mixtral checkpoints are published with.
"""

from collections.abc import Mapping
from typing import Any

from model.config import ExpertsConfig, ModelConfig
from model.families.common import num_layers, read_decoder, read_window
from model.families.keys import ConfigKeys
from model.families.names import ExpertNames, common_weights
from model.families.stored import Stored


def mixtral_config(config: Mapping[str, Any], source: str) -> ModelConfig:
    """The decoder's shape from a Mixtral `config.json`.

    Raises:
        CheckpointError: a key is missing, unknown, or has a value we don't implement.
    """
    keys = ConfigKeys(config, source)
    keys.require("hidden_act", ["silu"])
    layers = num_layers(keys)
    experts = ExpertsConfig(
        count=keys.take("num_local_experts", int, 8),
        chosen=keys.take("num_experts_per_tok", int, 2),
        ffn_dim=keys.take("intermediate_size", int),
        renormalize=True,
    )
    return read_decoder(
        keys,
        windows=[read_window(keys)] * layers,
        expert_layers=[True] * layers,
        experts=experts,
        theta=1_000_000.0,
        norm_eps=1e-5,
    )


def mixtral_weights(config: ModelConfig) -> Mapping[str, Stored]:
    """Where a Mixtral checkpoint keeps each parameter."""
    return common_weights(
        config,
        ExpertNames(
            router="block_sparse_moe.gate",
            gate="block_sparse_moe.experts.{}.w1",
            up="block_sparse_moe.experts.{}.w3",
            down="block_sparse_moe.experts.{}.w2",
        ),
    )
