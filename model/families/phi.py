"""Phi-3 and Phi-4-mini: fused projections, part of each head rotated, LongRoPE.

Keys and meanings follow the configurations that these checkpoints are published with.
"""

from collections.abc import Mapping
from typing import Any

from model.config import LayerConfig, ModelConfig
from model.families.common import num_layers, read_decoder, read_window
from model.families.keys import ConfigKeys
from model.families.names import attention_weights, decoder_weights
from model.families.stored import FuseHeads, Stored, keep, split_gate_up, transpose


def phi3_config(config: Mapping[str, Any], source: str) -> ModelConfig:
    """The decoder's shape from a Phi-3 `config.json`: a window on every layer, or on none.

    Raises:
        CheckpointError: a key is missing, unknown, or has a value we don't implement.
    """
    keys = ConfigKeys(config, source)
    keys.require("hidden_act", ["silu"])
    keys.require("attention_bias", [False, None])
    # Phi-4-mini: full attention in every layer, nothing interpolated.
    keys.require("full_attn_mod", [1, None])
    keys.require("interpolate_factor", [1, None])
    return read_decoder(keys, windows=[read_window(keys)] * num_layers(keys), norm_eps=1e-5)


def phi3_weights(config: ModelConfig) -> Mapping[str, Stored]:
    """Where a Phi-3 checkpoint keeps each parameter."""

    def block_weights(config: ModelConfig, layer: LayerConfig) -> dict[str, Stored]:
        del layer
        heads = (config.num_kv_heads, config.group_size, config.head_dim)
        return {
            **attention_weights(config),
            "attention_norm.weight": Stored(("input_layernorm.weight",), keep),
            "attention.qkv": Stored(("self_attn.qkv_proj.weight",), FuseHeads(*heads)),
            "mlp_norm.weight": Stored(("post_attention_layernorm.weight",), keep),
            "mlp.gate_up": Stored(("mlp.gate_up_proj.weight",), split_gate_up),
            "mlp.down": Stored(("mlp.down_proj.weight",), transpose),
        }

    return decoder_weights(config, block_weights)
