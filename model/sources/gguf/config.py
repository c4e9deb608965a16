"""A hub's `config.json` out of a GGUF file's metadata.

What each key means is llama.cpp's: `gguf-py/gguf/constants.py` has their names,
`convert_hf_to_gguf.py` writes them, and `src/llama-model.cpp` says what holds where one is missing.
A key of the architecture that is not read here could change the numbers, and is refused.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from gguf import GGMLQuantizationType

from model.config import CheckpointError
from model.families.keys import ConfigKeys
from model.weights.gguf_file import Gguf, GgufTensor

_SCALINGS = ("none", "linear", "yarn")
# Only these sizes were published with another scale than that of their heads.
_WIDE_GEMMA_LAYERS = {"gemma2": 46, "gemma3": 62}
# Over all experts, or over the chosen ones: the same where shares are made to sum to one.
_SOFTMAX = (1, 3)


def hub_config(source: Gguf) -> dict[str, Any]:
    """The config that the model was published with, as far as it shapes the decoder.

    Raises:
        CheckpointError: an architecture that we don't have, or keys that are missing, unknown or
            of a wrong type.
    """
    kind = source.metadata.get("general.type", "model")
    name = source.metadata.get("general.architecture")
    if kind != "model" or name == "clip":
        what = "mmproj" if name == "clip" else kind
        raise CheckpointError(
            f"{source.path} holds no language model but what goes beside one ({what}); give the "
            "GGUF file of the model itself"
        )
    if not isinstance(name, str) or name not in _ARCHITECTURES:
        raise CheckpointError(
            f"{source.path} has a model of the architecture {name!r}, which is not supported; "
            f"supported in GGUF: {', '.join(_ARCHITECTURES)}"
        )
    if not source.tensors:
        raise CheckpointError(
            f"{source.path} has a vocabulary and no tensors; give the GGUF file of the model itself"
        )
    keys = _Keys(source, name)
    config = _common(keys) | _ARCHITECTURES[name](keys)
    keys.finish()
    return config


class _Keys:
    """The keys of one architecture, without its name before them."""

    def __init__(self, source: Gguf, architecture: str) -> None:
        self._prefix = f"{architecture}."
        own = {key: value for key, value in source.metadata.items() if key.startswith(self._prefix)}
        self._own = own
        self._keys = ConfigKeys(own, str(source.path))
        self.source = source
        self.architecture = architecture

    def number(self, key: str, default: int | None = None) -> int:
        """A whole number above zero, the same for all layers."""
        return self._one(key, int, default)

    def fraction(self, key: str, default: float | None = None) -> float:
        """A number above zero."""
        return _shortest(self._one(key, float, default))

    def require(self, key: str, *allowed: Any) -> None:
        """Accept a key only when absent or with one of these values."""
        self._keys.require(self._prefix + key, allowed)

    def truth(self, key: str, *, default: bool) -> bool:
        """True or false."""
        return self._keys.take(self._prefix + key, bool, default)

    def text(self, key: str, default: str) -> str:
        """A text."""
        return self._keys.take(self._prefix + key, str, default)

    def flags(self, key: str) -> list[bool] | None:
        """One truth for each layer, or None where there is no such list."""
        value = self._own.get(self._prefix + key)
        return self._keys.take(self._prefix + key, list) if isinstance(value, list) else None

    def ignore(self, *keys: str) -> None:
        """Keys that change nothing here."""
        self._keys.ignore(*(self._prefix + key for key in keys))

    def has(self, key: str) -> bool:
        """Whether a key is there."""
        return self._prefix + key in self._keys

    def zero(self, key: str) -> bool:
        """Whether a key is there and zero, which is how some files say that there is none."""
        return self._own.get(self._prefix + key) == 0

    def tensor(self, name: str) -> GgufTensor | None:
        """A tensor of the file, if it is there."""
        return self.source.tensors.get(name)

    def finish(self) -> None:
        """Refuse what has not been used."""
        self._keys.finish()

    def _one(self, key: str, kind: type, default: Any) -> Any:
        whole = self._prefix + key
        value = self._own.get(whole)
        if isinstance(value, list):
            different = list(dict.fromkeys(cast("list[Any]", value)))
            if len(different) != 1:
                raise CheckpointError(
                    f"{self.source.path} has another {whole} for some layers than for others "
                    f"({', '.join(map(str, different[:4]))}), which is not supported; give another "
                    "model"
                )
            number = ConfigKeys({whole: different[0]}, str(self.source.path))
            self.ignore(key)
            return number.positive(whole, kind)
        if default is None:
            return self._keys.positive(whole, kind)
        return self._keys.positive(whole, kind, default)


def _shortest(value: float | np.float32) -> float:
    """The shortest decimal that is the same number in float32, which GGUF keeps numbers in."""
    return float(str(np.float32(value)))


def _common(keys: _Keys) -> dict[str, Any]:
    """What all architectures have."""
    embedding = keys.tensor("token_embd.weight")
    if embedding is None:
        raise CheckpointError(
            f"{keys.source.path} lacks the tensor token_embd.weight; download it again"
        )
    keys.ignore("vocab_size", "tensor_data_layout", "rope.scaling.finetuned")
    keys.require("attention.causal", True)
    heads, embed = keys.number("attention.head_count"), keys.number("embedding_length")
    head_dim = keys.number("attention.key_length", max(embed // heads, 1))
    keys.require("attention.value_length", head_dim)
    context = keys.number("context_length")
    return {
        "hidden_size": embed,
        "num_hidden_layers": keys.number("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": keys.number("attention.head_count_kv", heads),
        "head_dim": head_dim,
        "intermediate_size": keys.number("feed_forward_length"),
        "max_position_embeddings": context,
        "rms_norm_eps": keys.fraction("attention.layer_norm_rms_epsilon"),
        "rope_theta": keys.fraction("rope.freq_base", 10_000.0),
        "partial_rotary_factor": _share(keys.number("rope.dimension_count", head_dim), head_dim),
        "rope_scaling": _scaling(keys, context),
        "vocab_size": embedding.shape[0],
        "tie_word_embeddings": keys.tensor("output.weight") is None,
    }


def _share(width: int, head_dim: int) -> float:
    """The share of a head that is rotated, such that it makes `width` when rounded down."""
    share = width / head_dim
    return share if int(head_dim * share) == width else math.nextafter(share, math.inf)


def _scaling(keys: _Keys, context: int) -> dict[str, Any] | None:
    """The stretched rotary embedding that the metadata tells."""
    # LongRoPE is told by its tensors.
    own = ("longrope",) if keys.architecture == "phi3" else ()
    keys.require("rope.scaling.type", "linear", *_SCALINGS, *own)
    kind = keys.text("rope.scaling.type", "linear")
    if kind == "yarn":
        # Of what else scores may be multiplied by, versions of llama.cpp disagree.
        for name in ("attn_factor", "yarn_attn_factor", "yarn_ext_factor"):
            keys.require(f"rope.scaling.{name}", 1.0)
        original = keys.number("rope.scaling.original_context_length", context)
        return {
            "rope_type": "yarn",
            "factor": keys.fraction("rope.scaling.factor"),
            "original_max_position_embeddings": original,
            "beta_fast": keys.fraction("rope.scaling.yarn_beta_fast", 32.0),
            "beta_slow": keys.fraction("rope.scaling.yarn_beta_slow", 1.0),
        }
    keys.ignore("rope.scaling.original_context_length")
    # The second is the older key; zero is none.
    for key in ("rope.scaling.factor", "rope.scale_linear"):
        if kind == "linear" and keys.has(key) and not keys.zero(key):
            return {"rope_type": "linear", "factor": keys.fraction(key)}
        keys.require(key, 0.0, 1.0)
    return None


def _llama(keys: _Keys) -> dict[str, Any]:
    """Llama and its kin; a model with experts is Mixtral, one with a window Mistral."""
    config: dict[str, Any] = {"hidden_act": "silu"}
    factors = _factors(keys, "rope_freqs.weight")
    if factors is not None:
        # Llama 3's stretching, of whose own numbers nothing is told: one divisor for each pair,
        # which is what LongRoPE has, for texts of any length here.
        config["rope_scaling"] = {
            "rope_type": "longrope",
            "short_factor": factors,
            "long_factor": factors,
            "attention_factor": 1.0,
            "original_max_position_embeddings": keys.number("context_length"),
        }
    for key in ("expert_count", "expert_used_count"):
        if keys.zero(key):
            keys.ignore(key)
    window = _window(keys)
    if keys.has("expert_count") and not keys.zero("expert_count"):
        return config | _experts(keys) | {"architectures": ["MixtralForCausalLM"]} | window
    if window["sliding_window"] is not None:
        return config | {"architectures": ["MistralForCausalLM"]} | window
    return config | {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": keys.tensor("blk.0.attn_q.bias") is not None,
        "mlp_bias": keys.tensor("blk.0.ffn_up.bias") is not None,
    }


def _qwen2(_: _Keys) -> dict[str, Any]:
    return {"architectures": ["Qwen2ForCausalLM"], "hidden_act": "silu"}


def _qwen3(keys: _Keys) -> dict[str, Any]:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "hidden_act": "silu",
        "attention_bias": keys.tensor("blk.0.attn_q.bias") is not None,
    }


def _qwen3_moe(keys: _Keys) -> dict[str, Any]:
    experts = _experts(keys)
    return _qwen3(keys) | {
        "architectures": ["Qwen3MoeForCausalLM"],
        "num_experts": experts["num_local_experts"],
        "num_experts_per_tok": experts["num_experts_per_tok"],
        "moe_intermediate_size": keys.number("expert_feed_forward_length"),
        "norm_topk_prob": keys.truth("expert_weights_norm", default=True),
    }


def _gemma2(keys: _Keys) -> dict[str, Any]:
    return {
        "architectures": ["Gemma2ForCausalLM"],
        **_gemma(keys),
        "attn_logit_softcapping": keys.fraction("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": keys.fraction("final_logit_softcapping", 30.0),
    }


def _gemma3(keys: _Keys) -> dict[str, Any]:
    config = _gemma(keys) | {
        "architectures": ["Gemma3ForCausalLM"],
        "rope_theta": keys.fraction("rope.freq_base", 1_000_000.0),
        "rope_local_base_freq": keys.fraction("rope.freq_base_swa", 10_000.0),
    }
    for name in ("attn_logit_softcapping", "final_logit_softcapping"):
        config[name] = keys.fraction(name) if keys.has(name) else None
    windows = keys.flags("attention.sliding_window_pattern")
    if windows is None:
        return config | {
            "sliding_window_pattern": keys.number("attention.sliding_window_pattern", 6)
        }
    kinds = ["sliding_attention" if has_window else "full_attention" for has_window in windows]
    return config | {"layer_types": kinds}


def _gemma(keys: _Keys) -> dict[str, Any]:
    """Scores are scaled by heads' size; in the largest model of each generation by D / N."""
    heads, embed = keys.number("attention.head_count"), keys.number("embedding_length")
    wide = keys.number("block_count") == _WIDE_GEMMA_LAYERS[keys.architecture]
    share = embed // heads
    return {
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": share if wide else keys.number("attention.key_length", share),
        **_window(keys),
    }


