"""Copies between strided views of host memory, at the speed of memory.

NumPy copies runs fast and transposes slowly; JAX moves a strided block to its CPU device with a
blocked, vectorized transposition. Here each does what it is good at, piece by piece, so that
what has been read can be given back. Knows nothing of checkpoints.
"""

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import jax
import numpy as np
from numpy.lib.stride_tricks import as_strided

# XLA takes over an array without a copy only at this alignment.
_ALIGNMENT = 64
_PIECE_BYTES = 8 << 20
# A block of a transposition stays in the second-level cache, with runs long enough both ways.
_BLOCK = 1024
_BLOCK_COLUMNS = 1024


def empty_aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Uninitialized memory that a CPU device can use as it is.

    NumPy asks the system for huge pages, without which filling fresh memory takes several
    times as long.
    """
    count = math.prod(shape) * dtype.itemsize
    raw = np.empty(count + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + count].view(dtype).reshape(shape)


def copy_view(target: np.ndarray, source: np.ndarray, done: Callable[[np.ndarray], None]) -> None:
    """Fill `target` with `source`, which has its shape, cast to its dtype.

    Args:
        target: written.
        source: read in the order of its memory.
        done: told of each part of `source` that is not needed any more.
    """
    target, source = _merged(target, source)
    if not source.ndim or not source.size:
        np.copyto(target, source, casting="unsafe")
        return
    unit = target.dtype.itemsize
    runs = [axis for axis, stride in enumerate(target.strides) if stride == unit]
    if source.strides[-1] != source.dtype.itemsize or not runs or runs[-1] == source.ndim - 1:
        _copy_runs(target, source, done)
        return
    across = runs[-1]
    outer = [range(size) for axis, size in enumerate(source.shape[:-1]) if axis != across]
    for index in product(*outer):
        where = (*index[:across], slice(None), *index[across:])
        _transpose(target[where].T, source[where], done)


def _copy_runs(target: np.ndarray, source: np.ndarray, done: Callable[[np.ndarray], None]) -> None:
    rows = max(1, _PIECE_BYTES * len(source) // max(1, source.nbytes))
    for row in range(0, len(source), rows):
        piece = source[row : row + rows]
        np.copyto(target[row : row + rows], piece, casting="unsafe")
        done(piece)


def _transpose(target: np.ndarray, source: np.ndarray, done: Callable[[np.ndarray], None]) -> None:
    """Fill `target` [columns, rows] with `source` [rows, columns], both contiguous in columns
    and rows respectively."""
    device = jax.devices("cpu")[0]
    for row in range(0, source.shape[0], _BLOCK):
        band = source[row : row + _BLOCK]
        for column in range(0, source.shape[1], _BLOCK_COLUMNS):
            block = jax.device_put(band[:, column : column + _BLOCK_COLUMNS].T, device)
            np.copyto(
                target[column : column + _BLOCK_COLUMNS, row : row + _BLOCK],
                np.asarray(block),
                casting="unsafe",
            )
        done(band)


def _merged(target: np.ndarray, source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same copy with axes in the order of the source's memory, and as few as will do."""
    order = sorted(range(source.ndim), key=lambda axis: -source.strides[axis])
    axes: list[tuple[int, int, int]] = []
    for axis in order:
        size = source.shape[axis]
        outer, inner = source.strides[axis], target.strides[axis]
        if size == 1:
            continue
        if axes and (axes[-1][1], axes[-1][2]) == (size * outer, size * inner):
            axes[-1] = (axes[-1][0] * size, outer, inner)
        else:
            axes.append((size, outer, inner))
    shape = tuple(size for size, _, _ in axes)
    return (
        as_strided(target, shape, tuple(inner for _, _, inner in axes)),
        as_strided(source, shape, tuple(outer for _, outer, _ in axes)),
    )
