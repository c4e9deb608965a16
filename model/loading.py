"""A checkpoint directory as a whole: shape, weights, tokenizer, end-of-turn ids.

config.json             shape, as its family publishes it
generation_config.json  end-of-turn ids, and the sampling that it recommends
tokenizer.json          Hugging Face; or
tokenizer.model         SentencePiece
tokenizer_config.json   names and flags of the control tokens
chat_template.jinja     read by whoever renders conversations, and other forms of it
weights/                Orbax, as we write it; or
*.safetensors           as published
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from tqdm import tqdm

from model.backends import Backend, backend_on
from model.cache import INT8
from model.config import AdapterShape, CheckpointError, ModelConfig, read_json
from model.families.registry import read_family
from model.float8 import FP8
from model.generation_config import generation_config_of, read_generation_config
from model.layout import laid_out
from model.memory_layout import either_order, parameter_places, put
from model.mesh import choose_mesh, make_mesh, parse_mesh
from model.parameters import Parameters
from model.peft import OpenedAdapters
from model.small import WEIGHT_FORMS, form_on
from model.tokenizer import Tokenizer, TokenizerError
from model.tokenizer.hugging_face import HuggingFaceTokenizer
from model.tokenizer.sentence_piece import SentencePieceTokenizer
from model.weights.formats import Weights, open_weights

DTYPES = ("auto", "float32", "bfloat16")
# Of the cache's pages; None for that of the weights.
CACHE_DTYPES = {"auto": None, "bfloat16": jnp.dtype("bfloat16"), "fp8": FP8, "int8": INT8}


@dataclass(frozen=True, slots=True)
class LoadedAdapters:
    """Adapters ready to run beside a decoder.

    Attributes:
        names: theirs; an adapter's number is its place here.
        shape: of what holds them.
        parameters: their weights on the mesh.
    """

    names: tuple[str, ...]
    shape: AdapterShape
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A decoder ready to run.

    Attributes:
        config: its shape, as the mesh holds it.
        parameters: its weights on the mesh.
        mesh: the devices.
        dtype: of weights, but for matrices in a form of their own.
        pages: dtype of the cache, if another.
        adapters: of which each row may have one, if there are any; `config` and `parameters` know
            nothing of them.
    """

    config: ModelConfig
    parameters: Parameters
    mesh: Mesh
    dtype: jnp.dtype
    pages: jnp.dtype | None = None
    adapters: LoadedAdapters | None = None

    @property
    def page_dtype(self) -> jnp.dtype:
        """Of the cache's pages."""
        return self.pages or self.dtype

    @property
    def backend(self) -> Backend:
        """The attention backend to run it with."""
        return backend_on(self.mesh, self.config, self.page_dtype)


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """A decoder whose checkpoint has been found to fit it; its weights have not been read.

    Attributes:
        config: its shape, as the mesh holds it.
        mesh: the devices.
        dtype: that weights will have.
        pages: dtype of the cache, if another.
        adapters: of which each row may have one, if there are any.
    """

    config: ModelConfig
    mesh: Mesh
    dtype: jnp.dtype
    _weights: Weights
    pages: jnp.dtype | None = None
    adapters: OpenedAdapters | None = None

    @property
    def page_dtype(self) -> jnp.dtype:
        """Of the cache's pages."""
        return self.pages or self.dtype

    @property
    def backend(self) -> Backend:
        """The attention backend to run it with."""
        return backend_on(self.mesh, self.config, self.page_dtype)

    def load(self) -> LoadedModel:
        """Read the weights.

        Raises:
            CheckpointError: they cannot be read.
        """
        places = parameter_places(self.config, self.dtype, self.mesh, self.page_dtype)
        weights = self._weights
        parameters: Parameters = {}
        with tqdm(
            total=sum(weights.sizes.values()),
            desc="loading",
            unit="B",
            unit_scale=True,
            leave=False,
            disable=None,
        ) as bar:
            for name, value in weights.load(
                list(weights.sizes), self.dtype, self.mesh, self.config
            ):
                parameters[name] = put(value, places[name])
                bar.update(weights.sizes[name])
        adapters = self.adapters and LoadedAdapters(
            self.adapters.names,
            self.adapters.shape,
            self.adapters.load(self.dtype, self.mesh, self.config),
        )
        return LoadedModel(self.config, parameters, self.mesh, self.dtype, self.pages, adapters)


def load_model(
    directory: Path, mesh: Mesh | str, dtype: str = "auto", weights: str = "full"
) -> LoadedModel:
    """Load the decoder of a checkpoint directory; see `open_model`."""
    return open_model(directory, mesh, dtype, weights).load()


