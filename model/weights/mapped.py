"""Files mapped into memory, whose pages can be given back. Knows nothing of formats."""

import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from model.config import CheckpointError


class MappedFiles:
    """Arrays over files, read when they are touched.

    Args:
        files: to map.

    Raises:
        CheckpointError: one cannot be mapped.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._maps = {file: _map(file) for file in set(files)}
        self._starts = {
            np.frombuffer(mapped, np.uint8).ctypes.data: mapped for mapped in self._maps.values()
        }

    def array(
        self, file: Path, begin: int, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> np.ndarray:
        """The values that lie in a file from the byte `begin` on, read-only."""
        return np.ndarray(shape, dtype, buffer=self._maps[file], offset=begin)

    def release(self, view: np.ndarray) -> None:
        """Take the pages under a view out of this process's memory; they can be read again.

        An array that is not over these files is left as it is.
        """
        if not hasattr(mmap, "MADV_DONTNEED") or not view.size:
            return
        low, high = np.lib.array_utils.byte_bounds(view)
        for start, mapped in self._starts.items():
            if start <= low and high <= start + len(mapped):
                first = (low - start) // mmap.PAGESIZE * mmap.PAGESIZE
                mapped.madvise(mmap.MADV_DONTNEED, first, high - start - first)


def _map(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be mapped into memory ({error})") from error