def _phi3(keys: _Keys) -> dict[str, Any]:
    context = keys.number("context_length")
    original = keys.number("rope.scaling.original_context_length", context)
    config = {
        "architectures": ["Phi3ForCausalLM"],
        "hidden_act": "silu",
        "original_max_position_embeddings": original,
        **_window(keys),
    }
    short, long = (_factors(keys, f"rope_factors_{name}.weight") for name in ("short", "long"))
    if short is None or long is None:
        keys.require("rope.scaling.attn_factor", 1.0)
        return config
    scaling: dict[str, Any] = {"rope_type": "longrope", "short_factor": short, "long_factor": long}
    told = keys.fraction("rope.scaling.attn_factor", 1.0)
    if keys.has("rope.scaling.attn_factor") and told != _shortest(_long_scale(context, original)):
        scaling["attention_factor"] = told
    return config | {"rope_scaling": scaling}


def _long_scale(context: int, original: int) -> float:
    """The attention factor that LongRoPE has where none is published, as the converter has it."""
    stretch = context / original
    return math.sqrt(1 + math.log(stretch) / math.log(original)) if stretch > 1 else 1.0


def _gpt_oss(keys: _Keys) -> dict[str, Any]:
    keys.require("attention.sliding_window_pattern", 2)
    scaling = _scaling(keys, keys.number("context_length"))
    # That the ramp of all published ones is not rounded has no key.
    exact = {"truncate": False} if scaling and scaling["rope_type"] == "yarn" else {}
    return {
        "architectures": ["GptOssForCausalLM"],
        "hidden_act": "silu",
        "attention_bias": keys.tensor("blk.0.attn_q.bias") is not None,
        "intermediate_size": keys.number("expert_feed_forward_length"),
        "rope_scaling": {**(scaling or {"rope_type": "default"}), **exact},
        **_experts(keys),
        **_window(keys),
    }


