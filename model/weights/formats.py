"""Which format a checkpoint directory has its weights in."""

from pathlib import Path

from model.config import CheckpointError, ModelConfig
from model.families.registry import Family
from model.weights.manifest import MANIFEST
from model.weights.orbax import DIRECTORY, OrbaxWeights
from model.weights.published import PublishedWeights
from model.weights.quantized.schemes import read_scheme
from model.weights.quantized.store import DequantizedStore
from model.weights.safetensors import SafetensorsStore, holds_safetensors
from model.weights.tensors import TensorStore

Weights = OrbaxWeights | PublishedWeights


def open_weights(directory: Path, family: Family, config: ModelConfig) -> Weights:
    """The weights of a checkpoint directory, found to fit the model.

    Raises:
        CheckpointError: there are none, they are in two formats, or they are broken.
    """
    ours = (directory / DIRECTORY).is_dir()
    if ours and holds_safetensors(directory):
        raise CheckpointError(
            f"{directory} has both {DIRECTORY}/ and safetensors files; remove one of them"
        )
    if ours:
        return OrbaxWeights(directory, config)
    store: TensorStore = SafetensorsStore(directory)
    scheme, _ = read_scheme(directory)
    if scheme is not None:
        store = DequantizedStore(directory, store, scheme)
    return PublishedWeights(directory, store, family, config)


def identifying_files(directory: Path) -> list[Path]:
    """The files that tell the weights of a directory from any others.

    The manifest has the digests of all else that is ours.
    """
    manifest = directory / DIRECTORY / MANIFEST
    return [manifest] if manifest.is_file() else sorted(directory.glob("*.safetensors"))
