"""Which format a checkpoint directory has its weights in."""

from pathlib import Path

from model.config import CheckpointError, ModelConfig
from model.families.registry import Family
from model.gguf_pointer import pointed_files
from model.weights.manifest import MANIFEST
from model.weights.orbax import DIRECTORY, OrbaxWeights
from model.weights.published import IN_ONE_FILE, PublishedWeights
from model.weights.quantized.schemes import FILES, read_scheme
from model.weights.quantized.store import DequantizedStore
from model.weights.safetensors import SafetensorsStore, holds_safetensors
from model.weights.tensors import TensorStore

Weights = OrbaxWeights | PublishedWeights


def open_weights(directory: Path, family: Family, config: ModelConfig) -> Weights:
    """The weights of a checkpoint directory, found to fit the model.

    Raises:
        CheckpointError: there are none, they are in two formats, or they are broken.
    """
    if files := pointed_files(directory):
        return _open_gguf(files[0], family, config)
    ours = (directory / DIRECTORY).is_dir()
    if ours and holds_safetensors(directory):
        raise CheckpointError(
            f"{directory} has both {DIRECTORY}/ and safetensors files; remove one of them"
        )
    if ours:
        return OrbaxWeights(directory, config)
    return PublishedWeights(directory, open_tensors(directory), family, config)


def open_tensors(directory: Path) -> TensorStore:
    """The tensors of a directory of safetensors files, those of few bits as what they stand for.

    Raises:
        CheckpointError: there are none, or they are broken.
    """
    store: TensorStore = SafetensorsStore(directory)
    scheme, _ = read_scheme(directory)
    return store if scheme is None else DequantizedStore(directory, store, scheme)


def identifying_files(directory: Path) -> list[Path]:
    """The files that tell the weights of a directory from any others.

    The manifest has the digests of all else that is ours.
    """
    if files := pointed_files(directory):
        return list(files)
    manifest = directory / DIRECTORY / MANIFEST
    if manifest.is_file():
        return [manifest]
    schemes = (directory / name for name in FILES)
    return [*sorted(directory.glob("*.safetensors")), *filter(Path.is_file, schemes)]


def _open_gguf(path: Path, family: Family, config: ModelConfig) -> PublishedWeights:
    # Its package takes a twentieth of a second to import, which other starts need not wait for.
    from model.weights.gguf import GgufStore
    from model.weights.gguf_file import read_gguf

    store = GgufStore(read_gguf(path), family, config)
    return PublishedWeights(path, store, family, config, IN_ONE_FILE)