def _olmo2(keys: _Keys) -> dict[str, Any]:
    return {
        "architectures": ["Olmo2ForCausalLM"],
        "hidden_act": "silu",
        "attention_bias": keys.tensor("blk.0.attn_q.bias") is not None,
    }


def _experts(keys: _Keys) -> dict[str, Any]:
    keys.require("expert_gating_func", *_SOFTMAX)
    keys.require("expert_weights_scale", 1.0, 0.0)
    keys.require("expert_shared_count", 0)
    return {
        "num_local_experts": keys.number("expert_count"),
        "num_experts_per_tok": keys.number("expert_used_count"),
    }


def _window(keys: _Keys) -> dict[str, Any]:
    """The window; zero is none."""
    if keys.zero("attention.sliding_window") or not keys.has("attention.sliding_window"):
        keys.ignore("attention.sliding_window")
        return {"sliding_window": None}
    return {"sliding_window": keys.number("attention.sliding_window")}


def _factors(keys: _Keys, name: str) -> list[float] | None:
    """The divisors of the rotary embedding's frequencies that a tensor holds, if it is there."""
    tensor = keys.tensor(name)
    if tensor is None:
        return None
    if tensor.kind != GGMLQuantizationType.F32 or len(tensor.shape) != 1:
        raise CheckpointError(
            f"{tensor.file} has {name} as {tensor.kind.name} of shape {tensor.shape}, and it must "
            "be a row of F32; download it again"
        )
    values = np.fromfile(tensor.file, "<f4", tensor.shape[0], offset=tensor.begin)
    return [_shortest(value) for value in values]


_ARCHITECTURES: Mapping[str, Callable[[_Keys], dict[str, Any]]] = {
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "gpt-oss": _gpt_oss,
    "llama": _llama,
    "olmo2": _olmo2,
    "phi3": _phi3,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "qwen3moe": _qwen3_moe,
}
