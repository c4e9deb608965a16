"""The GGUF format: what a file says of its model, and where its tensors lie.

A file is a head (magic, version, two counts), metadata by key, a list of tensors with the
offset of each, and their data, which begins at a multiple of the alignment; large models are
split into parts, each such a file. The head is read here rather than by the format's own
package, whose reader believes every length and count and makes several objects of each token;
the package knows the kinds of numbers. Everything that is said is checked before it is used.
Source: `docs/gguf.md` of the format's own repository. Knows nothing of what keys and tensors mean.
"""

import hashlib
import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from model.config import CheckpointError
from model.gguf_names import gguf_name, part_names
from model.unreadable import git_pointer, not_read

_MAGIC = b"GGUF"
# Version 2 has the layout of 3, which added files of the other byte order.
_VERSIONS = (2, 3)
_MOST_AXES = 4
_ALIGNMENT = 32

_Types = gguf.GGUFValueType
_SCALARS: Mapping[int, np.dtype[Any]] = {
    _Types.UINT8: np.dtype("<u1"),
    _Types.INT8: np.dtype("<i1"),
    _Types.UINT16: np.dtype("<u2"),
    _Types.INT16: np.dtype("<i2"),
    _Types.UINT32: np.dtype("<u4"),
    _Types.INT32: np.dtype("<i4"),
    _Types.FLOAT32: np.dtype("<f4"),
    _Types.UINT64: np.dtype("<u8"),
    _Types.INT64: np.dtype("<i8"),
    _Types.FLOAT64: np.dtype("<f8"),
    _Types.BOOL: np.dtype("?"),
}


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """A tensor in a file.

    Attributes:
        name: in the file.
        file: that holds it.
        kind: how its numbers are stored.
        shape: its shape, rows first: the format lists the axes the other way round.
        begin: position of its first byte in the file.
        size: bytes that it takes.
    """

    name: str
    file: Path
    kind: gguf.GGMLQuantizationType
    shape: tuple[int, ...]
    begin: int
    size: int


