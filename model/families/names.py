"""The weight names that most published families share.

`model.layers.3.self_attn.q_proj.weight` and so on, as Llama's checkpoints introduced them.
A family starts from these and replaces what it keeps otherwise.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from model.config import LayerConfig, ModelConfig
from model.families.stored import (
    FuseHeads,
    SplitHeads,
    Stored,
    join_heads_norm,
    keep,
    stack_experts,
    stack_experts_gate_up,
    stack_gate_up,
    transpose,
)

BlockWeights = Callable[[ModelConfig, LayerConfig], Mapping[str, Stored]]


class ExpertNames(NamedTuple):
    """Names within a layer, without `.weight`; `{}` stands for the expert's number."""

    router: str
    gate: str
    up: str
    down: str


def decoder_weights(config: ModelConfig, block_weights: BlockWeights) -> dict[str, Stored]:
    """Every parameter's place in a checkpoint, given those of one block.

    `block_weights` names parameters and tensors within their block and layer.
    """
    weights = {
        "embedding.weight": Stored(("model.embed_tokens.weight",), keep),
        "norm.weight": Stored(("model.norm.weight",), keep),
    }
    if not config.tied_head:
        weights["head.weight"] = Stored(("lm_head.weight",), keep)
    for index, layer in enumerate(config.layers):
        weights |= {
            f"blocks.{index}.{name}": stored.under(f"model.layers.{index}.")
            for name, stored in block_weights(config, layer).items()
        }
    return weights


def common_weights(config: ModelConfig, experts: ExpertNames | None = None) -> dict[str, Stored]:
    """Every parameter's place in a checkpoint with the common names.

    Args:
        config: the decoder's shape.
        experts: the experts' names, for layers that have some.
    """

    def block_weights(config: ModelConfig, layer: LayerConfig) -> dict[str, Stored]:
        weights = {
            "attention_norm.weight": Stored(("input_layernorm.weight",), keep),
            "mlp_norm.weight": Stored(("post_attention_layernorm.weight",), keep),
            **attention_weights(config),
        }
        if layer.experts and experts is not None and config.experts is not None:
            return weights | expert_weights(experts, config.experts.count)
        return weights | mlp_weights(config)

    return decoder_weights(config, block_weights)


def attention_weights(config: ModelConfig) -> dict[str, Stored]:
    """Separate query, key, value and output projections, with what the config adds to them."""
    heads = (config.num_kv_heads, config.group_size, config.head_dim)
    qkv = [f"self_attn.{part}_proj" for part in "qkv"]
    weights = {
        "attention.qkv": Stored(tuple(f"{name}.weight" for name in qkv), FuseHeads(*heads)),
        "attention.out": Stored(("self_attn.o_proj.weight",), SplitHeads(*heads)),
    }
    if config.qkv_bias:
        names = tuple(f"{name}.bias" for name in qkv)
        weights["attention.qkv_bias"] = Stored(names, FuseHeads(*heads))
    if config.out_bias:
        weights["attention.out_bias"] = Stored(("self_attn.o_proj.bias",), keep)
    if config.qk_norm != "none":
        build = {"head": (keep, keep), "width": join_heads_norm(*heads)}[config.qk_norm]
        for part, make in zip("qk", build, strict=True):
            name = f"self_attn.{part}_norm.weight"
            weights[f"attention.{part}_norm.weight"] = Stored((name,), make)
    return weights


def mlp_weights(config: ModelConfig) -> dict[str, Stored]:
    """Separate gate, up and down projections."""
    both = ("mlp.gate_proj", "mlp.up_proj")
    weights = {
        "mlp.gate_up": Stored(tuple(f"{name}.weight" for name in both), stack_gate_up),
        "mlp.down": Stored(("mlp.down_proj.weight",), transpose),
    }
    if config.mlp_bias:
        names = tuple(f"{name}.bias" for name in both)
        weights["mlp.gate_up_bias"] = Stored(names, stack_gate_up)
        weights["mlp.down_bias"] = Stored(("mlp.down_proj.bias",), keep)
    return weights


def expert_weights(names: ExpertNames, count: int) -> dict[str, Stored]:
    """A router, and each expert's projections as tensors of their own."""
    both = [name.format(index) for index in range(count) for name in (names.gate, names.up)]
    down = [names.down.format(index) for index in range(count)]
    return {
        "mlp.router.weight": Stored((f"{names.router}.weight",), transpose),
        "mlp.gate_up": Stored(tuple(f"{name}.weight" for name in both), stack_experts_gate_up),
        "mlp.down": Stored(tuple(f"{name}.weight" for name in down), stack_experts),
    }
