"""The system fingerprint: a digest of all that can change the numbers.

Two servers with the same fingerprint and the same seed give the same answers. Weight files
are sampled, not read whole: a checkpoint of many gigabytes must not be read twice.
"""

import json
from collections.abc import Iterable
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from model.foreign import ADAPTER_CONFIG
from model.loading import LoadedModel
from model.vision.config import AnyVisionConfig
from model.weights.formats import identifying_files
from serve.distribution import DISTRIBUTION, installed_version
from serve.engine.config import EngineConfig
from serve.engine.jax_settings import numeric_settings

_SAMPLES = 64
_SAMPLE_BYTES = 4096
_LIBRARIES = ("jax", "jaxlib", "flax")


def fingerprint(
    directory: Path,
    model: LoadedModel,
    config: EngineConfig,
    adapters: Iterable[Path] = (),
    vision: AnyVisionConfig | None = None,
) -> str:
    """`fp_` and ten hexadecimal digits over weights, shapes, mesh, kernels, platform, versions.

    Args:
        directory: the checkpoint.
        model: what was loaded of it.
        config: the engine's settings.
        adapters: directories of its adapters.
        vision: the shape of its tower, if it sees.
    """
    device = jax.devices()[0]
    facts: dict[str, Any] = {
        "config": _config(directory),
        "mesh": dict(model.mesh.shape),
        # Collectives between hosts may add in another order than those within one.
        "hosts": jax.process_count(),
        "dtype": str(model.dtype),
        "weights": model.config.weight_form,
        "cache": str(model.page_dtype),
        "attention": model.backend.name,
        "platform": [device.platform, device.device_kind],
        "versions": versions(),
        "jax": numeric_settings(),
        "deterministic": config.deterministic,
        "shapes": [config.row_buckets, config.token_buckets, config.page_size],
    }
    if digests := [adapter_digest(each) for each in adapters]:
        facts["adapters"] = digests
    if vision is not None:
        facts["vision"] = [repr(vision), config.seeing_buckets]
    return f"fp_{_digest(json.dumps(facts, sort_keys=True), directory)}"


def versions() -> dict[str, str]:
    """Name → version of the packages whose code makes the numbers, ours among them."""
    ours = {DISTRIBUTION: installed_version() or "not installed"}
    return ours | {name: version(name) for name in _LIBRARIES}


def checkpoint_digest(directory: Path, tokenizer_directory: Path) -> str:
    """Ten hexadecimal digits over a checkpoint's shape, what ends turns, and its weights."""
    ends = _text(tokenizer_directory / "generation_config.json")
    return _digest(_config(directory) + ends, directory)


def adapter_digest(directory: Path) -> str:
    """Ten hexadecimal digits over an adapter's configuration and its weights."""
    return _digest(_text(directory / ADAPTER_CONFIG), directory)


def _config(directory: Path) -> str:
    return _text(directory / "config.json")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _digest(facts: str, directory: Path) -> str:
    digest = blake2b(facts.encode())
    for path in identifying_files(directory):
        digest.update(path.name.encode())
        _sample(path, digest)
    return digest.hexdigest()[:10]


def _sample(path: Path, digest: blake2b) -> None:
    size = path.stat().st_size
    digest.update(size.to_bytes(8))
    with path.open("rb") as file:
        for index in range(min(_SAMPLES, -(-size // _SAMPLE_BYTES))):
            file.seek(index * max(size // _SAMPLES, _SAMPLE_BYTES))
            digest.update(file.read(_SAMPLE_BYTES))
