"""Whisper as it is published: shape, special tokens, how sound is prepared, names of tensors.

Keys, defaults and meanings follow the configurations that openai/whisper-* are published with.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from model.config import CheckpointError
from model.families.keys import ConfigKeys
from model.families.stored import FuseHeads, Shape, Stored, keep
from model.families.vision_names import SplitHeads, blocks, layer_norm, mlp
from model.speech.config import HOP, SAMPLE_RATE, SpeechConfig, SpeechTokens

ARCHITECTURE = "WhisperForConditionalGeneration"
# The head, which is the tokens' vectors.
UNUSED = (r"proj_out\.weight",)

# What matters in training, to other heads, or to who generates otherwise.
_IDLE = (
    *("activation_dropout", "dropout", "encoder_layerdrop", "decoder_layerdrop", "init_std"),
    *("apply_spec_augment", "mask_time_prob", "mask_time_length", "mask_time_min_masks"),
    *("mask_feature_prob", "mask_feature_length", "mask_feature_min_masks"),
    *("classifier_proj_size", "use_weighted_layer_sum", "median_filter_width"),
    *("num_hidden_layers", "forced_decoder_ids"),
)
_LANGUAGE = re.compile(r"<\|([a-z]+)\|>")


def whisper_config(config: Mapping[str, Any], source: str) -> SpeechConfig:
    """The shape that a `config.json` says.

    Raises:
        CheckpointError: it says what we don't implement.
    """
    keys = ConfigKeys(config, source)
    keys.require("activation_function", ["gelu"])
    keys.require("tie_word_embeddings", [True])
    keys.require("scale_embedding", [False])
    keys.ignore(*_IDLE)
    shape = SpeechConfig(
        vocab_size=keys.positive("vocab_size", int),
        embed_dim=keys.positive("d_model", int),
        encoder_layers=keys.positive("encoder_layers", int),
        encoder_heads=keys.positive("encoder_attention_heads", int),
        encoder_ffn=keys.positive("encoder_ffn_dim", int),
        decoder_layers=keys.positive("decoder_layers", int),
        decoder_heads=keys.positive("decoder_attention_heads", int),
        decoder_ffn=keys.positive("decoder_ffn_dim", int),
        mels=keys.positive("num_mel_bins", int, 80),
        moments=keys.positive("max_source_positions", int, 1500),
        positions=keys.positive("max_target_positions", int, 448),
    )
    keys.finish()
    if shape.positions < 8:
        raise CheckpointError(f"{source} has max_target_positions below 8, which leaves no text")
    return shape


def check_preparation(preparation: Mapping[str, Any], source: str, config: SpeechConfig) -> None:
    """Hold a `preprocessor_config.json` to the one way in which sound is prepared.

    Raises:
        CheckpointError: it asks for another.
    """
    keys = ConfigKeys(preparation, source)
    for key, value in (
        ("sampling_rate", SAMPLE_RATE),
        ("hop_length", HOP),
        ("n_fft", 400),
        ("feature_size", config.mels),
        ("n_samples", config.window),
        ("padding_value", 0.0),
        ("dither", 0.0),
        ("do_normalize", False),
    ):
        keys.require(key, [value, None])


def whisper_tokens(
    generation: Mapping[str, Any], source: str, config: SpeechConfig
) -> SpeechTokens:
    """The special tokens that a `generation_config.json` names.

    Raises:
        CheckpointError: it lacks some, or has none that can be.
    """
    keys = ConfigKeys(generation, source)
    several = keys.take("is_multilingual", bool, keys.has("lang_to_id"))
    spoken = keys.take("lang_to_id", dict) if several else {}
    tasks = keys.take("task_to_id", dict) if several else {}
    if several and (not spoken or "transcribe" not in tasks):
        raise CheckpointError(
            f"{source} says that the model is multilingual, and not its languages and the task "
            "transcribe; give the file that belongs to the checkpoint"
        )
    if odd := [name for name in spoken if not _LANGUAGE.fullmatch(name)]:
        raise CheckpointError(f"{source} has {odd[0]!r} in lang_to_id; it must be like '<|en|>'")
    start, end, no_timestamps = (
        keys.take(name, int)
        for name in ("decoder_start_token_id", "eos_token_id", "no_timestamps_token_id")
    )
    never, at_first = (
        keys.take(name, list, []) for name in ("suppress_tokens", "begin_suppress_tokens")
    )
    named = (start, end, no_timestamps, *spoken.values(), *tasks.values(), *never, *at_first)
    for token in named:
        if type(token) is not int or not 0 <= token < config.vocab_size:
            raise CheckpointError(
                f"{source} names the token {token!r}; tokens are below {config.vocab_size}: give "
                "the file that belongs to the checkpoint"
            )
    return SpeechTokens(
        start=start,
        end=end,
        no_timestamps=no_timestamps,
        transcribe=tasks.get("transcribe"),
        languages={name[2:-2]: token for name, token in spoken.items()},
        suppressed=frozenset(never),
        suppressed_first=frozenset(at_first),
    )


def whisper_weights(config: SpeechConfig) -> Mapping[str, Stored]:
    """Where a checkpoint keeps each parameter."""
    encoder_block = {
        **_self_attention(config.embed_dim, config.encoder_heads),
        **layer_norm("mlp_norm", "final_layer_norm"),
        **mlp("mlp", "fc1", "fc2"),
    }
    decoder_block = {
        **_self_attention(config.embed_dim, config.decoder_heads),
        **_cross_attention(config.embed_dim, config.decoder_heads),
        **layer_norm("mlp_norm", "final_layer_norm"),
        **mlp("mlp", "fc1", "fc2"),
    }
    encoder = {
        "first.weight": Stored(("conv1.weight",), time_first),
        "first.bias": Stored(("conv1.bias",), keep),
        "second.weight": Stored(("conv2.weight",), time_first),
        "second.bias": Stored(("conv2.bias",), keep),
        "positions": Stored(("embed_positions.weight",), keep),
        **blocks(config.encoder_layers, "layers", encoder_block),
        **layer_norm("norm", "layer_norm"),
    }
    decoder = {
        "tokens": Stored(("embed_tokens.weight",), keep),
        "positions": Stored(("embed_positions.weight",), keep),
        **blocks(config.decoder_layers, "layers", decoder_block),
        **layer_norm("norm", "layer_norm"),
    }
    return {
        f"{part}.{name}": stored.under(f"model.{part}.")
        for part, each in (("encoder", encoder), ("decoder", decoder))
        for name, stored in each.items()
    }


def _self_attention(embed: int, heads: int) -> dict[str, Stored]:
    name, width = "self_attn", embed // heads
    weights = tuple(f"{name}.{part}_proj.weight" for part in "qkv")
    biases = (f"{name}.q_proj.bias", f"{name}.v_proj.bias")
    return {
        **layer_norm("attention_norm", "self_attn_layer_norm"),
        "attention.qkv": Stored(weights, FuseHeads(heads, 1, width)),
        "attention.qkv_bias": Stored(biases, KeysWithoutBias(heads, width)),
        "attention.out": Stored((f"{name}.out_proj.weight",), SplitHeads(heads, width)),
        "attention.out_bias": Stored((f"{name}.out_proj.bias",), keep),
    }


def _cross_attention(embed: int, heads: int) -> dict[str, Stored]:
    name, width = "encoder_attn", embed // heads
    both = tuple(f"{name}.{part}_proj.weight" for part in "kv")
    return {
        **layer_norm("cross_norm", "encoder_attn_layer_norm"),
        "cross.q": Stored((f"{name}.q_proj.weight",), SplitQueries(heads, width)),
        "cross.q_bias": Stored((f"{name}.q_proj.bias",), Shape((heads, width))),
        "cross.kv": Stored(both, FuseHeads(heads, 1, width)),
        "cross.kv_bias": Stored((f"{name}.v_proj.bias",), KeysWithoutBias(heads, width)),
        "cross.out": Stored((f"{name}.out_proj.weight",), SplitHeads(heads, width)),
        "cross.out_bias": Stored((f"{name}.out_proj.bias",), keep),
    }


def time_first(kernel: Float[Array, "D I taps"]) -> Float[Array, "taps I D"]:
    """A convolution's kernel with its axes turned around."""
    return kernel.transpose(2, 1, 0)


@dataclass(frozen=True, slots=True)
class SplitQueries:
    """A projection [K·H, D] as [D, K, H].

    Attributes:
        num_heads: K.
        head_dim: H.
    """

    num_heads: int
    head_dim: int

    def __call__(self, weight: Float[Array, "out D"]) -> Float[Array, "D K H"]:
        """Split; see the class."""
        return weight.T.reshape(-1, self.num_heads, self.head_dim)


@dataclass(frozen=True, slots=True)
class KeysWithoutBias:
    """Biases of queries, if any, and values as [K, 3 or 2, H], with zeros for those of keys.

    Attributes:
        num_heads: K.
        head_dim: H.
    """

    num_heads: int
    head_dim: int

    def __call__(self, *biases: Float[Array, " out"]) -> Float[Array, "K parts H"]:
        """Put together; see the class."""
        *queries, values = biases
        parts: list[jax.Array] = [*queries, jnp.zeros_like(values), values]
        return jnp.stack([part.reshape(self.num_heads, self.head_dim) for part in parts], axis=1)
