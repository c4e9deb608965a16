"""The bundled model as a checkpoint directory that can be served."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from model.parameters import Arrays
from model.tokenizer.sentence_piece import SentencePieceTokenizer
from model.weights.orbax import save_weights
from tools.bundled_data.chat_format import TEMPLATE
from tools.bundled_data.vocabulary import END_OF_TEXT, PAD, TURN_END
from tools.bundled_settings import ROPE_THETA, Settings


def export(settings: Settings, parameters: Arrays, tokenizer: Path, directory: Path) -> None:
    """Write bfloat16 weights and all that is served beside them to `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    controls = SentencePieceTokenizer(tokenizer).controls
    pad, ends = controls[PAD], [controls[TURN_END], controls[END_OF_TEXT]]
    generation = {"eos_token_id": ends, "pad_token_id": pad}
    for name, content in (
        ("config.json", _description(settings) | {"eos_token_id": ends[0], "pad_token_id": pad}),
        ("generation_config.json", generation),
    ):
        (directory / name).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    for source, name in ((tokenizer, "tokenizer.model"), (TEMPLATE, "chat_template.jinja")):
        if source.resolve() != (directory / name).resolve():
            shutil.copyfile(source, directory / name)
    save_weights(directory, jax.tree.map(lambda x: x.astype(jnp.bfloat16), parameters))


def _description(settings: Settings) -> dict[str, Any]:
    config = settings.model
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "hidden_size": config.embed_dim,
        "intermediate_size": config.ffn_dim,
        "max_position_embeddings": config.context_length,
        "model_type": "qwen3",
        "num_attention_heads": config.num_heads,
        "num_hidden_layers": config.num_layers,
        "num_key_value_heads": config.num_kv_heads,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": ROPE_THETA,
        "tie_word_embeddings": config.tied_head,
        "torch_dtype": "bfloat16",
        "vocab_size": config.vocab_size,
    }
