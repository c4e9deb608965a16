"""The tower of a checkpoint directory: shape, normalization of images, weights.

config.json               shape, as its family publishes it
preprocessor_config.json  how images are normalized; or
processor_config.json     the same under `image_processor`, as newer versions write it
*.safetensors             weights, beside the decoder's
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from jax.sharding import Mesh

from model.config import CheckpointError, read_json
from model.families.keys import ConfigKeys
from model.families.registry import read_family
from model.gguf_pointer import config_source, pointed_files
from model.loading import resolve_dtype
from model.vision.config import AnyVisionConfig, Normalization
from model.vision.parameters import tower_place, tower_specs
from model.vision.tower import LoadedTower
from model.weights.formats import open_tensors
from model.weights.orbax import DIRECTORY
from model.weights.published import PublishedTensors
from model.weights.quantized.schemes import read_scheme
from model.weights.tensors import OpenTensors, TensorInfo, TensorStore

_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True, slots=True)
class OpenedTower:
    """A tower whose checkpoint has been found to fit it; its weights have not been read.

    Attributes:
        config: its shape.
        mesh: the devices.
        dtype: that weights will have.
    """

    config: AnyVisionConfig
    mesh: Mesh
    dtype: jnp.dtype
    _tensors: PublishedTensors

    def load(self) -> LoadedTower:
        """Read the weights.

        Raises:
            CheckpointError: they cannot be read.
        """
        mesh, dtype = self.mesh, self.dtype
        parameters = {
            name: self._tensors.made(name, spec.shape, dtype, mesh, tower_place(mesh, spec))
            for name, spec in tower_specs(self.config).items()
        }
        return LoadedTower(self.config, parameters, self.mesh, self.dtype)


def read_vision(directory: Path) -> AnyVisionConfig | None:
    """The tower's shape, None for a model without one.

    Raises:
        CheckpointError: a file cannot be read, or says what we don't implement.
    """
    family, _ = read_family(directory)
    if family.vision is None or pointed_files(directory):
        return None
    source = str(config_source(directory))
    _, rest = read_scheme(directory)
    config = family.vision.config(rest, source)
    return replace(config, pixels=read_normalization(directory))


def read_normalization(directory: Path) -> Normalization:
    """How a checkpoint has its images normalized; as both families do it, where it is not said.

    Raises:
        CheckpointError: a file cannot be read, or leaves a step out.
    """
    plain = Normalization()
    for path in (directory / name for name in _PROCESSORS):
        if not path.is_file():
            continue
        keys = ConfigKeys(read_json(path), str(path))
        keys = keys.nested("image_processor") or keys
        if not any(key in keys for key in ("image_mean", "image_std", "image_processor_type")):
            continue
        keys.require("do_rescale", [True, None])
        keys.require("do_normalize", [True, None])
        return Normalization(
            keys.positive("rescale_factor", float, plain.scale),
            _channels(keys, "image_mean", plain.mean),
            _channels(keys, "image_std", plain.deviation),
        )
    return plain


def _channels(keys: ConfigKeys, name: str, plain: tuple[float, ...]) -> tuple[float, ...]:
    values: list[Any] = keys.take(name, list, list(plain))
    if not all(type(value) in (int, float) and isfinite(value) for value in values):
        raise CheckpointError(f"{keys.source} has {name}: {values}; it must be three numbers")
    return tuple(map(float, values))


def open_tower(directory: Path, mesh: Mesh, dtype: str = "auto") -> OpenedTower | None:
    """Open the tower of a checkpoint directory, None for a model without one.

    Args:
        directory: the checkpoint.
        mesh: the decoder's devices.
        dtype: one of `loading.DTYPES`.

    Raises:
        CheckpointError: there is one and it cannot be used.
    """
    config, (family, _) = read_vision(directory), read_family(directory)
    if config is None or family.vision is None:
        return None
    if (directory / DIRECTORY).is_dir():
        raise CheckpointError(
            f"{directory} was written by parlance convert, which leaves the part that sees out; "
            "give the checkpoint as it was published"
        )
    tensors = PublishedTensors(
        directory,
        _Part(open_tensors(directory), family.vision.tensors),
        family.vision.weights(config),
        tower_specs(config),
    )
    return OpenedTower(config, mesh, resolve_dtype(dtype), tensors)


class _Part:
    """The tensors of a store whose names match a pattern, as a `TensorStore`."""

    def __init__(self, store: TensorStore, pattern: str) -> None:
        self._store = store
        self._tensors = {
            name: info for name, info in store.listed().items() if re.fullmatch(pattern, name)
        }

    def listed(self) -> Mapping[str, TensorInfo]:
        """See `TensorStore`."""
        return self._tensors

    def opened(self, names: Collection[str]) -> OpenTensors:
        """See `TensorStore`."""
        return self._store.opened(names)