def open_model(
    directory: Path,
    mesh: Mesh | str,
    dtype: str = "auto",
    weights: str = "full",
    cache_dtype: str = "auto",
    adapters: Mapping[str, Path] | None = None,
) -> OpenedModel:
    """Open the decoder of a checkpoint directory.

    Args:
        directory: the checkpoint.
        mesh: the devices; or a mesh in words (`mesh.parse_mesh`), of all devices if empty.
        dtype: one of `DTYPES`.
        weights: how the layers' matrices are held, one of `WEIGHT_FORMS`.
        cache_dtype: of the cache, one of `CACHE_DTYPES`.
        adapters: directories of adapters by name.

    Raises:
        CheckpointError: the directory is not a checkpoint that we can serve, or an adapter's is
            not one of this model that we can.
        MeshError: the decoder cannot be divided as the mesh asks.
    """
    family, config = read_family(directory)
    if isinstance(mesh, str):
        wanted = parse_mesh(mesh) if mesh else None
        mesh = make_mesh(*choose_mesh(config, jax.device_count(), wanted))
    chosen = resolve_dtype(dtype)
    form = resolve_form(weights, chosen, mesh)
    found = open_weights(directory, family, config)
    opened = OpenedAdapters(adapters, directory, family, config) if adapters else None
    turned = found.turned and not form and either_order(chosen, mesh)
    held = replace(laid_out(config, mesh, form), turned=turned)
    return OpenedModel(held, mesh, chosen, found, CACHE_DTYPES[cache_dtype], opened)


def resolve_form(weights: str, dtype: jnp.dtype, mesh: Mesh) -> str:
    """`ModelConfig.weight_form` of what a person chose.

    Raises:
        CheckpointError: there is no such form.
    """
    if weights not in WEIGHT_FORMS:
        raise CheckpointError(
            f"weights is {weights!r}; it must be one of {', '.join(WEIGHT_FORMS)}"
        )
    return form_on(mesh.devices.flat[0].platform, weights, dtype)


def load_tokenizer(directory: Path, config: ModelConfig) -> Tokenizer:
    """The tokenizer of a checkpoint directory.

    `tokenizer.json` where there is one, else `tokenizer.model`: only the former knows of tokens
    that were added after the vocabulary was made.

    Raises:
        TokenizerError: no such file, or one that cannot be used.
        CheckpointError: it has more ids than the model.
    """
    return tokenizer_of(directory, config.vocab_size)


def tokenizer_of(directory: Path, vocab_size: int) -> Tokenizer:
    """The same for a model of any kind with so many ids."""
    path = directory / "tokenizer.json"
    if path.is_file():
        tokenizer: Tokenizer = HuggingFaceTokenizer(path, vocab_size)
    elif (path := directory / "tokenizer.model").is_file():
        tokenizer = SentencePieceTokenizer(path, vocab_size)
    else:
        raise TokenizerError(_no_tokenizer(directory))
    if tokenizer.vocab_size > vocab_size:
        raise CheckpointError(
            f"{path} has {tokenizer.vocab_size} ids and the model only {vocab_size}; give "
            f"the tokenizer that belongs to the checkpoint"
        )
    return tokenizer


def _no_tokenizer(directory: Path) -> str:
    if (directory / "vocab.json").is_file() and (directory / "merges.txt").is_file():
        return (
            f"{directory} has a tokenizer as vocab.json and merges.txt and none as tokenizer.json; "
            "write that with transformers: AutoTokenizer.from_pretrained of this directory, then "
            "save_pretrained to it"
        )
    if (directory / "tekken.json").is_file():
        return (
            f"{directory} has a tokenizer as tekken.json, which is not read; put the "
            "tokenizer.json of the model's transformers form there"
        )
    return (
        f"{directory} has no tokenizer; put the checkpoint's tokenizer.json, or its "
        "tokenizer.model, there"
    )


def load_end_ids(directory: Path, config: ModelConfig, tokenizer: Tokenizer) -> frozenset[int]:
    """Ids that end a turn, as the checkpoint declares them; none where it declares none.

    `eos_token_id` of `generation_config.json`, else that of `config.json`, else the tokenizer's
    own `eos_token`.

    Raises:
        CheckpointError: a file cannot be read, or names ids out of range.
    """
    path = generation_config_of(directory)
    value: Any = read_generation_config(directory).get("eos_token_id")
    if value is None and (path := directory / "config.json").exists():
        value = read_json(path).get("eos_token_id")
    if value is None:
        end = tokenizer.controls.get(tokenizer.named.get("eos_token", ""))
        return frozenset() if end is None else frozenset({end})
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
