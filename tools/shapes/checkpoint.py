"""The small model that sees as a checkpoint directory, in the layout of published ones."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from model.config import ModelConfig
from model.families.qwen3_vl import (
    qwen3_vl_text_config,
    qwen3_vl_text_weights,
    qwen3_vl_vision_config,
    qwen3_vl_weights,
)
from model.families.stored import Stored
from model.parameters import Arrays
from model.vision.config import Qwen3VLVisionConfig
from tools.published_checkpoint import seeing_shapes

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
BEGIN, END, IMAGE = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"
CONTROLS = (END_OF_TEXT, TURN_START, TURN_END, BEGIN, END, IMAGE)
TEMPLATE = (
    "{%- macro written(content) -%}\n"
    "{%- if content is string -%}{{- content -}}\n"
    "{%- else -%}{%- for part in content -%}\n"
    "{%- if part.type == 'image' -%}{{- '" + BEGIN + IMAGE + END + "' -}}\n"
    "{%- else -%}{{- part.text -}}{%- endif -%}\n"
    "{%- endfor -%}{%- endif -%}\n"
    "{%- endmacro -%}\n"
    "{%- for message in messages -%}\n"
    "{{- '<|im_start|>' + message.role + '\\n' + written(message.content) + '<|im_end|>\\n' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}\n"
)
# Pictures are brought to so many pixels, 9 to 16 tokens.
MIN_PIXELS, MAX_PIXELS = 96 * 96, 128 * 128
PROCESSOR = {
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "Qwen2VLImageProcessorFast",
    "image_std": [0.5, 0.5, 0.5],
    "merge_size": 2,
    "patch_size": 16,
    "size": {"longest_edge": MAX_PIXELS, "shortest_edge": MIN_PIXELS},
    "temporal_patch_size": 2,
}
TEXT: dict[str, Any] = {
    "attention_bias": False,
    "head_dim": 32,
    "hidden_act": "silu",
    "hidden_size": 128,
    "intermediate_size": 256,
    "max_position_embeddings": 512,
    "model_type": "qwen3_vl_text",
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {
        "mrope_interleaved": True,
        "mrope_section": [6, 5, 5],
        "rope_theta": 10_000.0,
        "rope_type": "default",
    },
}
VISION: dict[str, Any] = {
    "deepstack_visual_indexes": [0],
    "depth": 2,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_size": 96,
    "in_channels": 3,
    "intermediate_size": 192,
    "model_type": "qwen3_vl_vision",
    "num_heads": 4,
    "num_position_embeddings": 64,
    "out_hidden_size": 128,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
_LARGEST_VOCABULARY = 640


def write_texts(directory: Path, texts: Iterator[str]) -> None:
    """Write all but the weights: a byte-level vocabulary of the words of `texts`, and the shape."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_LARGEST_VOCABULARY - len(CONTROLS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(each, special=True) for each in CONTROLS])
    tokenizer.save(str(directory / "tokenizer.json"))
    ids = {each: tokenizer.token_to_id(each) for each in CONTROLS}
    size = tokenizer.get_vocab_size()
    ends = {"eos_token_id": [ids[TURN_END], ids[END_OF_TEXT]], "pad_token_id": ids[END_OF_TEXT]}
    files = {
        "config.json": {
            "architectures": ["Qwen3VLForConditionalGeneration"],
            "dtype": "bfloat16",
            "image_token_id": ids[IMAGE],
            "model_type": "qwen3_vl",
            "text_config": {**TEXT, "vocab_size": size},
            "tie_word_embeddings": True,
            "vision_config": VISION,
            "vision_end_token_id": ids[END],
            "vision_start_token_id": ids[BEGIN],
        },
        "generation_config.json": ends,
        "preprocessor_config.json": PROCESSOR,
        "tokenizer_config.json": {"eos_token": TURN_END, "pad_token": END_OF_TEXT},
    }
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content, indent=2) + "\n")
    (directory / "chat_template.jinja").write_text(TEMPLATE)


def shapes_of(directory: Path) -> tuple[ModelConfig, Qwen3VLVisionConfig]:
    """The decoder's and the tower's shape."""
    config = json.loads((directory / "config.json").read_text())
    return qwen3_vl_text_config(config, "config.json"), qwen3_vl_vision_config(
        config, "config.json"
    )


def write_weights(directory: Path, decoder: Arrays, tower: Arrays) -> None:
    """Write `model.safetensors` in bfloat16."""
    text, vision = shapes_of(directory)
    shapes = seeing_shapes(json.loads((directory / "config.json").read_text()))
    tensors: dict[str, np.ndarray] = {}
    for weights, parameters in (
        (qwen3_vl_text_weights(text), decoder),
        (qwen3_vl_weights(vision), tower),
    ):
        for name, value in parameters.items():
            tensors |= _published(weights[name], value, shapes)
    save_file(dict(sorted(tensors.items())), directory / "model.safetensors", {"format": "pt"})


def _published(
    stored: Stored, value: jax.Array, shapes: dict[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """The tensors that a parameter is made of.

    Builds only rearrange: what transposes one undoes it.
    """
    given = [jax.ShapeDtypeStruct(shapes[name], jnp.bfloat16) for name in stored.tensors]
    found = jax.linear_transpose(stored.build, *given)(value.astype(jnp.bfloat16))
    return dict(zip(stored.tensors, map(np.asarray, found), strict=True))
