"""A store whose matrices in few bits are read as matrices of float32."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.config import CheckpointError
from model.weights.quantized.matrices import Module, Quantized, Scheme
from model.weights.tensors import OpenTensors, TensorInfo, TensorStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DequantizedTensor(TensorInfo):
    """A matrix that is made while it is read; its size is that of all that it is made of."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """See `TensorInfo`."""
        return np.dtype(np.float32)


class DequantizedStore:
    """The tensors of a quantized checkpoint under their names before it was quantized."""

    def __init__(self, directory: Path, store: TensorStore, scheme: Scheme) -> None:
        """Find each matrix's parts.

        Args:
            directory: the checkpoint, for messages.
            store: what is stored.
            scheme: how it is quantized.

        Raises:
            CheckpointError: the tensors are not those that the scheme needs.
        """
        self._store = store
        self._quantized: dict[str, Quantized] = {}
        self._listed: dict[str, TensorInfo] = {}
        for module in _modules(store.listed()):
            self._add(module, scheme)
        if not self._quantized:
            raise CheckpointError(
                f"{directory} says that its weights are quantized ({scheme.method}), and none of "
                "its tensors is; give the checkpoint as it was published"
            )
        for notice in scheme.notices:
            logger.info("%s asks for %s; they are kept in the model's own dtype", directory, notice)

    def _add(self, module: Module, scheme: Scheme) -> None:
        found = scheme.quantized(module, self._read)
        used = scheme.unread if found is None else scheme.unread | found.parts.keys()
        for suffix, tensor in module.tensors.items():
            if suffix not in used:
                self._listed[tensor.name] = tensor
        if found is None:
            return
        name = f"{module.name}.weight"
        first = next(iter(found.parts.values()))
        if name in self._listed:
            raise CheckpointError(
                f"{first.file} has {first.name} beside {name}, one of which is too much; give the "
                "checkpoint as it was published"
            )
        size = sum(part.size for part in found.parts.values())
        self._listed[name] = DequantizedTensor(name, first.file, first.kind, found.shape, size)
        self._quantized[name] = found

    def _read(self, tensor: TensorInfo) -> np.ndarray:
        return np.array(self._store.opened([tensor.name])[tensor.name])

    def listed(self) -> Mapping[str, TensorInfo]:
        """See `TensorStore`."""
        return self._listed

    def opened(self, names: Collection[str]) -> "DequantizedTensors":
        """See `TensorStore`."""
        made = {name: self._quantized[name] for name in names if name in self._quantized}
        plain = [name for name in names if name not in made]
        parts = [part.name for matrix in made.values() for part in matrix.parts.values()]
        return DequantizedTensors(self._store.opened([*plain, *parts]), made)


class DequantizedTensors:
    """Open tensors, of which some are made when they are asked for."""

    def __init__(self, tensors: OpenTensors, made: Mapping[str, Quantized]) -> None:
        self._tensors = tensors
        self._made = made

    def __getitem__(self, name: str) -> np.ndarray:
        """The tensor, read-only; one that was quantized takes memory of its own."""
        matrix = self._made.get(name)
        if matrix is None:
            return self._tensors[name]
        arrays = {suffix: self._tensors[part.name] for suffix, part in matrix.parts.items()}
        values = matrix.expand(arrays)
        for array in arrays.values():
            self._tensors.release(array)
        values.flags.writeable = False
        return values

    def release(self, view: np.ndarray) -> None:
        """See `OpenTensors`."""
        self._tensors.release(view)


def _modules(tensors: Mapping[str, TensorInfo]) -> list[Module]:
    """Tensors by what stands before the last dot of their names."""
    modules: dict[str, dict[str, TensorInfo]] = {}
    for name, tensor in tensors.items():
        module, _, suffix = name.rpartition(".")
        modules.setdefault(module, {})[suffix] = tensor
    return [Module(name, found) for name, found in modules.items()]