@dataclass(frozen=True, slots=True)
class Gguf:
    """A model in one file, or in several parts.

    Attributes:
        files: all parts.
        metadata: of the first part: texts, numbers, truths and lists of one of these.
        tensors: of all parts, by name.
        heads: a digest of what each part has before its data.
    """

    files: tuple[Path, ...]
    metadata: Mapping[str, Any]
    tensors: Mapping[str, GgufTensor]
    heads: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The first part, for messages."""
        return self.files[0]


def read_gguf(path: Path) -> Gguf:
    """What a GGUF file says, together with the parts that belong to it; no data is read.

    Args:
        path: the file, or any part.

    Raises:
        CheckpointError: it is no such file, or not a whole one, or lies about its contents.
    """
    files = part_files(path)
    parts = [_read_part(file) for file in files]
    tensors: dict[str, GgufTensor] = {}
    for number, part in enumerate(parts):
        # Zero is what merging parts into one file leaves.
        count, place = (part.metadata.get(f"split.{key}") or 0 for key in ("count", "no"))
        if (count or 1, place) != (len(parts), number):
            raise CheckpointError(
                f"{files[number]} says split.no {place} of split.count {count}, and its name says "
                f"part {number + 1} of {len(parts)}; give all parts under their own names"
            )
        if twice := sorted(set(tensors) & set(part.tensors)):
            raise CheckpointError(
                f"{files[number]} has the tensor {twice[0]}, which {tensors[twice[0]].file} has "
                "too; give the parts of one model"
            )
        tensors |= part.tensors
    total = parts[0].metadata.get("split.tensors.count", len(tensors))
    if len(parts) > 1 and total != len(tensors):
        raise CheckpointError(
            f"{path} and its parts have {len(tensors)} tensors and should have {total}; download "
            "them again"
        )
    return Gguf(files, parts[0].metadata, tensors, tuple(part.heads[0] for part in parts))


def part_files(path: Path) -> tuple[Path, ...]:
    """All parts of the model that a file is one of, by its name; the file alone where it is whole.

    Raises:
        CheckpointError: a part is missing.
    """
    name = gguf_name(path.name)
    if not 1 <= name.part <= name.parts:
        raise CheckpointError(f"{path} is not named for a part of {name.parts}; rename it")
    files = tuple(path.with_name(part) for part in part_names(path.name))
    for number, file in enumerate(files, 1):
        if len(files) > 1 and not file.is_file():
            raise CheckpointError(
                f"{file} is missing, part {number} of {name.parts} of the model; put all parts "
                "into one directory"
            )
    return files


def _read_part(path: Path) -> Gguf:
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise CheckpointError(
                    git_pointer(path)
                    or f"{path} is no GGUF file: it does not begin with {_MAGIC.decode()}; give one"
                )
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(path, data).read()
    except OSError as error:
        raise CheckpointError(not_read(path, error)) from error


class _Reader:
    """One way through the head of a file."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self._path = path
        self._data = data
        self._at = len(_MAGIC)

    def read(self) -> Gguf:
        """The whole of it."""
        version = self._number("<I")
        if version & 0xFFFF == 0:
            raise CheckpointError(
                f"{self._path} is a GGUF file for machines of the other byte order (big-endian), "
                "which is not read; give a little-endian one, as nearly all are"
            )
        if version not in _VERSIONS:
            raise CheckpointError(
                f"{self._path} is of version {version} of the GGUF format, and versions "
                f"{' and '.join(map(str, _VERSIONS))} are read; give one that was converted by a "
                "llama.cpp of today"
            )
        count, keys = self._number("<Q"), self._number("<Q")
        metadata: dict[str, Any] = {}
        # No list is made by a count: what is not there is found missing at its first entry.
        for _ in range(keys):
            key = self._string()
            if key in metadata:
                raise self._damaged(f"it has the key {key} twice")
            metadata[key] = self._value(self._number("<I"))
        entries: dict[str, tuple[tuple[int, ...], int, int]] = {}
        for _ in range(count):
            name = self._string()
            if name in entries:
                raise self._damaged(f"it has the tensor {name} twice")
            axes = self._number("<I")
            if not 1 <= axes <= _MOST_AXES:
                raise self._damaged(f"the tensor {name} has {axes} axes")
            shape = tuple(self._number("<Q") for _ in range(axes))[::-1]
            entries[name] = shape, self._number("<I"), self._number("<Q")
        head = hashlib.sha256(self._data[: self._at]).hexdigest()
        tensors = self._tensors(entries, metadata.get("general.alignment", _ALIGNMENT))
        return Gguf((self._path,), metadata, tensors, (head,))

    def _tensors(
        self, entries: Mapping[str, tuple[tuple[int, ...], int, int]], alignment: Any
    ) -> dict[str, GgufTensor]:
        """The tensors, which lie one after another, each at a multiple of the alignment."""
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            raise self._damaged(f"its general.alignment is {alignment!r} and no power of two")
        data = -(-self._at // alignment) * alignment
        tensors: dict[str, GgufTensor] = {}
        expected = 0
        for name, (shape, number, offset) in entries.items():
            try:
                kind = gguf.GGMLQuantizationType(number)
            except ValueError as error:
                raise CheckpointError(
                    f"{self._path} has the tensor {name} in numbers of kind {number}, which is not "
                    "known; give the model in another quantization, like Q8_0 or BF16"
                ) from error
            values, block_bytes = gguf.GGML_QUANT_SIZES[kind]
            if shape[-1] % values:
                raise self._damaged(
                    f"the tensor {name} has rows of {shape[-1]} and {kind.name} is in blocks of "
                    f"{values}"
                )
            size = math.prod(shape) // values * block_bytes
            if offset != expected:
                raise self._damaged(
                    f"the tensor {name} is said to lie at {offset} of the data, and {expected} is "
                    "the next free place"
                )
            if data + offset + size > len(self._data):
                raise CheckpointError(
                    f"{self._path} is {len(self._data)} bytes long, and its tensor {name} ends at "
                    f"{data + offset + size}: it is truncated; download it again"
                )
            tensors[name] = GgufTensor(name, self._path, kind, shape, data + offset, size)
            expected = -(-(offset + size) // alignment) * alignment
        return tensors

    def _value(self, kind: int) -> Any:
        """A value of metadata."""
        if kind == _Types.STRING:
            return self._string()
        if kind != _Types.ARRAY:
            return self._numbers(kind, 1)[0]
        of, count = self._number("<I"), self._number("<Q")
        if of != _Types.STRING:
            return self._numbers(of, count)
        return [self._string() for _ in range(count)]

    def _numbers(self, kind: int, count: int) -> list[Any]:
        if kind not in _SCALARS:
            raise self._damaged(f"it has a value of kind {kind} at byte {self._at}")
        dtype = _SCALARS[kind]
        return np.frombuffer(self._bytes(count * dtype.itemsize), dtype).tolist()

    def _number(self, form: str) -> int:
        return struct.unpack(form, self._bytes(struct.calcsize(form)))[0]

    def _string(self) -> str:
        raw = self._bytes(self._number("<Q"))
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise self._damaged(f"a text before byte {self._at} is no UTF-8") from error

    def _bytes(self, count: int) -> bytes:
        self._room(count)
        raw = self._data[self._at : self._at + count]
        self._at += count
        return raw

    def _room(self, count: int) -> None:
        if count > len(self._data) - self._at:
            raise CheckpointError(
                f"{self._path} is {len(self._data)} bytes long and is said to have {count} more at "
                f"byte {self._at}: it is truncated or damaged; download it again"
            )

    def _damaged(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self._path} has a damaged head: {what}; download it again")
