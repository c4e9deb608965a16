"""The safetensors format: which tensors a directory holds, and their bytes, mapped.

A file is eight bytes of length, a JSON header of that length, and the tensors' bytes, which
the header's offsets cover without holes; several files come with an index that names the file
of each tensor. The headers are read here rather than by the format's own package because that
copies each tensor once more and cannot give back the pages it has read; everything a header
says is checked before a byte is used. Knows nothing of what the tensors mean.
"""

import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import jax.numpy as jnp
import numpy as np

from model.config import CheckpointError, read_json
from model.foreign import other_form
from model.unreadable import git_pointer, not_read
from model.weights.mapped import MappedFiles
from model.weights.tensors import TensorInfo

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
# Those that weights come in, and bytes, which some families pack them into.
DTYPES: Mapping[str, str] = {
    "BF16": "bfloat16",
    "F16": "float16",
    "F32": "float32",
    "U8": "uint8",
}
# Those besides that weights in few bits are made of, which only those who know of them can use.
_PARTS: Mapping[str, str] = {
    "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu",
    "I8": "int8",
    "I32": "int32",
    "I64": "int64",
}
_STORED = {kind: jnp.dtype(name) for kind, name in (DTYPES | _PARTS).items()}

_LENGTH_BYTES = 8
# What the format's own reader allows.
_MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class FileTensor(TensorInfo):
    """A tensor in a file.

    Attributes:
        begin: position of its first byte in the file.
    """

    begin: int

    @property
    def end(self) -> int:
        """Position after its last byte."""
        return self.begin + self.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its dtype.

        Raises:
            CheckpointError: not one that we read.
        """
        if self.kind not in DTYPES:
            raise CheckpointError(
                f"{self.file} has {self.name} as {self.kind}; weights can be "
                f"{', '.join(DTYPES)}: convert the checkpoint to one of these"
            )
        return jnp.dtype(DTYPES[self.kind])


def holds_safetensors(directory: Path) -> bool:
    """Whether a directory has weights in this format, whole or not."""
    return (directory / INDEX).exists() or any(directory.glob("*.safetensors"))


def read_tensors(directory: Path) -> dict[str, FileTensor]:
    """The tensors of a directory by name.

    Raises:
        CheckpointError: no weights in this format, or headers or an index that do not hold.
    """
    single, index = directory / SINGLE, directory / INDEX
    if index.exists():
        return _read_indexed(directory)
    if single.exists():
        return read_header(single)
    if form := other_form(directory):
        raise CheckpointError(form)
    if shards := sorted(path.name for path in directory.glob("*.safetensors")):
        raise CheckpointError(
            f"{directory} has {shards[0]} and neither {SINGLE} nor {INDEX}; "
            "download the whole directory as it was published"
        )
    raise CheckpointError(
        f"{directory} has no weights; give a directory with {SINGLE}, with {INDEX} and its files, "
        "or one written by parlance convert"
    )


def _read_indexed(directory: Path) -> dict[str, FileTensor]:
    index = directory / INDEX
    weight_map: Any = read_json(index).get("weight_map")
    names = cast("dict[Any, Any]", weight_map) if isinstance(weight_map, dict) else {}
    files = set(names.values())
    if not names or not all(isinstance(file, str) for file in files):
        raise CheckpointError(f"{index} has no weight_map of tensor names to file names")
    if (directory / SINGLE).exists() and SINGLE not in files:
        raise CheckpointError(
            f"{directory} has both {SINGLE} and {INDEX}, which does not name it; remove one of them"
        )
    found: dict[str, FileTensor] = {}
    for file in sorted(files):
        if Path(file).name != file:
            raise CheckpointError(f"{index} names {file!r}, which is not a file beside it")
        if not (directory / file).is_file():
            raise CheckpointError(
                f"{directory / file} is missing, and {index.name} names it; download it again"
            )
        for name, tensor in read_header(directory / file).items():
            if names.get(name) != file:
                raise CheckpointError(
                    f"{index} lies: it has {name} in {names.get(name, 'no file')}, and {file} "
                    "holds it; give the directory as it was published"
                )
            found[name] = tensor
    if absent := sorted(set(names) - set(found)):
        raise CheckpointError(
            f"{index} lies: {names[absent[0]]} does not hold {absent[0]} ({len(absent)} such "
            "tensors); give the directory as it was published"
        )
    return found


def read_header(path: Path) -> dict[str, FileTensor]:
    """The tensors of one file by name.

    Raises:
        CheckpointError: it cannot be read, or its header does not hold.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            if size < _LENGTH_BYTES or length > min(size - _LENGTH_BYTES, _MAX_HEADER_BYTES):
                raise CheckpointError(
                    git_pointer(path)
                    or f"{path} is truncated or no safetensors file: it has {size} bytes and its "
                    f"first eight announce a header of {length}; download it again"
                )
            text = file.read(length)
    except OSError as error:
        raise CheckpointError(not_read(path, error)) from error
    try:
        header = json.loads(text)
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        tensors = {
            name: _tensor(name, path, entry, _LENGTH_BYTES + length)
            for name, entry in entries.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} has a damaged header ({error}); download it again"
        ) from error
    _check_offsets(path, tensors.values(), _LENGTH_BYTES + length, size)
    return tensors


