"""What must be the same in all processes, for them to run the same programs on the same weights."""

import sys
from collections.abc import Mapping
from pathlib import Path

from serve.config import ServeConfig
from serve.engine.fingerprint import adapter_digest, checkpoint_digest, versions
from serve.engine.jax_settings import numeric_settings

_SETTINGS = (
    "dtype",
    "weights",
    "cache_dtype",
    "mesh",
    "rows",
    "context",
    "page_size",
    "cache_tokens",
    "prefill_chunk",
    "deterministic",
)


def facts_of(config: ServeConfig) -> dict[str, str]:
    """Name → value of everything that must be the same."""
    of_packages = {f"the version of {name}": value for name, value in versions().items()}
    settings = {name: str(getattr(config, name)) or "unset" for name in _SETTINGS}
    settings |= {name: str(value) for name, value in numeric_settings().items()}
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        checkpoint = "missing"
        if config.model.is_dir():
            checkpoint = checkpoint_digest(config.model, config.tokenizer_directory)
    except (OSError, ValueError):
        # Whoever loads it, or what is there, says what is wrong.
        checkpoint = "unreadable"
    facts = {"the checkpoint's digest": checkpoint, "Python": python} | of_packages | settings
    facts["the number of adapters"] = str(len(config.adapters))
    for number, place in enumerate(config.adapter_directories.values(), start=1):
        facts[f"the digest of adapter {number}"] = _adapter(place)
    return facts


def _adapter(place: Path) -> str:
    try:
        return adapter_digest(place) if place.is_dir() else "missing"
    except (OSError, ValueError):
        # Whoever loads it says what is wrong.
        return "unreadable"


def disagreement(process: int, theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """A sentence on the first difference of a process's facts from ours; empty if there is none."""
    for name, our in ours.items():
        their = theirs.get(name, "nothing")
        if their != our:
            return (
                f"process {process} has {their} for {name} where process 0 has {our}; start all "
                f"processes with the same settings, checkpoint and versions"
            )
    return ""
