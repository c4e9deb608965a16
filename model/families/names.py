"""The weight names that most published families share.

`model.layers.3.self_attn.q_proj.weight` and so on, as Llama's checkpoints introduced them.
A family starts from these and replaces what it keeps otherwise.
"""

from model.config import ModelConfig
from model.families.stored import (
    FuseHeads,
    SplitHeads,
    Stored,
    keep,
    stack_gate_up,
    transpose,
)


def common_weights(config: ModelConfig) -> dict[str, Stored]:
    """Every parameter's place in a checkpoint with the common names."""
    weights = {
        "embedding.weight": Stored(("model.embed_tokens.weight",), keep),
        "norm.weight": Stored(("model.norm.weight",), keep),
    }
    if not config.tied_head:
        weights["head.weight"] = Stored(("lm_head.weight",), keep)
    for index in range(config.num_layers):
        layer, block = f"model.layers.{index}.", f"blocks.{index}."
        weights |= {
            block + name: Stored(tuple(layer + tensor for tensor in stored.tensors), stored.build)
            for name, stored in _block_weights(config).items()
        }
    return weights


def _block_weights(config: ModelConfig) -> dict[str, Stored]:
    heads = (config.num_kv_heads, config.group_size, config.head_dim)
    projections = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    weights = {
        "attention_norm.weight": Stored(("input_layernorm.weight",), keep),
        "attention.qkv": Stored(tuple(f"{p}.weight" for p in projections), FuseHeads(*heads)),
        "attention.out": Stored(("self_attn.o_proj.weight",), SplitHeads(*heads)),
        "mlp_norm.weight": Stored(("post_attention_layernorm.weight",), keep),
        "mlp.gate_up": Stored(("mlp.gate_proj.weight", "mlp.up_proj.weight"), stack_gate_up),
        "mlp.down": Stored(("mlp.down_proj.weight",), transpose),
    }
    if config.qk_norm:
        weights["attention.q_norm.weight"] = Stored(("self_attn.q_norm.weight",), keep)
        weights["attention.k_norm.weight"] = Stored(("self_attn.k_norm.weight",), keep)
    return weights
