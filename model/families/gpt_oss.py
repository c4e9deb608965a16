"""gpt-oss: attention sinks, every other layer with a window, clamped experts with biases.

Keys and meanings follow the configuration that gpt-oss checkpoints are published with, and
the MXFP4 layout of their experts the Open Compute Project's microscaling formats (v1.0):
blocks of 32 four-bit values, two to a byte with the lower half first, and one power of two
per block.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from model.config import CheckpointError, ExpertsConfig, LayerConfig, ModelConfig
from model.families.common import FULL, SLIDING, num_layers, read_decoder, read_windows
from model.families.keys import ConfigKeys
from model.families.names import attention_weights, decoder_weights
from model.families.stored import Shape, Stored, keep, transpose
from model.quantized import how_quantized, refusal

# The sixteen values of a four-bit float, E2M1.
_FP4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_FP4_VALUES = (*_FP4, *(-value for value in _FP4))
_SCALE_BIAS = 127


def gpt_oss_config(config: Mapping[str, Any], source: str) -> ModelConfig:
    """The decoder's shape from a gpt-oss `config.json`.

    Raises:
        CheckpointError: a key is missing, unknown, or has a value we don't implement.
    """
    keys = ConfigKeys(config, source)
    keys.require("hidden_act", ["silu"])
    keys.require("swiglu_limit", [7.0])
    keys.require("swiglu_alpha", [1.702])
    # The same number under two names in published files.
    keys.ignore("experts_per_token")
    _require_mxfp4(keys)
    # Where it is not there, versions of the reference implementation disagree about it.
    if not (keys.has("rope_scaling") or keys.has("rope_parameters")):
        raise CheckpointError(f"{keys.source} lacks rope_scaling")
    bias = keys.take("attention_bias", bool, True)
    layers = num_layers(keys)
    experts = ExpertsConfig(
        count=keys.take("num_local_experts", int),
        chosen=keys.take("num_experts_per_tok", int),
        ffn_dim=keys.take("intermediate_size", int),
        renormalize=True,
        bias=True,
    )
    return read_decoder(
        keys,
        windows=read_windows(keys, [FULL if index % 2 else SLIDING for index in range(layers)]),
        expert_layers=[True] * layers,
        experts=experts,
        activation="clamped_swish",
        attention_sinks=True,
        qkv_bias=bias,
        out_bias=bias,
        theta=150_000.0,
        norm_eps=1e-5,
    )


def gpt_oss_weights(config: ModelConfig) -> Mapping[str, Stored]:
    """Where a gpt-oss checkpoint keeps each parameter, four-bit experts or not."""

    def block_weights(config: ModelConfig, layer: LayerConfig) -> dict[str, Stored]:
        del layer
        experts = "mlp.experts."
        heads = (config.num_kv_heads, config.group_size)
        return {
            **attention_weights(config),
            "attention_norm.weight": Stored(("input_layernorm.weight",), keep),
            "attention.sinks": Stored(("self_attn.sinks",), Shape(heads)),
            "mlp_norm.weight": Stored(("post_attention_layernorm.weight",), keep),
            "mlp.router.weight": Stored(("mlp.router.weight",), transpose),
            "mlp.router.bias": Stored(("mlp.router.bias",), keep),
            "mlp.gate_up": Stored(
                (f"{experts}gate_up_proj_blocks", f"{experts}gate_up_proj_scales"),
                expand_gate_up,
                Stored((f"{experts}gate_up_proj",), part_pairs),
            ),
            "mlp.gate_up_bias": Stored((f"{experts}gate_up_proj_bias",), split_pairs),
            "mlp.down": Stored(
                (f"{experts}down_proj_blocks", f"{experts}down_proj_scales"),
                expand_down,
                Stored((f"{experts}down_proj",), keep),
            ),
            "mlp.down_bias": Stored((f"{experts}down_proj_bias",), keep),
        }

    return decoder_weights(config, block_weights)


def split_pairs(both: Float[Array, "*shape two_ffn"]) -> Float[Array, "*shape 2 ffn"]:
    """Gate and up, which alternate on the last axis, side by side."""
    return jnp.moveaxis(both.reshape(*both.shape[:-1], -1, 2), -1, -2)


def part_pairs(both: Float[Array, "*shape two_ffn"]) -> Float[Array, "*shape two_ffn"]:
    """Gate and then up, out of values that alternate between them."""
    return split_pairs(both).reshape(both.shape)


def expand_gate_up(
    blocks: UInt8[Array, "E two_ffn blocks half"], scales: UInt8[Array, "E two_ffn blocks"]
) -> Float[Array, "E D two_ffn"]:
    """Gate and up projections out of four-bit blocks along D."""
    return part_pairs(expand_mxfp4(blocks, scales).transpose(0, 2, 1))


def expand_down(
    blocks: UInt8[Array, "E D blocks half"], scales: UInt8[Array, "E D blocks"]
) -> Float[Array, "E ffn D"]:
    """Down projections out of four-bit blocks along F."""
    return expand_mxfp4(blocks, scales).transpose(0, 2, 1)


def expand_mxfp4(
    blocks: UInt8[Array, "*rows blocks half"], scales: UInt8[Array, "*rows blocks"]
) -> Float[Array, "*rows in"]:
    """Float32 values of four-bit blocks; every bfloat16 holds them exactly."""
    values = jnp.asarray(_FP4_VALUES, jnp.float32)
    pairs = jnp.stack([values[blocks & 15], values[blocks >> 4]], axis=-1)
    whole = pairs.reshape(*blocks.shape[:-1], -1)
    scaled = jnp.ldexp(whole, scales.astype(jnp.int32)[..., None] - _SCALE_BIAS)
    return scaled.reshape(*blocks.shape[:-2], -1)


def _require_mxfp4(keys: ConfigKeys) -> None:
    said = keys.take("quantization_config", dict, {})
    if said and said.get("quant_method") != "mxfp4":
        raise CheckpointError(refusal(keys.source, how_quantized(said)))
    quantization = keys.nested("quantization_config")
    if quantization is not None:
        quantization.ignore("quant_method")
        # Which modules stay as they are: their tensors say so themselves.
        quantization.ignore("modules_to_not_convert")
        quantization.finish()
