"""A checkpoint's `generation_config.json`: what ends a turn, and the sampling that it recommends.

Knows nothing of who applies it, and imports no JAX.
"""

from pathlib import Path
from typing import Any

from model.config import read_json

# What we know how to apply. The file may have more: bounds, beams and penalties of other kinds.
SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


def generation_config_of(directory: Path) -> Path:
    """Where a checkpoint directory has its file, if it has one."""
    return directory / "generation_config.json"


def read_generation_config(directory: Path) -> dict[str, Any]:
    """The file of a checkpoint directory; empty where there is none.

    Raises:
        CheckpointError: it cannot be read.
    """
    path = generation_config_of(directory)
    try:
        there = path.exists()
    except OSError:
        # Whoever opens the checkpoint says why nothing of it can be read.
        return {}
    return read_json(path) if there else {}


def recommended_sampling(generation: dict[str, Any]) -> dict[str, Any]:
    """The sampling settings of a file by name, as they are written there.

    `do_sample: false` means the likeliest token: temperature 0, after the penalty. A `top_k` of −1
    is another word for none.
    """
    found = {name: generation[name] for name in SAMPLING if generation.get(name) is not None}
    if found.get("top_k") == -1:
        found["top_k"] = 0
    return found | {"temperature": 0.0} if generation.get("do_sample") is False else found
