"""Gemma 3 as it is published with a vision tower: SigLIP, a projector, Gemma 3's decoder.

Keys, defaults and meanings follow the configurations that these checkpoints are published with.
"""

from collections.abc import Mapping
from math import isqrt
from typing import Any

from model.config import CheckpointError, ModelConfig
from model.families.gemma import gemma3_config, gemma_weights
from model.families.keys import ConfigKeys
from model.families.multimodal import text_config, under_any, vision_keys, within
from model.families.stored import Stored, keep
from model.families.vision_names import attention, blocks, flatten_patches, layer_norm, mlp
from model.vision.config import AnyVisionConfig, Gemma3VisionConfig

TOWER = r"(model\.)?(vision_tower|multi_modal_projector)\..*"
# SigLIP's tensors are within a model of their own, or not.
_INNER = ("vision_model.", "")
# The reference implementation's, on which published files rely.
_TEXT_DEFAULTS = {
    "vocab_size": 262_208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131_072,
    "sliding_window": 4096,
}


def gemma3_vision_text_config(config: Mapping[str, Any], source: str) -> ModelConfig:
    """The decoder's shape from a Gemma 3 `config.json` with a `text_config` in it.

    Raises:
        CheckpointError: a key is missing, unknown, or has a value we don't implement.
    """
    inner, _ = _read(config, source)
    return gemma3_config(inner, f"{source} text_config")


def gemma3_vision_config(config: Mapping[str, Any], source: str) -> Gemma3VisionConfig:
    """The tower's shape from the same file.

    Raises:
        CheckpointError: a key is missing, unknown, or has a value we don't implement.
    """
    return _read(config, source)[1]


def _read(config: Mapping[str, Any], source: str) -> tuple[dict[str, Any], Gemma3VisionConfig]:
    keys = ConfigKeys(config, source)
    inner = text_config(keys, _TEXT_DEFAULTS, tied=True)
    vision = vision_keys(keys)
    vision.require("num_channels", [3])
    vision.require("vision_use_head", [False])
    image, patch = vision.positive("image_size", int), vision.positive("patch_size", int)
    tokens = keys.positive("mm_tokens_per_image", int, 256)
    if image % patch or isqrt(tokens) ** 2 != tokens:
        raise CheckpointError(
            f"{source} has images of {image} pixels, patches of {patch} and {tokens} vectors for "
            "an image; patches must divide images, and vectors make a square"
        )
    tower = Gemma3VisionConfig(
        embed_dim=vision.positive("hidden_size", int),
        ffn_dim=vision.positive("intermediate_size", int),
        num_heads=vision.positive("num_attention_heads", int),
        num_layers=vision.positive("num_hidden_layers", int),
        patch_size=patch,
        out_dim=ConfigKeys(inner, f"{source} text_config").positive("hidden_size", int),
        image_token=keys.take("image_token_index", int, 262_144),
        begin_token=keys.take("boi_token_index", int, 255_999),
        end_token=keys.take("eoi_token_index", int, 256_000),
        norm_eps=vision.positive("layer_norm_eps", float, 1e-6),
        patch_side=image // patch,
        token_side=isqrt(tokens),
    )
    vision.finish()
    keys.finish()
    return inner, tower


def gemma3_vision_text_weights(config: ModelConfig) -> Mapping[str, Stored]:
    """Where a checkpoint keeps each parameter of the decoder."""
    return within(gemma_weights(config))


def gemma3_vision_weights(config: AnyVisionConfig) -> Mapping[str, Stored]:
    """Where a checkpoint keeps each parameter of the tower."""
    block = {
        **layer_norm("attention_norm", "layer_norm1"),
        **attention(
            config, tuple(f"self_attn.{part}_proj" for part in "qkv"), "self_attn.out_proj"
        ),
        **layer_norm("mlp_norm", "layer_norm2"),
        **mlp("mlp", "mlp.fc1", "mlp.fc2"),
    }
    encoder = {
        "patches.weight": Stored(("embeddings.patch_embedding.weight",), flatten_patches),
        "patches.bias": Stored(("embeddings.patch_embedding.bias",), keep),
        "positions": Stored(("embeddings.position_embedding.weight",), keep),
        **blocks(config.num_layers, "encoder.layers", block),
        **layer_norm("norm", "post_layernorm"),
    }
    projector = {
        "pooled_norm": Stored(("mm_soft_emb_norm.weight",), keep),
        "projection": Stored(("mm_input_projection_weight",), keep),
    }
    within_model = ("", "model.")
    towers = [f"{outer}vision_tower.{inner}" for outer in within_model for inner in _INNER]
    return {
        **under_any(towers, encoder),
        **under_any([f"{outer}multi_modal_projector." for outer in within_model], projector),
    }
