"""Llama 2 and 3 without rope scaling: grouped-query attention, gated feed-forward.

Keys and meanings follow the configuration that Llama checkpoints are published with.
"""

from collections.abc import Mapping
from typing import Any

from model.config import ModelConfig
from model.families.keys import ConfigKeys


def llama_config(config: Mapping[str, Any], source: str) -> ModelConfig:
    """The decoder's shape from a Llama `config.json`.

    Raises:
        CheckpointError: a key is missing, unknown, or has a value we don't implement.
    """
    keys = ConfigKeys(config, source)
    keys.require("hidden_act", ["silu"])
    keys.require("attention_bias", [False])
    keys.require("mlp_bias", [False])
    num_heads = keys.take("num_attention_heads", int)
    embed_dim = keys.take("hidden_size", int)
    result = ModelConfig(
        vocab_size=keys.take("vocab_size", int),
        embed_dim=embed_dim,
        num_layers=keys.take("num_hidden_layers", int),
        num_heads=num_heads,
        num_kv_heads=keys.take("num_key_value_heads", int, num_heads),
        head_dim=keys.take("head_dim", int, embed_dim // num_heads),
        ffn_dim=keys.take("intermediate_size", int),
        context_length=keys.take("max_position_embeddings", int),
        rope_theta=keys.rope_theta(10_000.0),
        norm_eps=keys.take("rms_norm_eps", float, 1e-6),
        qk_norm=False,
        tied_head=keys.take("tie_word_embeddings", bool, False),
    )
    keys.finish()
    return result
