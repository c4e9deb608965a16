"""The tensors of a GGUF file, given under the names of the family's hub checkpoint.

llama.cpp's converter names tensors anew and changes some: it permutes the rows of Llama's query
and key projections, since it rotates neighbours where hubs' checkpoints rotate halves; adds one to
Gemma's norms; stacks the experts of a layer; parts gpt-oss' gate and up projections. Here each is
made again as it was published, from the rows that it needs.
Source: llama.cpp, `convert_hf_to_gguf.py`; names by the format's own package.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gguf
import numpy as np

from model.config import CheckpointError, ModelConfig
from model.families.registry import Family
from model.families.stored import Stored
from model.weights.gguf_file import Gguf
from model.weights.gguf_parts import (
    MXFP4_BYTES,
    Part,
    common_dtype,
    in_halves,
    in_pairs,
    in_turn,
)
from model.weights.mapped import MappedFiles
from model.weights.tensors import TensorInfo

# What the config has, and what follows from it.
_OF_CONFIG = re.compile(
    r"rope_freqs\.weight|rope_factors_(long|short)\.weight|blk\.\d+\.attn_rot_embd\.weight"
)
_EXPERT = re.compile(r"(?P<stack>.+\.experts)\.(?P<number>\d+)\.(?P<name>.+)")
_JOINT_EXPERTS = re.compile(
    r"(?P<stack>.+\.mlp\.experts)\.(?P<which>gate_up|down)_proj_?(?P<what>blocks|scales|bias|)"
)
_ROTATED = re.compile(r".+\.self_attn\.(?P<which>[qk])_proj\.(weight|bias)")
_SUFFIXES = (".weight", ".bias")

Read = Callable[[MappedFiles], np.ndarray]


@dataclass(frozen=True, slots=True)
class HubTensor(TensorInfo):
    """A tensor as the hub's checkpoint has it.

    Attributes:
        made: the dtype of what `read` makes; None for numbers that are not read.
        read: makes it from the mapped files.
    """

    made: np.dtype[Any] | None
    read: Read

    @property
    def dtype(self) -> np.dtype[Any]:
        """See `TensorInfo`."""
        if self.made is None:
            raise CheckpointError(
                f"{self.file} has {self.name} as {self.kind}, which is not read; give the model in "
                "another quantization, like Q8_0 or BF16"
            )
        return self.made


class GgufStore:
    """A GGUF file as a `TensorStore`.

    Args:
        source: the file, read.
        family: whose names to list.
        config: the decoder as published.
    """

    def __init__(self, source: Gguf, family: Family, config: ModelConfig) -> None:
        self._source = source
        self._config = config
        self._architecture: str = source.metadata["general.architecture"]
        numbers = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}
        self._names = gguf.get_tensor_name_map(numbers[self._architecture], config.num_layers)
        self._used: set[str] = set()
        wanted = _names(family.weights(config).values())
        found = {name: made for name in wanted if (made := self._made(name)) is not None}
        rest = {
            name: _as_it_is(name, Part.whole(tensor))
            for name, tensor in source.tensors.items()
            if name not in self._used and not _OF_CONFIG.fullmatch(name)
        }
        self._tensors = found | rest

    def listed(self) -> Mapping[str, HubTensor]:
        """See `TensorStore`; what the family does not ask for is under its name in the file."""
        return self._tensors

    def opened(self, names: Collection[str]) -> "OpenGguf":
        """See `TensorStore`."""
        tensors = {name: self._tensors[name] for name in names}
        return OpenGguf(tensors, MappedFiles(self._source.files))

    def _made(self, name: str) -> HubTensor | None:
        """How the hub's tensor is made, if the file has what it is made of.

        What has not the shape that it should is given as it is, and so found not to fit.
        """
        if joint := _JOINT_EXPERTS.fullmatch(name):
            return self._joint_experts(name, **joint.groupdict())
        if expert := _EXPERT.fullmatch(name):
            stack = self._part(f"{expert['stack']}.{expert['name']}")
            if stack is None:
                return None
            experts = self._config.experts
            whole = experts is not None and stack.shape[0] == experts.count
            return _as_it_is(name, stack.one(int(expert["number"])) if whole else stack)
        part = self._part(name)
        if part is None:
            return None
        if self._architecture == "llama" and (rotated := _ROTATED.fullmatch(name)):
            config = self._config
            heads = config.num_heads if rotated["which"] == "q" else config.num_kv_heads
            if part.shape[0] % (2 * heads) == 0:
                return _tensor(name, [part], lambda files: in_halves(part.values(files), heads))
        if self._config.norm_offset and name.endswith("norm.weight"):
            offset = np.float32(self._config.norm_offset)
            return _tensor(
                name,
                [part],
                lambda files: part.values(files).astype(np.float32) - offset,
                dtype=None if part.dtype is None else np.dtype(np.float32),
            )
        return _as_it_is(name, part)

    def _joint_experts(self, name: str, stack: str, which: str, what: str) -> HubTensor | None:
        """gpt-oss' experts, which hubs keep together: values, biases, or four-bit blocks.

        A gate and an up projection are one there, whose outputs are of the two in turn.
        """
        suffix = ".bias" if what == "bias" else ".weight"
        names = ["gate_proj", "up_proj"] if which == "gate_up" else ["down_proj"]
        found = [self._part(f"{stack}.{member}{suffix}") for member in names]
        parts = [part for part in found if part is not None]
        if len(parts) < len(names):
            return None
        *outer, rows, columns = parts[0].shape
        if len({part.shape for part in parts}) > 1 or len(outer) != (what != "bias"):
            return _as_it_is(name, parts[0])
        if what == "bias":
            shape = (rows, len(parts) * columns)
            return _tensor(name, parts, lambda files: in_turn(_values(parts, files), 1), shape)
        rows *= len(parts)
        in_blocks = all(part.in_mxfp4 for part in parts)
        if in_blocks != (what != ""):
            return None
        if not in_blocks:
            return _tensor(
                name,
                parts,
                lambda files: in_turn(_values(parts, files), 1).swapaxes(1, 2),
                (*outer, columns, rows),
            )
        blocks = (*outer, rows, columns // 32)
        of_blocks = MXFP4_BYTES - 1
        if what == "scales":
            return _tensor(
                name,
                parts,
                lambda files: in_turn([part.mxfp4(files)[..., 0] for part in parts], 1),
                blocks,
                np.dtype(np.uint8),
                (1, MXFP4_BYTES),
            )
        return _tensor(
            name,
            parts,
            lambda files: in_turn([in_pairs(part.mxfp4(files)[..., 1:]) for part in parts], 1),
            (*blocks, of_blocks),
            np.dtype(np.uint8),
            (of_blocks, MXFP4_BYTES),
        )

    def _part(self, name: str) -> Part | None:
        """What the file has for a hub name."""
        there = self._names.get_name(name, _SUFFIXES)
        if there is None:
            return None
        if not there.endswith(_SUFFIXES):
            there += ".weight"
        if there not in self._source.tensors:
            return None
        self._used.add(there)
        return Part.whole(self._source.tensors[there])


class OpenGguf:
    """Tensors that are made when they are asked for."""

    def __init__(self, tensors: Mapping[str, HubTensor], files: MappedFiles) -> None:
        self._tensors = tensors
        self._files = files

    def __getitem__(self, name: str) -> np.ndarray:
        """The tensor: over the mapped file where it lies there as it is, else in memory."""
        return self._tensors[name].read(self._files)

    def release(self, view: np.ndarray) -> None:
        """See `OpenTensors`."""
        self._files.release(view)


def _names(places: Iterable[Stored]) -> Iterator[str]:
    """All names that parameters may come from."""
    for place in places:
        yield from place.tensors
        if place.otherwise is not None:
            yield from _names([place.otherwise])


def _values(parts: Sequence[Part], files: MappedFiles) -> list[np.ndarray]:
    return [part.values(files) for part in parts]


def _as_it_is(name: str, part: Part) -> HubTensor:
    return _tensor(name, [part], part.values)


def _tensor(
    name: str,
    parts: Sequence[Part],
    read: Read,
    shape: tuple[int, ...] | None = None,
    dtype: np.dtype[Any] | None = None,
    share: tuple[int, int] = (1, 1),
) -> HubTensor:
    """A tensor that is made of these parts, of their common dtype unless told otherwise.

    `share` is how much of the parts' bytes it takes.
    """
    stored = parts[0].tensor
    size = sum(part.size for part in parts) * share[0] // share[1]
    return HubTensor(
        name,
        stored.file,
        stored.kind.name,
        parts[0].shape if shape is None else shape,
        size,
        common_dtype(parts) if dtype is None else dtype,
        read,
    )
