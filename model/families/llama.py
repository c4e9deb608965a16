"""Llama 2 and 3, and Mistral: grouped-query attention, gated feed-forward.

Keys and meanings follow the configurations that these checkpoints are published with.
"""

from collections.abc import Mapping
from typing import Any

from model.config import ModelConfig
from model.families.common import num_layers, read_decoder, read_window
from model.families.keys import ConfigKeys


def llama_config(config: Mapping[str, Any], source: str) -> ModelConfig:
    """The decoder's shape from a Llama `config.json`.

    Raises:
        CheckpointError: a key is missing, unknown, or has a value we don't implement.
    """
    keys = ConfigKeys(config, source)
    keys.require("hidden_act", ["silu"])
    bias = keys.take("attention_bias", bool, False)
    return read_decoder(
        keys, qkv_bias=bias, out_bias=bias, mlp_bias=keys.take("mlp_bias", bool, False)
    )


def mistral_config(config: Mapping[str, Any], source: str) -> ModelConfig:
    """The decoder's shape from a Mistral `config.json`: a window on every layer, or on none.

    Raises:
        CheckpointError: a key is missing, unknown, or has a value we don't implement.
    """
    keys = ConfigKeys(config, source)
    keys.require("hidden_act", ["silu"])
    return read_decoder(keys, windows=[read_window(keys, absent=4096)] * num_layers(keys))
