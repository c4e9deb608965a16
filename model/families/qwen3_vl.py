"""Qwen3-VL: Qwen3's decoder, whose positions have three axes, and a vision tower.

Keys and meanings follow the configurations that these checkpoints are published with.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import isqrt
from typing import Any, cast

from model.config import CheckpointError, ModelConfig
from model.families.keys import ConfigKeys
from model.families.multimodal import text_config, under_any, vision_keys, within
from model.families.names import common_weights
from model.families.qwen import qwen3_config
from model.families.stored import Stored, keep
from model.families.vision_names import attention, blocks, flatten_patches, layer_norm, mlp
from model.vision.config import AnyVisionConfig, Qwen3VLVisionConfig

TOWER = r"model\.visual\..*"
_SECTIONS = [24, 20, 20]


def qwen3_vl_text_config(config: Mapping[str, Any], source: str) -> ModelConfig:
    """The decoder's shape from a Qwen3-VL `config.json`.

    Raises:
        CheckpointError: a key is missing, unknown, or has a value we don't implement.
    """
    inner, _ = _read(config, source)
    within_text = f"{source} text_config"
    plain, sections = _sections(inner, within_text)
    result = qwen3_config(plain, within_text)
    pairs = len(result.layers[0].rope.frequencies)
    if len(sections) != 3 or sum(sections) != pairs:
        raise CheckpointError(
            f"{within_text} has mrope_section: {sections}; it must be three numbers that add up to "
            f"the {pairs} rotated pairs"
        )
    axes = interleaved_axes(sections)
    return replace(
        result,
        layers=tuple(
            replace(layer, rope=replace(layer.rope, axes=axes)) for layer in result.layers
        ),
    )


def interleaved_axes(sections: list[int]) -> tuple[int, ...]:
    """Which axis of a position turns each pair: time, row, column, time, row, and so on.

    An axis that has had its share leaves its places to time.
    """
    return tuple(
        index % 3 if index < 3 * sections[index % 3] else 0 for index in range(sum(sections))
    )


def _sections(inner: Mapping[str, Any], source: str) -> tuple[dict[str, Any], list[int]]:
    """The config without its keys of positions of several axes, and the share of each axis."""
    for name in ("rope_parameters", "rope_scaling"):
        if isinstance(inner.get(name), dict):
            scaling = cast("dict[str, Any]", inner[name])
            keys = ConfigKeys(scaling, f"{source} {name}")
            keys.require("mrope_interleaved", [True])
            sections = keys.take("mrope_section", list, _SECTIONS)
            if not all(type(share) is int and share >= 0 for share in sections):
                raise CheckpointError(
                    f"{source} has mrope_section: {sections}; it must be three numbers"
                )
            rest = {key: scaling[key] for key in scaling if not key.startswith("mrope_")}
            return {**inner, name: rest}, sections
    return dict(inner), _SECTIONS


def qwen3_vl_vision_config(config: Mapping[str, Any], source: str) -> Qwen3VLVisionConfig:
    """The tower's shape from the same file.

    Raises:
        CheckpointError: a key is missing, unknown, or has a value we don't implement.
    """
    return _read(config, source)[1]


def _read(config: Mapping[str, Any], source: str) -> tuple[dict[str, Any], Qwen3VLVisionConfig]:
    keys = ConfigKeys(config, source)
    inner = text_config(keys, {}, tied=False)
    # Films are not shown to it.
    keys.ignore("video_token_id")
    vision = vision_keys(keys)
    vision.require("in_channels", [3])
    places = vision.positive("num_position_embeddings", int)
    out, text = vision.positive("out_hidden_size", int), ConfigKeys(inner, f"{source} text_config")
    if out != text.positive("hidden_size", int) or isqrt(places) ** 2 != places:
        raise CheckpointError(
            f"{vision.source} has out_hidden_size: {out} and num_position_embeddings: {places}; "
            "the former must be the decoder's hidden_size, the latter make a square"
        )
    rope = vision.nested("rope_parameters") or ConfigKeys({}, vision.source)
    rope.require("rope_type", ["axial"])
    tower = Qwen3VLVisionConfig(
        embed_dim=vision.positive("hidden_size", int),
        ffn_dim=vision.positive("intermediate_size", int),
        num_heads=vision.positive("num_heads", int),
        num_layers=vision.positive("depth", int),
        patch_size=vision.positive("patch_size", int),
        out_dim=out,
        image_token=keys.take("image_token_id", int, 151_655),
        begin_token=keys.take("vision_start_token_id", int, 151_652),
        end_token=keys.take("vision_end_token_id", int, 151_653),
        position_side=isqrt(places),
        merge=vision.positive("spatial_merge_size", int, 2),
        frames=vision.positive("temporal_patch_size", int, 2),
        deepstack_layers=_deepstack(vision),
        rope_theta=rope.positive("rope_theta", float, 10_000.0),
    )
    rope.finish()
    vision.finish()
    keys.finish()
    return inner, tower


def _deepstack(vision: ConfigKeys) -> tuple[int, ...]:
    layers: list[Any] = vision.take("deepstack_visual_indexes", list)
    if not all(type(layer) is int for layer in layers):
        raise CheckpointError(
            f"{vision.source} has deepstack_visual_indexes: {layers}; it must be layers' numbers"
        )
    return tuple(layers)


def qwen3_vl_text_weights(config: ModelConfig) -> Mapping[str, Stored]:
    """Where a Qwen3-VL checkpoint keeps each parameter of the decoder."""
    return within(common_weights(config))


def qwen3_vl_weights(config: AnyVisionConfig) -> Mapping[str, Stored]:
    """Where a Qwen3-VL checkpoint keeps each parameter of the tower."""
    block = {
        **layer_norm("attention_norm", "norm1"),
        **attention(config, ("attn.qkv",), "attn.proj"),
        **layer_norm("mlp_norm", "norm2"),
        **mlp("mlp", "mlp.linear_fc1", "mlp.linear_fc2"),
    }
    merger = {**layer_norm("norm", "norm"), **mlp("mlp", "linear_fc1", "linear_fc2")}
    weights = {
        "patches.weight": Stored(("patch_embed.proj.weight",), flatten_patches),
        "patches.bias": Stored(("patch_embed.proj.bias",), keep),
        "positions": Stored(("pos_embed.weight",), keep),
        **blocks(config.num_layers, "blocks", block),
        **{f"merger.{ours}": stored.under("merger.") for ours, stored in merger.items()},
    }
    for index in range(len(config.deepstack)):
        weights |= {
            f"deepstack.{index}.{ours}": stored.under(f"deepstack_merger_list.{index}.")
            for ours, stored in merger.items()
        }
    return under_any(["model.visual."], weights)
