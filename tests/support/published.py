"""Published checkpoints of tiny models: random tensors under the names that hubs use."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from model.config import ModelConfig
from model.families.registry import read_family
from tools.published_checkpoint import tensor_shapes, write_checkpoint

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_act": "silu",
    "hidden_size": 32,
    "intermediate_size": 48,
    "max_position_embeddings": 512,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "head_dim": 8,
    "rms_norm_eps": 1e-6,
    "vocab_size": 67,
}


def random_tensors(
    config: dict[str, Any] = LLAMA, dtype: str = "bfloat16", seed: int = 0
) -> dict[str, np.ndarray]:
    """Random values for all of them."""
    generator = np.random.default_rng(seed)
    return {
        name: generator.standard_normal(shape, np.float32).astype(jnp.dtype(dtype))
        for name, shape in tensor_shapes(config).items()
    }


def write_published(
    directory: Path,
    tensors: dict[str, np.ndarray],
    config: dict[str, Any] = LLAMA,
    shards: int = 1,
) -> Path:
    """Write a checkpoint in one file, or in so many with an index."""
    sizes = {name: tensor.nbytes for name, tensor in tensors.items()}
    write_checkpoint(directory, config, sizes, tensors.__getitem__, shards)
    return directory


def built_parameters(
    directory: Path, tensors: dict[str, np.ndarray]
) -> tuple[ModelConfig, dict[str, jax.Array]]:
    """The parameters by the family's own builds, with nothing between."""
    family, config = read_family(directory)
    stored = family.weights(config)
    return config, {
        name: part.build(*(jnp.asarray(tensors[tensor]) for tensor in part.tensors))
        for name, part in stored.items()
    }
