"""Values out of a GGUF file's tensors: expanded, cut and joined.

Numbers in few bits are expanded to float32 by the format's own package, a band of rows at a time;
those in floats are given as they lie. Knows nothing of what tensors are for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gguf
import jax.numpy as jnp
import numpy as np

from model.weights.gguf_file import GgufTensor
from model.weights.mapped import MappedFiles

_Kinds = gguf.GGMLQuantizationType
_FLOATS: Mapping[gguf.GGMLQuantizationType, np.dtype[Any]] = {
    _Kinds.F32: np.dtype("float32"),
    _Kinds.F16: np.dtype("float16"),
    _Kinds.BF16: jnp.dtype("bfloat16"),
}
# Of float32 values: small beside a tensor, large beside what one call costs.
_BAND_VALUES = 4 << 20
# A block of MXFP4 is a scale's byte and sixteen of values, two to a byte.
MXFP4_BYTES = 17


@dataclass(frozen=True, slots=True)
class Part:
    """A tensor of a file, or one of those that are stacked in it.

    Attributes:
        tensor: that it is, or is in.
        shape: its shape.
        begin: position of its first byte in the file.
        size: bytes that it takes.
    """

    tensor: GgufTensor
    shape: tuple[int, ...]
    begin: int
    size: int

    @classmethod
    def whole(cls, tensor: GgufTensor) -> "Part":
        """All of a tensor."""
        return cls(tensor, tensor.shape, tensor.begin, tensor.size)

    def one(self, index: int) -> "Part":
        """What stands at `index` of the first axis."""
        size = self.size // self.shape[0]
        return replace(self, shape=self.shape[1:], begin=self.begin + index * size, size=size)

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The dtype that it is read as; None for numbers that are not read."""
        kind = self.tensor.kind
        if kind in _FLOATS:
            return _FLOATS[kind]
        try:
            gguf.dequantize(np.zeros((1, gguf.GGML_QUANT_SIZES[kind][1]), np.uint8), kind)
        except NotImplementedError:
            return None
        return np.dtype("float32")

    @property
    def in_mxfp4(self) -> bool:
        """Whether its numbers have four bits, with a power of two for 32 of them."""
        return self.tensor.kind == _Kinds.MXFP4

    def values(self, files: MappedFiles) -> np.ndarray:
        """Its values, over the file or expanded."""
        kind = self.tensor.kind
        if kind in _FLOATS:
            return files.array(self.tensor.file, self.begin, self.shape, _FLOATS[kind])
        block_values, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        columns = self.shape[-1]
        raw = self._bytes(files).reshape(-1, columns // block_values * block_bytes)
        expanded = np.empty((len(raw), columns), np.float32)
        step = max(1, _BAND_VALUES // columns)
        for row in range(0, len(raw), step):
            band = raw[row : row + step]
            expanded[row : row + step] = gguf.dequantize(band, kind)
            files.release(band)
        return expanded.reshape(self.shape)

    def mxfp4(self, files: MappedFiles) -> np.ndarray:
        """Its blocks on an axis more: [..., columns / 32, 17], over the file."""
        return self._bytes(files).reshape(*self.shape[:-1], -1, MXFP4_BYTES)

    def _bytes(self, files: MappedFiles) -> np.ndarray:
        return files.array(self.tensor.file, self.begin, (self.size,), np.dtype(np.uint8))


def common_dtype(parts: Sequence[Part]) -> np.dtype[Any] | None:
    """The dtype that holds the values of all parts; None if one is not read."""
    dtypes = {part.dtype for part in parts}
    return dtypes.pop() if len(dtypes) == 1 or None in dtypes else np.dtype("float32")


def in_halves(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of query or key projections in the order of hubs: [heads · H, ...].

    Of each head llama.cpp has the rows of the two halves in turn.
    """
    turns = rows.reshape(heads, rows.shape[0] // heads // 2, 2, *rows.shape[1:])
    return turns.swapaxes(1, 2).reshape(rows.shape)


def in_turn(arrays: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """Arrays of one shape as one, whose entries on `axis` are of each in turn."""
    first = arrays[0]
    shape = list(first.shape)
    shape[axis] *= len(arrays)
    return np.stack(arrays, axis + 1).reshape(shape)


def in_pairs(blocks: np.ndarray) -> np.ndarray:
    """The sixteen bytes of values of MXFP4 blocks, with neighbours in one byte as hubs have them.

    In GGUF the lower halves of the bytes are the first sixteen values.
    """
    values = np.concatenate([blocks & 15, blocks >> 4], axis=-1)
    return values[..., ::2] | values[..., 1::2] << 4
