"""Any checkpoint that can be served, written as one of ours.

    config.json, tokenizer, templates …   copied
    weights/00000/ …                      the parameters, in parts
    weights/unfinished.json               what is done, until all is
    weights/manifest.json                 written last: only now can the directory be served

Each part is read back and compared, bit by bit, with what it was made from. A conversion that was
cut short goes on behind the last part that it noted; at the end the digests of all parts, those
of earlier runs too, are compared with what was noted when they were written.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from model.config import CheckpointError, read_json
from model.families.registry import read_family
from model.mesh import make_mesh
from model.parameters import Arrays
from model.unreadable import git_pointer
from model.weights.formats import Weights, identifying_files, open_weights
from model.weights.manifest import (
    Entry,
    check,
    describe,
    describe_file,
    from_json,
    to_json,
    write_manifest,
    write_whole,
)
from model.weights.orbax import DIRECTORY, PART_BYTES, part_name, restore_part, save_part

JOURNAL = "unfinished.json"
DTYPES = ("float32", "bfloat16")
COPIED = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template*",
    "additional_chat_templates/*",
    "LICENSE*",
    "NOTICE*",
)


@dataclass(frozen=True, slots=True)
class Converted:
    """What a conversion has written.

    Attributes:
        parameters: how many numbers.
        bytes: what they take.
        parts: in how many parts.
        resumed: parts that an earlier run had written.
    """

    parameters: int
    bytes: int
    parts: int
    resumed: int


def convert(
    source: Path,
    target: Path,
    dtype: str | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Converted:
    """Write the checkpoint `source` to the directory `target`, or go on writing it.

    Args:
        source: as published, or one of ours.
        target: made if need be; empty, or left by a conversion of the same that was cut short.
        dtype: one of `DTYPES`, or None to keep each parameter's.
        stop: asked after each part that was written.

    Raises:
        CheckpointError: the source cannot be served, the target is something else, or it
            cannot be written.
        KeyboardInterrupt: `stop` said so.
    """
    family, config = read_family(source)
    weights = open_weights(source, family, config)
    texts = _texts(source)
    wanted = None if dtype is None else jnp.dtype(dtype)
    job = {"source": _identity(source), "dtype": dtype, "part_bytes": PART_BYTES}
    root = target / DIRECTORY
    try:
        done = _begin(target, job)
        _check_space(target, weights, wanted, done)
        copies = _copy(texts, source, target)
        parts = weights.groups(PART_BYTES)
        resumed = _write_parts(root, weights, parts, wanted, done, job, stop)
        for path, copy in copies:
            if describe_file(path) != describe_file(copy):
                raise CheckpointError(f"{copy} is not what {path} is; run the conversion again")
        check(root, done)
        write_manifest(root, done)
        (root / JOURNAL).unlink()
    except OSError as error:
        raise CheckpointError(f"{target} cannot be written ({error})") from error
    return Converted(
        parameters=sum(weights.counts.values()),
        bytes=sum(_bytes_as(weights, name, wanted) for name in weights.sizes),
        parts=len(parts),
        resumed=resumed,
    )


def _begin(target: Path, job: dict[str, Any]) -> dict[str, Entry]:
    """Make the target's first files, or find out what an earlier run has written there."""
    root, journal = target / DIRECTORY, target / DIRECTORY / JOURNAL
    if journal.is_file():
        noted = read_json(journal)
        if noted.get("job") != job:
            raise CheckpointError(
                f"{target} holds an unfinished conversion of another checkpoint or to another "
                "dtype; remove it, or give another directory"
            )
        return from_json(noted.get("files"), journal)
    # Until there is a journal, an earlier run has made nothing but the two directories.
    if target.exists() and any(path != root for path in target.iterdir()):
        raise CheckpointError(f"{target} is not empty; give a directory that does not exist yet")
    if root.exists() and any(path.name != f".{JOURNAL}" for path in root.iterdir()):
        raise CheckpointError(f"{root} is not empty; give a directory that does not exist yet")
    root.mkdir(parents=True, exist_ok=True)
    write_whole(journal, {"job": job, "files": {}})
    return {}


def _write_parts(
    root: Path,
    weights: Weights,
    parts: list[list[str]],
    dtype: jnp.dtype | None,
    done: dict[str, Entry],
    job: dict[str, Any],
    stop: Callable[[], bool],
) -> int:
    """Write the parts that are not `done`, and note each there and in the journal."""
    mesh = make_mesh()
    finished = {Path(name).parts[0] for name in done}
    with tqdm(
        total=sum(weights.sizes.values()),
        desc="converting",
        unit="B",
        unit_scale=True,
        leave=False,
        disable=None,
    ) as bar:
        for number, names in enumerate(parts):
            name = part_name(number)
            if name not in finished:
                for left in root.glob(f"{name}*"):
                    shutil.rmtree(left)
                # As published, none is in fewer bits.
                parameters = cast("Arrays", dict(weights.load(names, dtype, mesh, weights.config)))
                save_part(root / name, parameters)
                _compare(root / name, parameters)
                done |= describe(root, under=name)
                write_whole(root / JOURNAL, {"job": job, "files": to_json(done)})
                if stop():
                    raise KeyboardInterrupt
            bar.update(sum(weights.sizes[parameter] for parameter in names))
    return len(finished)


def _compare(path: Path, parameters: Arrays) -> None:
    wanted = {
        name: jax.ShapeDtypeStruct(value.shape, value.dtype, sharding=value.sharding)
        for name, value in parameters.items()
    }
    for name, value in restore_part(path, wanted).items():
        # As bytes, for a value that is not a number equals nothing.
        written, meant = (np.asarray(array).view(np.uint8) for array in (value, parameters[name]))
        if not np.array_equal(written, meant):
            raise CheckpointError(
                f"{path} does not hold {name} as it was written; check the disk, and run the "
                "conversion again"
            )


def _texts(source: Path) -> list[Path]:
    """The files that are copied.

    Raises:
        CheckpointError: one has not been downloaded.
    """
    found = [path for pattern in COPIED for path in sorted(source.glob(pattern)) if path.is_file()]
    if pointer := next(filter(None, map(git_pointer, found)), None):
        raise CheckpointError(pointer)
    return found


def _copy(texts: list[Path], source: Path, target: Path) -> list[tuple[Path, Path]]:
    """Copy files of the source; returns each and its copy."""
    copies = [(path, target / path.relative_to(source)) for path in texts]
    for path, copy in copies:
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, copy)
    return copies


def _check_space(
    target: Path, weights: Weights, dtype: jnp.dtype | None, done: dict[str, Entry]
) -> None:
    needed = sum(_bytes_as(weights, name, dtype) for name in weights.sizes)
    needed -= sum(entry.bytes for entry in done.values())
    free = shutil.disk_usage(target).free
    if needed > free:
        raise CheckpointError(
            f"{target} needs {needed / 1e9:.1f} GB more and its disk has {free / 1e9:.1f} GB free; "
            "make room, and run the conversion again"
        )


def _bytes_as(weights: Weights, name: str, dtype: jnp.dtype | None) -> int:
    return weights.counts[name] * (dtype or weights.dtypes[name]).itemsize


def _identity(source: Path) -> str:
    """A digest that is another one when the source is.

    Published weights are told by name, size and time, as reading them whole would take as long
    as the conversion.
    """
    files = [
        [path.name, path.stat().st_size, path.stat().st_mtime_ns]
        for path in identifying_files(source)
    ]
    facts = json.dumps([read_json(source / "config.json"), files])
    return hashlib.sha256(facts.encode()).hexdigest()