def _tensor(name: str, path: Path, entry: Mapping[str, Any], data: int) -> FileTensor:
    begin, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if not all(type(number) is int and number >= 0 for number in (begin, end, *shape)):
        raise ValueError(f"{name} has shape {shape} and data_offsets {[begin, end]}")
    return FileTensor(name, path, str(entry["dtype"]), shape, end - begin, data + begin)


def _check_offsets(path: Path, tensors: Iterable[FileTensor], data: int, size: int) -> None:
    """Hold a header to the rule that its tensors cover the rest of the file, each byte once."""
    position = data
    for tensor in sorted(tensors, key=lambda tensor: (tensor.begin, tensor.end)):
        if tensor.begin != position or tensor.end < tensor.begin:
            raise CheckpointError(
                f"{path} has a damaged header: {tensor.name} is said to lie in bytes "
                f"{tensor.begin} to {tensor.end}, and {position} is the next free one"
            )
        # The bits of an unknown dtype are unknown too; it is refused when it is used.
        if tensor.kind in _STORED:
            needed = math.prod(tensor.shape) * _STORED[tensor.kind].itemsize
            if tensor.size != needed:
                raise CheckpointError(
                    f"{path} has a damaged header: {tensor.name} is {tensor.kind} of shape "
                    f"{tensor.shape} in {tensor.size} bytes; it needs {needed}"
                )
        position = tensor.end
    if position != size:
        raise CheckpointError(
            f"{path} is {size} bytes long and its header describes {position}: it is "
            f"{'truncated' if size < position else 'not what was written'}; download it again"
        )


class SafetensorsStore:
    """A directory of safetensors files as a `TensorStore`, its headers read and checked.

    Raises:
        CheckpointError: see `read_tensors`.
    """

    def __init__(self, directory: Path) -> None:
        self._tensors = read_tensors(directory)

    def listed(self) -> Mapping[str, FileTensor]:
        """See `TensorStore`."""
        return self._tensors

    def opened(self, names: Collection[str]) -> "MappedTensors":
        """See `TensorStore`."""
        return MappedTensors({name: self._tensors[name] for name in names})


class MappedTensors:
    """Tensors as arrays over their mapped files, whose pages can be given back."""

    def __init__(self, tensors: Mapping[str, FileTensor]) -> None:
        self._tensors = tensors
        self._files = MappedFiles(tensor.file for tensor in tensors.values())

    def __getitem__(self, name: str) -> np.ndarray:
        """The tensor, read-only; its bytes are read from the file when they are touched."""
        tensor = self._tensors[name]
        return self._files.array(tensor.file, tensor.begin, tensor.shape, _STORED[tensor.kind])

    def release(self, view: np.ndarray) -> None:
        """See `OpenTensors`."""
        self._files.release(view)
