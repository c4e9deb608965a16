"""Which architectures we have, by the name a `config.json` gives."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from model.config import CheckpointError, ModelConfig, read_json
from model.families.gemma import gemma2_config, gemma3_config, gemma_weights
from model.families.gemma3_vision import TOWER as GEMMA_TOWER
from model.families.gemma3_vision import (
    gemma3_vision_config,
    gemma3_vision_text_config,
    gemma3_vision_text_weights,
    gemma3_vision_weights,
)
from model.families.gpt_oss import gpt_oss_config, gpt_oss_weights
from model.families.llama import llama_config, mistral_config
from model.families.mixtral import mixtral_config, mixtral_weights
from model.families.names import common_weights
from model.families.olmo import olmo2_config, olmo2_weights
from model.families.phi import phi3_config, phi3_weights
from model.families.qwen import (
    qwen2_config,
    qwen3_config,
    qwen3_moe_config,
    qwen3_moe_weights,
)
from model.families.qwen3_vl import TOWER as QWEN_TOWER
from model.families.qwen3_vl import (
    qwen3_vl_text_config,
    qwen3_vl_text_weights,
    qwen3_vl_vision_config,
    qwen3_vl_weights,
)
from model.families.stored import Stored
from model.foreign import check_directory
from model.gguf_pointer import config_source
from model.vision.config import AnyVisionConfig
from model.weights.quantized.schemes import read_scheme


class Vision(NamedTuple):
    """How the vision tower of an architecture is published, in the same files.

    Attributes:
        config: the tower's shape, as `Family.config` has the decoder's.
        weights: where each of its parameters is in the checkpoint.
        tensors: a regular expression for the names of all of its tensors, and no others.
    """

    config: Callable[[Mapping[str, Any], str], AnyVisionConfig]
    weights: Callable[[AnyVisionConfig], Mapping[str, Stored]]
    tensors: str


_UNUSED = (r"lm_head\.weight", r".*\.rotary_emb\.inv_freq")


class Family(NamedTuple):
    """How one architecture is published.

    Attributes:
        models: what people know it by.
        config: the decoder's shape from a `config.json` and the name to call it by in errors.
        weights: where each parameter of such a decoder is in the checkpoint.
        unused: regular expressions for the names of tensors that a checkpoint may hold besides,
            without an effect: copies, and what follows from the config.
        vision: its tower, if it sees.
    """

    models: str
    config: Callable[[Mapping[str, Any], str], ModelConfig]
    weights: Callable[[ModelConfig], Mapping[str, Stored]]
    unused: tuple[str, ...] = _UNUSED
    vision: Vision | None = None


FAMILIES: Mapping[str, Family] = {
    "Gemma2ForCausalLM": Family("Gemma 2", gemma2_config, gemma_weights),
    "Gemma3ForCausalLM": Family("Gemma 3 (text)", gemma3_config, gemma_weights),
    "Gemma3ForConditionalGeneration": Family(
        "Gemma 3",
        gemma3_vision_text_config,
        gemma3_vision_text_weights,
        (*_UNUSED, r"language_model\.lm_head\.weight", GEMMA_TOWER),
        Vision(gemma3_vision_config, gemma3_vision_weights, GEMMA_TOWER),
    ),
    "GptOssForCausalLM": Family("gpt-oss", gpt_oss_config, gpt_oss_weights),
    "LlamaForCausalLM": Family("Llama 2, 3, 3.1, 3.2, 3.3", llama_config, common_weights),
    "MistralForCausalLM": Family("Mistral 7B", mistral_config, common_weights),
    "MixtralForCausalLM": Family("Mixtral", mixtral_config, mixtral_weights),
    "Olmo2ForCausalLM": Family("OLMo 2", olmo2_config, olmo2_weights),
    "Phi3ForCausalLM": Family("Phi-3, Phi-4-mini", phi3_config, phi3_weights),
    "Qwen2ForCausalLM": Family("Qwen2, Qwen2.5", qwen2_config, common_weights),
    "Qwen3ForCausalLM": Family("Qwen3", qwen3_config, common_weights),
    "Qwen3MoeForCausalLM": Family("Qwen3-MoE", qwen3_moe_config, qwen3_moe_weights),
    "Qwen3VLForConditionalGeneration": Family(
        "Qwen3-VL",
        qwen3_vl_text_config,
        qwen3_vl_text_weights,
        (*_UNUSED, QWEN_TOWER),
        Vision(qwen3_vl_vision_config, qwen3_vl_weights, QWEN_TOWER),
    ),
}


# What architectures do that write no text, by how the reference library ends their names.
_OTHER_KINDS = (
    (r".*(Classification|RewardModel|QuestionAnswering)", "a classifier, which writes no text"),
    (r".*(ForMaskedLM|ForPreTraining)", "an encoder, which writes no text"),
    (r".*Model", "a model without the head that writes text, as embedding models are"),
)


def read_family(directory: Path) -> tuple[Family, ModelConfig]:
    """The family and shape that a checkpoint directory's `config.json` names.

    Raises:
        CheckpointError: the directory is no checkpoint, or its architecture or a setting is one
            that we don't have.
    """
    check_directory(directory)
    config = read_json(directory / "config.json")
    path = config_source(directory)
    names = config.get("architectures")
    # As text, for a list or an object cannot be looked up.
    name = str(names[0]) if isinstance(names, list) and len(names) == 1 else None
    if name is None or name not in FAMILIES:
        raise CheckpointError(
            f"{path} names the architecture {names!r}{_kind(config, name)}; give a model of one "
            f"that is supported: {', '.join(FAMILIES)}"
        )
    family = FAMILIES[name]
    _, rest = read_scheme(directory)
    return family, family.config(rest, str(path))


def _kind(config: Mapping[str, Any], name: str | None) -> str:
    """What a model of an architecture that is not ours is, where its config tells it."""
    if name is None:
        return f" where one belongs (its model_type is {config.get('model_type')!r})"
    if config.get("is_encoder_decoder") is True:
        return ", an encoder and a decoder, as for translation or speech"
    if any(f"{sense}_config" in config for sense in ("vision", "audio")):
        return ", a model of more than text"
    kinds = (f", {kind}" for pattern, kind in _OTHER_KINDS if re.fullmatch(pattern, name))
    return next(kinds, "")


def read_config(directory: Path) -> ModelConfig:
    """The decoder's shape alone; see `read_family`."""
    return read_family(directory)[1]
