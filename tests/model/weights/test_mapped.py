"""Pages of mapped files are given back, and nobody else's."""

import numpy as np
import pytest

from model.config import CheckpointError
from model.weights.mapped import MappedFiles


def test_values_are_there_after_they_were_released(tmp_path):
    path = tmp_path / "numbers"
    values = np.arange(5000, dtype=np.float32)
    path.write_bytes(b"head" + values.tobytes())
    files = MappedFiles([path, path])
    array = files.array(path, 4, (100, 50), np.dtype(np.float32))
    for view in (array[3:7], array[:, 1].T, array[:0], array):
        files.release(view)
    np.testing.assert_array_equal(array.reshape(-1), values)
    assert not array.flags.writeable


def test_arrays_elsewhere_are_left(tmp_path):
    """Wherever the one lies in memory, before the other or behind it."""
    found = []
    for name, size in (("small", 1), ("large", 3 << 20)):
        (tmp_path / name).write_bytes(bytes([7]) * size)
        files = MappedFiles([tmp_path / name])
        found.append((files, files.array(tmp_path / name, 0, (size,), np.dtype(np.uint8))))
    (first, one), (second, other) = found
    for view in (one, other, np.full(1 << 20, 7, np.uint8)):
        first.release(view)
        second.release(view)
        assert view.min() == view.max() == 7


def test_what_cannot_be_mapped(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    for name in ("empty", "none"):
        with pytest.raises(CheckpointError, match="cannot be mapped into memory"):
            MappedFiles([tmp_path / name])
