"""Checkpoints in the form that hubs publish, shaped like Llama's or Qwen3-VL's, of any values.

For benchmarks and tests: tensors are drawn one by one, so that a checkpoint may be larger than
memory, and written by the format's own package.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from model.weights.groups import groups_by_size
from model.weights.safetensors import INDEX, SINGLE


def tensor_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The tensors that a Llama with this `config.json` is published with."""
    embed, ffn, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm": (embed,),
        "self_attn.q_proj": (queries, embed),
        "self_attn.k_proj": (keys, embed),
        "self_attn.v_proj": (keys, embed),
        "self_attn.o_proj": (embed, queries),
        "post_attention_layernorm": (embed,),
        "mlp.gate_proj": (ffn, embed),
        "mlp.up_proj": (ffn, embed),
        "mlp.down_proj": (embed, ffn),
    }
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], embed)
    }
    for index in range(config["num_hidden_layers"]):
        shapes |= {f"model.layers.{index}.{name}.weight": size for name, size in layer.items()}
    shapes["model.norm.weight"] = (embed,)
    if not config.get("tie_word_embeddings", False):
        shapes["lm_head.weight"] = (config["vocab_size"], embed)
    return shapes


def seeing_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The tensors that a Qwen3-VL with this `config.json`, its head tied, is published with."""
    text = config["text_config"]
    decoder = tensor_shapes({**text, "tie_word_embeddings": True})
    for index in range(text["num_hidden_layers"]):
        for part in "qk":
            decoder[f"model.layers.{index}.self_attn.{part}_norm.weight"] = (text["head_dim"],)
    found = {
        f"model.language_model.{name.removeprefix('model.')}": shape
        for name, shape in decoder.items()
    }
    return found | _tower_shapes(config["vision_config"])


def _tower_shapes(vision: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    embed, ffn, out = vision["hidden_size"], vision["intermediate_size"], vision["out_hidden_size"]
    square = embed * vision["spatial_merge_size"] ** 2
    block: dict[str, tuple[int, ...]] = {
        "norm1": (embed,),
        "attn.qkv": (3 * embed, embed),
        "attn.proj": (embed, embed),
        "norm2": (embed,),
        "mlp.linear_fc1": (ffn, embed),
        "mlp.linear_fc2": (embed, ffn),
    }
    patch = (3, vision["temporal_patch_size"], vision["patch_size"], vision["patch_size"])
    parts: dict[str, tuple[int, ...]] = {"patch_embed.proj": (embed, *patch)}
    for index in range(vision["depth"]):
        parts |= {f"blocks.{index}.{name}": shape for name, shape in block.items()}
    mergers = {"merger": embed}
    for index in range(len(vision["deepstack_visual_indexes"])):
        mergers[f"deepstack_merger_list.{index}"] = square
    for name, normed in mergers.items():
        parts[f"{name}.norm"] = (normed,)
        parts[f"{name}.linear_fc1"], parts[f"{name}.linear_fc2"] = (square, square), (out, square)
    found = {"model.visual.pos_embed.weight": (vision["num_position_embeddings"], embed)}
    for name, shape in parts.items():
        found |= {f"model.visual.{name}.weight": shape, f"model.visual.{name}.bias": shape[:1]}
    return found


def write_checkpoint(
    directory: Path,
    config: Mapping[str, Any],
    sizes: Mapping[str, int],
    draw: Callable[[str], np.ndarray],
    shards: int,
) -> None:
    """Write `config.json` and the tensors that `draw` gives, of these sizes in bytes.

    Args:
        directory: made if need be.
        config: what `config.json` is to say.
        sizes: tensor → bytes, in the order in which they are written.
        draw: gives a tensor by its name.
        shards: 1 for one file; else about so many, with an index.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    groups = groups_by_size(sizes, math.ceil(sum(sizes.values()) / shards))
    places: dict[str, str] = {}
    for number, names in enumerate(groups, 1):
        file = SINGLE if shards == 1 else f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        save_file({name: draw(name) for name in names}, directory / file)
        places |= dict.fromkeys(names, file)
    if shards > 1:
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": places}
        (directory / INDEX).write_text(json.dumps(index, indent=2) + "\n")
