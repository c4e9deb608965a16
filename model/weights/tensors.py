"""What the weights of a published checkpoint are read from, whatever they are stored as.

A store lists its tensors without reading their data, and gives those that are wanted as arrays.
Names and shapes are those of the family's hub checkpoint: a store whose files have others, or
hold numbers in few bits, makes the tensors that the family asks for.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np


@dataclass(frozen=True, slots=True)
class TensorInfo(ABC):
    """What is known of a tensor before it is read.

    Attributes:
        name: in the checkpoint.
        file: that holds it.
        kind: how its numbers are stored, as the format spells it.
        shape: its shape.
        size: bytes that it takes in the file.
    """

    name: str
    file: Path
    kind: str
    shape: tuple[int, ...]
    size: int

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the array that it is read as.

        Raises:
            CheckpointError: not one that we read.
        """


@runtime_checkable
class OpenTensors(Protocol):
    """Tensors that can be read, by name."""

    def __getitem__(self, name: str) -> np.ndarray:
        """The tensor, read-only."""
        ...

    def release(self, view: np.ndarray) -> None:
        """Give back the memory under an array, or a view of one; it can be read again."""
        ...


@runtime_checkable
class TensorStore(Protocol):
    """The tensors of a checkpoint, of whose data nothing has been read."""

    def listed(self) -> Mapping[str, TensorInfo]:
        """The tensors by name."""
        ...

    def opened(self, names: Collection[str]) -> OpenTensors:
        """Those of these names, to be read.

        Raises:
            CheckpointError: a file cannot be read.
        """
        ...
