"""OLMo 2: norms on what attention and feed-forward add, and over all heads at once.

Keys and meanings follow the configuration that OLMo 2 checkpoints are published with.
"""

from collections.abc import Mapping
from typing import Any

from model.config import LayerConfig, ModelConfig
from model.families.common import read_decoder
from model.families.keys import ConfigKeys
from model.families.names import attention_weights, decoder_weights, mlp_weights
from model.families.stored import Stored, keep


def olmo2_config(config: Mapping[str, Any], source: str) -> ModelConfig:
    """The decoder's shape from an OLMo 2 `config.json`.

    Raises:
        CheckpointError: a key is missing, unknown, or has a value we don't implement.
    """
    keys = ConfigKeys(config, source)
    keys.require("hidden_act", ["silu"])
    bias = keys.take("attention_bias", bool, False)
    return read_decoder(
        keys, norms="after", qk_norm="width", qkv_bias=bias, out_bias=bias, norm_eps=1e-5
    )


def olmo2_weights(config: ModelConfig) -> Mapping[str, Stored]:
    """Where an OLMo 2 checkpoint keeps each parameter."""

    def block_weights(config: ModelConfig, layer: LayerConfig) -> dict[str, Stored]:
        del layer
        return {
            **attention_weights(config),
            "attention_out_norm.weight": Stored(("post_attention_layernorm.weight",), keep),
            **mlp_weights(config),
            "mlp_out_norm.weight": Stored(("post_feedforward_layernorm.weight",), keep),
        }

    return decoder_weights(config, block_weights)
