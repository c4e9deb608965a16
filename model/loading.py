"""A checkpoint directory as a whole: shape, weights, tokenizer, end-of-turn ids.

config.json             shape, as its family publishes it
generation_config.json  end-of-turn ids
tokenizer.model         SentencePiece
chat_template.jinja     read by whoever renders conversations
weights/                Orbax, as we write it; or
*.safetensors           as published
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from tqdm import tqdm

from model.config import CheckpointError, ModelConfig, read_json
from model.families.registry import read_family
from model.parameters import Parameters
from model.tokenizer import SentencePieceTokenizer, Tokenizer
from model.weights.formats import open_weights

DTYPES = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A decoder ready to run.

    Attributes:
        config: its shape.
        parameters: its weights on the mesh.
        mesh: the devices.
        dtype: of weights and cache.
    """

    config: ModelConfig
    parameters: Parameters
    mesh: Mesh
    dtype: jnp.dtype


def load_model(directory: Path, mesh: Mesh, dtype: str = "auto") -> LoadedModel:
    """Load the decoder of a checkpoint directory.

    Raises:
        CheckpointError: the directory is not a checkpoint that we can serve.
    """
    if not directory.is_dir():
        raise CheckpointError(f"{directory} is not a directory; give the directory of a checkpoint")
    family, config = read_family(directory)
    chosen = resolve_dtype(dtype)
    weights = open_weights(directory, family, config)
    parameters: Parameters = {}
    with tqdm(
        total=sum(weights.sizes.values()),
        desc="loading",
        unit="B",
        unit_scale=True,
        leave=False,
        disable=None,
    ) as bar:
        for name, value in weights.load(list(weights.sizes), chosen, mesh):
            parameters[name] = value
            bar.update(weights.sizes[name])
    return LoadedModel(config, parameters, mesh, chosen)


def load_tokenizer(directory: Path, config: ModelConfig) -> Tokenizer:
    """The tokenizer of a checkpoint directory.

    Raises:
        TokenizerError: the file is missing or unreadable.
        CheckpointError: it has more ids than the model.
    """
    tokenizer = SentencePieceTokenizer(directory / "tokenizer.model")
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"{directory / 'tokenizer.model'} has {tokenizer.vocab_size} ids and the model only "
            f"{config.vocab_size}; give the tokenizer that belongs to the checkpoint"
        )
    return tokenizer


def load_end_ids(directory: Path, config: ModelConfig) -> frozenset[int]:
    """Ids that end a turn, from `generation_config.json`.

    Raises:
        CheckpointError: the file is missing, or names no ids or ids out of range.
    """
    path = directory / "generation_config.json"
    value: Any = read_json(path).get("eos_token_id")
    ids = cast("list[Any]", value if isinstance(value, list) else [value])
    if not ids or not all(type(token) is int and 0 <= token < config.vocab_size for token in ids):
        raise CheckpointError(
            f"{path} has eos_token_id: {value!r}; it must be an id, or a list of ids, below "
            f"{config.vocab_size}"
        )
    return frozenset(ids)


def resolve_dtype(name: str) -> jnp.dtype:
    """The dtype that `name` stands for: `auto` is float32 on CPU, else bfloat16.

    Raises:
        CheckpointError: an unknown name.
    """
    if name not in DTYPES:
        raise CheckpointError(f"dtype is {name!r}; it must be one of {', '.join(DTYPES)}")
    if name == "auto":
        name = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return jnp.dtype(name)
