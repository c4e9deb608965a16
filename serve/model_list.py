"""What `parlance models` tells: the catalogue, and what this user's caches hold of models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.config import CheckpointError
from model.sources.catalogue import CATALOGUE, Entry, kept_file
from model.sources.places import CATALOGUE_FOLDER
from serve.model_places import model_cache

_COMMIT_SHOWN = 7


def models_json() -> dict[str, Any]:
    """All of it as JSON has it; sizes are in bytes.

    `hub` is null where the package that keeps that cache is not installed.
    """
    cache = model_cache()
    place = None if cache is None else cache / CATALOGUE_FOLDER
    return {
        "catalogue": [_entry(entry, place) for entry in CATALOGUE.values()],
        "hub": _hub(),
    }


def _entry(entry: Entry, place: Path | None) -> dict[str, Any]:
    kept = None if place is None else kept_file(entry, place)
    return {
        "name": entry.name,
        "what": entry.what,
        "licence": entry.licence,
        "parameters": entry.parameters,
        "from": f"package {entry.package}",
        "fetched_bytes": entry.fetched_bytes,
        "bytes": entry.bytes,
        "kept": None if kept is None else str(kept),
    }


def _hub() -> list[dict[str, Any]] | None:
    try:
        from model.sources.hub import cached_models
    except CheckpointError:
        return None
    return [
        {
            "name": model.id,
            "revision": model.revision,
            "names": list(model.names),
            "bytes": model.bytes,
            "kept": str(model.directory),
        }
        for model in cached_models()
    ]


def models_text() -> str:
    """All of it as a person reads it."""
    told = models_json()
    rows = [("name", "model", "parameters", "licence", "to fetch", "kept")]
    rows += [
        (
            entry["name"],
            entry["what"],
            f"{entry['parameters'] / 1e6:.0f} M",
            entry["licence"],
            _megabytes(entry["fetched_bytes"]),
            entry["kept"] or "not yet",
        )
        for entry in told["catalogue"]
    ]
    return f"The catalogue:\n{_table(rows)}\n\n{_hub_text(told['hub'])}"


def _hub_text(cached: list[dict[str, Any]] | None) -> str:
    if cached is None:
        return "Models of the hub need huggingface_hub: pip install '.[hub]'"
    if not cached:
        return "The hub's cache holds no models."
    rows = [("id", "revision", "size", "kept")]
    rows += [
        (
            model["name"],
            ", ".join(model["names"]) or model["revision"][:_COMMIT_SHOWN],
            _megabytes(model["bytes"]),
            model["kept"],
        )
        for model in cached
    ]
    return f"In the hub's cache:\n{_table(rows)}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)) for row in rows)
    return "\n".join(f"  {line.rstrip()}" for line in lines)
