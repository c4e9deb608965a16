"""What quantization formats have in common: matrices as codes, scales and zero points.

A value is (code - zero point) · scale. Scales and zero points come as a grid, one for each block
of the matrix, or, where columns were quantized in an order of their own, one for each row and
group of columns. Knows no format.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from model.config import CheckpointError
from model.weights.tensors import TensorInfo

SCALES = ("BF16", "F16", "F32")

# So many rows at a time are given their columns' scales, which takes as much memory again.
_ROWS = 256


class Quantized(NamedTuple):
    """A matrix that is stored in few bits.

    Attributes:
        shape: of the matrix, [out, in].
        parts: the tensors that it is made of, by suffix.
        expand: makes it, in float32, from their arrays, by suffix too.
    """

    shape: tuple[int, int]
    parts: Mapping[str, TensorInfo]
    expand: Callable[[Mapping[str, np.ndarray]], np.ndarray]


@dataclass(frozen=True, slots=True)
class Module:
    """The tensors of one module.

    Attributes:
        name: what stands before the last dot of their names.
        tensors: by what stands after it.
    """

    name: str
    tensors: Mapping[str, TensorInfo]

    def part(
        self, suffix: str, kinds: Collection[str], *shapes: tuple[int, ...], rank: int = 0
    ) -> TensorInfo:
        """The tensor of this suffix.

        Args:
            suffix: of its name.
            kinds: that it may have.
            shapes: that it may have; any if there are none.
            rank: how many axes it must have, none of them empty, if not 0.

        Raises:
            CheckpointError: there is none, or it has another kind or shape.
        """
        tensor = self.tensors.get(suffix)
        if tensor is None:
            other = next(iter(self.tensors.values()))
            raise CheckpointError(
                f"{other.file} has {other.name} and no {self.name}.{suffix}, without which its "
                "values are not known; give the whole checkpoint, as it was published"
            )
        if tensor.kind not in kinds:
            raise CheckpointError(
                f"{tensor.file} has {tensor.name} as {tensor.kind}; as config.json says that it is "
                f"quantized, it must be {' or '.join(kinds)}: give the config.json that belongs to "
                "the checkpoint"
            )
        wrong_axes = rank and (len(tensor.shape) != rank or 0 in tensor.shape)
        if wrong_axes or (shapes and tensor.shape not in shapes):
            sizes = " or ".join(map(str, shapes))
            wanted = f"of {rank} axes with values" if wrong_axes else sizes
            raise CheckpointError(
                f"{tensor.file} has {tensor.name} of shape {tensor.shape}; with the config.json "
                f"and the tensors beside it, it must be {wanted}: give the config.json that "
                "belongs to the checkpoint"
            )
        return tensor


@runtime_checkable
class Scheme(Protocol):
    """How a checkpoint is quantized.

    Attributes:
        method: what to call it.
        notices: what config.json asks for that is not done, in words.
        unread: suffixes of tensors that are of no use to us.
    """

    @property
    def method(self) -> str:
        """See the class."""
        ...

    @property
    def notices(self) -> tuple[str, ...]:
        """See the class."""
        ...

    @property
    def unread(self) -> frozenset[str]:
        """See the class."""
        ...

    def quantized(
        self, module: Module, read: Callable[[TensorInfo], np.ndarray]
    ) -> Quantized | None:
        """The matrix of a module, or None if its tensors are plain.

        Args:
            module: its tensors.
            read: gives the data of a small one.

        Raises:
            CheckpointError: the tensors are not those that the scheme needs.
        """
        ...


def grid_shape(shape: tuple[int, int], block: tuple[int, int]) -> tuple[int, int]:
    """How many blocks a matrix has, whole or not, down and across."""
    return -(-shape[0] // block[0]), -(-shape[1] // block[1])


def scale_shapes(shape: tuple[int, int], block: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
    """The shapes in which a grid may be stored; one value a row, or one for all, has several."""
    grid = grid_shape(shape, block)
    if grid == (1, 1):
        return (1,), (), grid
    return (grid, (grid[0],)) if grid[1] == 1 else (grid,)


def unpacked(words: np.ndarray, bits: int) -> np.ndarray:
    """Codes out of words of 32 bits, the lowest bits first.

    Args:
        words: [rows, words], of integers.
        bits: of a code: 2, 4 or 8.

    Returns:
        The codes, uint8 [rows, words · 32 / bits].
    """
    octets = np.ascontiguousarray(words, "<i4").view(np.uint8)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    # What each byte holds, to be looked up as one number.
    held = (np.arange(256, dtype=np.uint8)[:, None] >> shifts) & np.uint8(2**bits - 1)
    return held.view(f"u{len(shifts)}")[:, 0][octets].view(np.uint8)


def floats(numbers: np.ndarray) -> np.ndarray:
    """Numbers of any kind as float32 of our own, in the order of their axes."""
    if numbers.dtype.itemsize == 1 and numbers.dtype.kind not in "iu":
        every = np.arange(256, dtype=np.uint8).view(numbers.dtype).astype(np.float32)
        return every[numbers.view(np.uint8)]
    return np.array(numbers, np.float32, order="C")


def dequantized(
    codes: np.ndarray,
    scales: np.ndarray,
    zeros: np.ndarray | float | None,
    block: tuple[int, int],
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """The matrix (codes - zeros) · scales, each step in float32.

    Args:
        codes: [out, in].
        scales: the grid, of any shape with as many values.
        zeros: the same, or one for all, or None for none.
        block: rows and columns of a block.
        groups: [in], the column of the grid for each column of the matrix; None where they
            follow from the block.

    Returns:
        float32 [out, in], contiguous.
    """
    values = floats(codes)
    grid = grid_shape((values.shape[0], values.shape[1]), block)
    if isinstance(zeros, np.ndarray):
        _combine(np.subtract, values, floats(zeros).reshape(grid), block, groups)
    elif zeros is not None:
        values -= np.float32(zeros)
    _combine(np.multiply, values, floats(scales).reshape(grid), block, groups)
    return values


def _combine(
    operation: Any,
    values: np.ndarray,
    grid: np.ndarray,
    block: tuple[int, int],
    groups: np.ndarray | None,
) -> None:
    """Combine `values` in place with the grid's value for each."""
    rows, columns = block
    by_row = np.repeat(grid, rows, axis=0)[: len(values)]
    if groups is not None:
        for start in range(0, len(values), _ROWS):
            piece = values[start : start + _ROWS]
            operation(piece, by_row[start : start + _ROWS][:, groups], out=piece)
        return
    whole = values.shape[1] // columns
    blocks = values[:, : whole * columns].reshape((len(values), whole, columns), copy=False)
    operation(blocks, by_row[:, :whole, None], out=blocks)
    rest = values[:, whole * columns :]
    operation(rest, by_row[:, whole:], out=rest)
