"""GGUF files of tiny models, written as llama.cpp's converter writes them.

What it does to names and values is said here a second time, apart from what reads it: the
converter's way, from a hub's directory to a file.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import load_file
from sentencepiece import sentencepiece_model_pb2

TYPES = gguf.GGMLQuantizationType
_ARCHITECTURES = {
    "Gemma2ForCausalLM": "gemma2",
    "Gemma3ForCausalLM": "gemma3",
    "GptOssForCausalLM": "gpt-oss",
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "MixtralForCausalLM": "llama",
    "Olmo2ForCausalLM": "olmo2",
    "Phi3ForCausalLM": "phi3",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "Qwen3MoeForCausalLM": "qwen3moe",
}
_NORMS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_NORMS_AROUND = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
_BLOCK = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
    "mlp.router": "ffn_gate_inp",
    "block_sparse_moe.gate": "ffn_gate_inp",
}
_EXPERTS = {
    "gate_proj": "ffn_gate_exps",
    "up_proj": "ffn_up_exps",
    "down_proj": "ffn_down_exps",
    "w1": "ffn_gate_exps",
    "w3": "ffn_up_exps",
    "w2": "ffn_down_exps",
}


def float32(value: float) -> float:
    """A number as metadata keeps it."""
    return float(np.float32(value))


def metadata_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the converter says of a hub's config."""
    name = _ARCHITECTURES[config["architectures"][0]]
    heads, embed = config["num_attention_heads"], config["hidden_size"]
    head_dim = config.get("head_dim") or embed // heads
    ropes = config.get("rope_parameters") or {}
    context = config["max_position_embeddings"]
    facts: dict[str, Any] = {
        "context_length": context,
        "embedding_length": embed,
        "block_count": config["num_hidden_layers"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": heads,
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.layer_norm_rms_epsilon": float32(config["rms_norm_eps"]),
        "rope.dimension_count": int(head_dim * ropes.get("partial_rotary_factor", 1.0)),
        "vocab_size": config["vocab_size"],
    }
    if config.get("head_dim"):
        facts |= {"attention.key_length": head_dim, "attention.value_length": head_dim}
    if name == "gemma3":
        whole = ropes["full_attention"]
        facts |= {"rope.freq_base": float32(whole["rope_theta"])}
        ropes = whole
    elif name != "gemma2":
        facts |= {"rope.freq_base": float32(ropes["rope_theta"])}
    if ropes.get("rope_type") in ("linear", "yarn"):
        facts |= {"rope.scaling.type": ropes["rope_type"]}
        facts |= {"rope.scaling.factor": float32(ropes["factor"])}
    if ropes.get("rope_type") == "yarn":
        original = ropes["original_max_position_embeddings"]
        facts |= {"rope.scaling.original_context_length": original}
    if name == "phi3":
        original = config["original_max_position_embeddings"]
        facts |= {"rope.scaling.original_context_length": original}
        facts |= {"attention.sliding_window": config["sliding_window"] or 0}
        if ropes.get("rope_type") == "longrope":
            scale = math.sqrt(1 + math.log(context / original) / math.log(original))
            facts |= {"rope.scaling.attn_factor": float32(scale)}
    elif config.get("sliding_window") and name in ("gemma2", "gemma3", "gpt-oss"):
        facts |= {"attention.sliding_window": config["sliding_window"]}
    if name == "gemma2":
        facts |= {
            key: float32(config[key])
            for key in ("attn_logit_softcapping", "final_logit_softcapping")
        }
    experts = config.get("num_local_experts") or config.get("num_experts")
    if experts:
        facts |= {"expert_count": experts, "expert_used_count": config["num_experts_per_tok"]}
    if name == "qwen3moe":
        facts |= {"expert_feed_forward_length": config["moe_intermediate_size"]}
        facts |= {"expert_weights_norm": config["norm_topk_prob"]}
    if name == "gpt-oss":
        facts |= {"expert_feed_forward_length": config["intermediate_size"]}
    return {"general.architecture": name, **{f"{name}.{key}": facts[key] for key in facts}}


def tensors_of(
    config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What the converter makes of a hub's tensors; blocks of MXFP4 stay bytes."""
    name = _ARCHITECTURES[config["architectures"][0]]
    made: dict[str, np.ndarray] = {}
    stacks: dict[str, list[np.ndarray]] = {}
    for hub, stored in tensors.items():
        value = stored
        if name.startswith("gemma") and hub.endswith("norm.weight"):
            value = (value.astype(np.float32) + 1).astype(np.float32)
        if name == "llama" and (".q_proj." in hub or ".k_proj." in hub):
            key = "num_attention_heads" if ".q_proj." in hub else "num_key_value_heads"
            value = permuted(value, config[key])
        if not hub.startswith("model.layers."):
            whole = {"model.embed_tokens": "token_embd", "model.norm": "output_norm"}
            stem, _, suffix = hub.rpartition(".")
            made[f"{whole.get(stem, 'output')}.{suffix}"] = value
            continue
        _, _, layer, rest = hub.split(".", 3)
        if ".experts." not in rest:
            made[f"blk.{layer}.{_name_in_block(name, rest)}"] = value
        elif name == "gpt-oss":
            for part, piece in _gpt_oss_experts(rest.rsplit(".", 1)[1], value, tensors, hub):
                made[f"blk.{layer}.{part}"] = piece
        else:
            part = _EXPERTS[rest.split(".")[-2]]
            stacks.setdefault(f"blk.{layer}.{part}.weight", []).append(value)
    made |= {part: np.stack(values) for part, values in stacks.items()}
    # What llama.cpp reads as float32 alone.
    made = {
        part: value.astype(np.float32)
        if value.ndim < 2 or part.endswith((".bias", ".ffn_gate_inp.weight"))
        else value
        for part, value in made.items()
    }
    ropes = config.get("rope_parameters") or {}
    if ropes.get("rope_type") == "llama3":
        made["rope_freqs.weight"] = llama3_factors(config)
    if ropes.get("rope_type") == "longrope":
        for length in ("long", "short"):
            factors = np.array(ropes[f"{length}_factor"], np.float32)
            made[f"rope_factors_{length}.weight"] = factors
    return made


def _name_in_block(architecture: str, rest: str) -> str:
    if rest == "self_attn.sinks":
        return "attn_sinks.weight"
    stem, _, suffix = rest.rpartition(".")
    norms = dict(_NORMS)
    if architecture in ("gemma2", "gemma3", "olmo2"):
        norms = _NORMS_AROUND
    elif architecture == "gpt-oss":
        norms = _NORMS | {"post_attention_layernorm": "post_attention_norm"}
    return f"{(norms | _BLOCK)[stem]}.{suffix}"


def permuted(value: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head: first of one half, first of the other, second of the one, …"""
    size = len(value) // heads
    order = [
        head * size + half * (size // 2) + pair
        for head in range(heads)
        for pair in range(size // 2)
        for half in (0, 1)
    ]
    return value[order]


def llama3_factors(config: Mapping[str, Any]) -> np.ndarray:
    """The divisors of Llama 3's frequencies, pair by pair."""
    ropes = config["rope_parameters"]
    size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    factors = []
    for pair in range(size // 2):
        length = 2 * math.pi * ropes["rope_theta"] ** (2 * pair / size)
        original = ropes["original_max_position_embeddings"]
        low, high = ropes["low_freq_factor"], ropes["high_freq_factor"]
        if length < original / high:
            factors.append(1.0)
        elif length > original / low:
            factors.append(ropes["factor"])
        else:
            smooth = (original / length - low) / (high - low)
            factors.append(1 / ((1 - smooth) / ropes["factor"] + smooth))
    return np.array(factors, np.float32)


def _gpt_oss_experts(
    name: str, value: np.ndarray, tensors: Mapping[str, np.ndarray], hub: str
) -> Iterable[tuple[str, np.ndarray]]:
    if name.endswith("_bias"):
        if name.startswith("down"):
            return [("ffn_down_exps.bias", value)]
        return [("ffn_gate_exps.bias", value[:, ::2]), ("ffn_up_exps.bias", value[:, 1::2])]
    if name.endswith("_scales"):
        return []
    if name.endswith("_blocks"):
        scales = tensors[hub.replace("_blocks", "_scales")]
        value = _ggml_blocks(value, scales)
    else:
        value = value.swapaxes(1, 2)
    if name.startswith("down"):
        return [("ffn_down_exps.weight", value)]
    return [("ffn_gate_exps.weight", value[:, ::2]), ("ffn_up_exps.weight", value[:, 1::2])]


def _ggml_blocks(blocks: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """[E, rows, blocks, 16] bytes as [E, rows, blocks · 17]: scale, then value j with j + 16."""
    values = np.empty((*blocks.shape[:-1], 32), np.uint8)
    for byte in range(16):
        values[..., 2 * byte] = blocks[..., byte] & 15
        values[..., 2 * byte + 1] = blocks[..., byte] >> 4
    packed = values[..., :16] | values[..., 16:] << 4
    return np.concatenate([scales[..., None], packed], -1).reshape(*blocks.shape[:2], -1)


def write_gguf(
    path: Path,
    metadata: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray | tuple[np.ndarray, gguf.GGMLQuantizationType]],
    kind: gguf.GGMLQuantizationType | None = None,
    **settings: Any,
) -> Path:
    """Write a file, or its parts.

    Args:
        path: the file.
        metadata: `general.architecture` among it.
        tensors: floats, the bytes of MXFP4 blocks, or bytes with the kind that they are of.
        kind: quantizes matrices whose rows can be.
        settings: of the package's writer.
    """
    writer = gguf.GGUFWriter(path, metadata["general.architecture"], **settings)
    for key, value in metadata.items():
        if key != "general.architecture":
            add_value(writer, key, value)
    for name, value in tensors.items():
        if isinstance(value, tuple):
            writer.add_tensor(name, value[0], raw_dtype=value[1])
        elif value.dtype == np.uint8:
            writer.add_tensor(name, np.ascontiguousarray(value), raw_dtype=TYPES.MXFP4)
        elif kind and _in_few_bits(name, value, kind):
            packed = gguf.quantize(np.ascontiguousarray(value, np.float32), kind)
            writer.add_tensor(name, packed, raw_dtype=kind)
        elif str(value.dtype) == "bfloat16":
            raw = np.ascontiguousarray(value).view(np.uint16)
            writer.add_tensor(name, raw.view(np.uint8), raw_dtype=TYPES.BF16)
        else:
            writer.add_tensor(name, np.ascontiguousarray(value))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _in_few_bits(name: str, value: np.ndarray, kind: gguf.GGMLQuantizationType) -> bool:
    matrix = value.ndim > 1 and not name.endswith((".bias", ".ffn_gate_inp.weight"))
    return matrix and value.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0] == 0


def add_value(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    """A value of metadata, of the type that the converter gives it."""
    adders: dict[type, Callable[[str, Any], None]] = {
        bool: writer.add_bool,
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
        list: writer.add_array,
    }
    adders[type(value)](key, value)


def byte_vocabulary(size: int) -> dict[str, Any]:
    """A vocabulary of the bytes, a merge, and as many control tokens as there are ids more."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    bytes_ = [chr(byte) for byte in plain] + [chr(0x100 + index) for index in range(68)]
    tokens = [*bytes_, "ab"]
    tokens += ["<|endoftext|>", *(f"<|{index}|>" for index in range(size - len(tokens) - 1))]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [1] * 257 + [3] * (size - 257),
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.eos_token_id": 257,
    }


def from_hub(
    directory: Path, path: Path, facts: Mapping[str, Any] = MappingProxyType({}), **settings: Any
) -> Path:
    """The file that the converter makes of a hub's directory, with a vocabulary of bytes.

    Some of its metadata are replaced by `facts`, or left out where these have None.
    """
    config = json.loads((directory / "config.json").read_text())
    told = metadata_of(config) | byte_vocabulary(config["vocab_size"]) | facts
    metadata = {key: value for key, value in told.items() if value is not None}
    tensors = tensors_of(config, load_file(directory / "model.safetensors"))
    return write_gguf(path, metadata, tensors, **settings)


def byte_level_vocabulary(path: Path, pre: str) -> dict[str, Any]:
    """The vocabulary of a hub's `tokenizer.json` with merges."""
    spec = json.loads(path.read_text(encoding="utf-8"))
    added = {entry["id"]: entry for entry in spec["added_tokens"]}
    spellings = {token: piece for piece, token in spec["model"]["vocab"].items()}
    spellings |= {token: entry["content"] for token, entry in added.items()}
    tokens = [spellings.get(token, f"[PAD{token}]") for token in range(max(spellings) + 1)]
    types = [1 if token in spellings else 5 for token in range(len(tokens))]
    for token, entry in added.items():
        types[token] = 3 if entry["special"] else 4
    merges = [
        entry if isinstance(entry, str) else " ".join(entry) for entry in spec["model"]["merges"]
    ]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.eos_token_id": min(added),
    }


def sentence_piece_vocabulary(path: Path) -> dict[str, Any]:
    """The vocabulary of a SentencePiece model with scores, and what is added to it beside."""
    schema: Any = sentencepiece_model_pb2
    model = schema.ModelProto()
    model.ParseFromString(path.read_bytes())
    rows = [(piece.piece, piece.score, piece.type) for piece in model.pieces]
    beside = path.with_name("tokenizer.json")
    if beside.exists():
        for entry in json.loads(beside.read_text(encoding="utf-8"))["added_tokens"]:
            kind = rows[entry["id"]][2] if entry["id"] < len(rows) else 4
            spelling = entry["content"]
            if entry["special"]:
                kind = kind if kind == 2 else 3
            else:
                spelling = spelling.replace("\u2581", " ")
            row = (spelling, -1000.0, kind)
            rows[entry["id"] : entry["id"] + 1] = [row]
    tokens, scores, types = map(list, zip(*rows, strict=True))
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.add_space_prefix": model.normalizer_spec.add_dummy_prefix,
        "tokenizer.ggml.bos_token_id": model.trainer_spec.bos_id,
        "tokenizer.ggml.eos_token_id": model.trainer_spec.eos_id,
        "tokenizer.ggml.unknown_token_id": model.trainer_spec.unk_id,
    }
