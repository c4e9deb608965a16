"""compressed-tensors, as llm-compressor and vLLM's project publish it.

A config has groups of modules, each with how its weights and its activations are quantized. Codes
are 8-bit floats (E4M3) or integers under `weight`, or integers packed into words of 32 bits under
`weight_packed`; scales and zero points are for whole matrices, rows, groups of columns or blocks.
The reference is the package of the same name.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from model.config import CheckpointError
from model.families.keys import ConfigKeys
from model.weights.quantized.gptq import checked_order
from model.weights.quantized.matrices import (
    SCALES,
    Module,
    Quantized,
    dequantized,
    grid_shape,
    scale_shapes,
    unpacked,
)
from model.weights.tensors import TensorInfo

PACKED, INTEGERS, FLOATS = "pack-quantized", "int-quantized", "float-quantized"
# One name for both of the latter two, and what stands above groups of several formats.
_EITHER, _MIXED = "naive-quantized", "mixed-precision"
_STRATEGIES = ("tensor", "channel", "group", "block")
_CODES = {INTEGERS: "I8", FLOATS: "F8_E4M3"}
# Of activations and of the cache.
_UNREAD = frozenset(
    f"{what}_{number}"
    for what in ("input", "output", "q", "k", "v")
    for number in ("scale", "zero_point")
)


@dataclass(frozen=True, slots=True)
class Group:
    """Modules that are quantized alike.

    Attributes:
        targets: names of modules, `re:` and a pattern for names, or a class of modules.
        layout: `PACKED`, `INTEGERS` or `FLOATS`.
        bits: of a code.
        symmetric: there are no zero points.
        block: rows and columns that share a scale; 0 for all there are.
    """

    targets: tuple[str, ...]
    layout: str
    bits: int
    symmetric: bool
    block: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Compressed:
    """See the module and `Scheme`.

    Attributes:
        source: what says so, for messages.
        groups: see `Group`.
        ignored: modules that are left as they are, in the words of `Group.targets`.
    """

    source: str
    groups: tuple[Group, ...]
    ignored: tuple[str, ...]
    notices: tuple[str, ...]
    method: str = "compressed-tensors"
    unread: frozenset[str] = _UNREAD

    def quantized(
        self, module: Module, read: Callable[[TensorInfo], np.ndarray]
    ) -> Quantized | None:
        """See `Scheme`."""
        if "weight_packed" not in module.tensors and (
            "weight" not in module.tensors or module.tensors["weight"].kind not in _CODES.values()
        ):
            return None
        group = self._group(module)
        if group.layout == PACKED:
            return _packed(module, group, read)
        return _plain(module, group)

    def _group(self, module: Module) -> Group:
        """The group of a module; its name says more than a pattern, and that more than a class."""
        for target in self.ignored:
            if _names(target, module.name):
                raise CheckpointError(
                    f"{self.source} says that {module.name} is not quantized ({target}), and its "
                    f"tensors are ({', '.join(sorted(module.tensors))}); give the config.json "
                    "that belongs to the checkpoint"
                )
        targets = [(target, group) for group in self.groups for target in group.targets]
        for exact in (True, False):
            for target, group in targets:
                if target.startswith("re:") != exact and _names(target, module.name):
                    return group
        for target, group in targets:
            if target == "Linear":
                return group
        raise CheckpointError(
            f"{self.source} has no group for {module.name}, which is quantized "
            f"({', '.join(sorted(module.tensors))}); give the config.json that belongs to the "
            "checkpoint"
        )


def _names(target: str, module: str) -> bool:
    if target.startswith("re:"):
        return re.match(target.removeprefix("re:"), module) is not None
    return target == module


def _block(group: Group, shape: tuple[int, int]) -> tuple[int, int]:
    return group.block[0] or shape[0], group.block[1] or shape[1]


def _packed(module: Module, group: Group, read: Callable[[TensorInfo], np.ndarray]) -> Quantized:
    each = 32 // group.bits
    said = module.part("weight_shape", ("I64", "I32"), (2,))
    rows, columns = (int(side) for side in read(said))
    weight = module.part("weight_packed", ("I32",), (rows, -(-columns // each)), rank=2)
    shape = (rows, columns)
    block = _block(group, shape)
    down, across = grid_shape(shape, block)
    parts = {
        "weight_shape": said,
        "weight_packed": weight,
        "weight_scale": module.part("weight_scale", SCALES, *scale_shapes(shape, block)),
    }
    if not group.symmetric:
        words = (-(-down // each), across)
        parts["weight_zero_point"] = module.part("weight_zero_point", ("I32",), words)
    if "weight_g_idx" in module.tensors:
        parts["weight_g_idx"] = module.part("weight_g_idx", ("I32",), (columns,))

    def expand(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        # Codes and zero points are both stored with the middle of their range added.
        zeros: np.ndarray | float = float(2 ** (group.bits - 1))
        if not group.symmetric:
            zeros = unpacked(arrays["weight_zero_point"].T, group.bits)[:, :down].T
        order = arrays.get("weight_g_idx")
        if order is not None and -1 in order:
            # As it is made, before an order is put in.
            order = None
        if order is not None:
            order = checked_order(f"{module.name}.weight_g_idx", order, across)
        codes = unpacked(arrays["weight_packed"], group.bits)[:, :columns]
        return dequantized(codes, arrays["weight_scale"], zeros, block, order)

    return Quantized(shape, parts, expand)


def _plain(module: Module, group: Group) -> Quantized:
    kind = _CODES[group.layout]
    weight = module.part("weight", (kind,), rank=2)
    shape = (weight.shape[0], weight.shape[1])
    block = _block(group, shape)
    shapes = scale_shapes(shape, block)
    parts = {"weight": weight, "weight_scale": module.part("weight_scale", SCALES, *shapes)}
    # Those of symmetric codes are zeros, where they are stored at all.
    if not group.symmetric or "weight_zero_point" in module.tensors:
        parts["weight_zero_point"] = module.part("weight_zero_point", (kind,), *shapes)

    def expand(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        return dequantized(
            arrays["weight"], arrays["weight_scale"], arrays.get("weight_zero_point"), block
        )

    return Quantized(shape, parts, expand)


def compressed_scheme(config: Mapping[str, Any], source: str) -> Compressed:
    """The scheme that a config describes.

    Raises:
        CheckpointError: a key is unknown, or has a value that is not read.
    """
    keys = ConfigKeys(config, source)
    # The second is what the method was called by at first.
    keys.require("quant_method", ["compressed-tensors", "sparseml"])
    keys.require("quantization_status", ["compressed", "frozen"])
    keys.ignore("global_compression_ratio", "version")
    # Rotations of activations, and experts that were left out.
    keys.require("transform_config", [{}, None])
    keys.require("moe_sparsity_config", [None])
    _require_dense(keys)
    layout = keys.take("format", str, _MIXED)
    ignored = _strings(keys, "ignore")
    cache = keys.nested("kv_cache_scheme")
    notices = [] if cache is None else [f"a cache in {_read_numbers(cache)}"]
    groups: list[Group] = []
    named = keys.nested("config_groups")
    for name in keys.take("config_groups", dict):
        inside = None if named is None else named.nested(name)
        group = None if inside is None else _read_group(inside, layout, notices)
        if group is not None:
            groups.append(group)
    if named is not None:
        named.finish()
    keys.finish()
    return Compressed(source, tuple(groups), ignored, tuple(dict.fromkeys(notices)))


def _require_dense(keys: ConfigKeys) -> None:
    sparsity = keys.nested("sparsity_config")
    if sparsity is not None:
        sparsity.require("format", ["dense"])
        sparsity.ignore(
            "global_sparsity",
            "ignore",
            "registry_requires_subclass",
            "sparsity_structure",
            "targets",
        )
        sparsity.finish()


def _read_group(keys: ConfigKeys, layout: str, notices: list[str]) -> Group | None:
    """A group, or None where no weights are quantized."""
    for what in ("input_activations", "output_activations"):
        activations = keys.nested(what)
        if activations is not None:
            notices.append(f"activations in {_read_numbers(activations)}")
    weights = keys.nested("weights")
    if weights is None:
        keys.ignore("format", "targets")
        keys.finish()
        return None
    weights.require("dynamic", [False, None])
    weights.require("actorder", [None, False, "group", "weight", "static", "dynamic"])
    kind = weights.take("type", str, "int")
    layout = _read_layout(keys, layout, kind)
    bits = weights.take("num_bits", int, 8)
    weights.require("num_bits", [8] if layout == FLOATS else [4, 8, 2])
    symmetric = weights.take("symmetric", bool, True)
    if layout == FLOATS:
        weights.require("symmetric", [True])
    block = _read_block(weights)
    _finish_numbers(weights)
    targets = _strings(keys, "targets")
    keys.finish()
    return Group(targets, layout, bits, symmetric, block)


def _read_layout(keys: ConfigKeys, layout: str, kind: str) -> str:
    own = keys.take("format", str, layout)
    by_kind = {"int": (PACKED, INTEGERS, _EITHER), "float": (FLOATS, _EITHER)}
    if kind not in by_kind or own not in by_kind[kind]:
        raise CheckpointError(
            f"{keys.source} has weights of type {kind!r} in the format {own!r}, which is not "
            f"supported; supported: 'int' in {PACKED}, {INTEGERS} or {_EITHER}, 'float' of 8 bits "
            f"in {FLOATS} or {_EITHER}"
        )
    if own == _EITHER:
        return INTEGERS if kind == "int" else FLOATS
    return own


def _read_block(keys: ConfigKeys) -> tuple[int, int]:
    """Rows and columns that share a scale; 0 for all there are."""
    group_size = keys.take("group_size", int, 0)
    sides = keys.take("block_structure", list, [])
    implied = {0: "tensor", -1: "channel"}.get(group_size, "group")
    strategy = keys.take("strategy", str, implied)
    if strategy not in _STRATEGIES:
        keys.require("strategy", _STRATEGIES)
    if strategy == "group" and group_size < 1:
        raise CheckpointError(
            f"{keys.source} has group_size: {group_size}; with the strategy 'group' it must be "
            "above zero"
        )
    if strategy == "block":
        if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
            raise CheckpointError(
                f"{keys.source} has block_structure: {sides!r}; it must be two numbers above zero"
            )
        return sides[0], sides[1]
    return {"tensor": (0, 0), "channel": (1, 0), "group": (1, group_size)}[strategy]


def _read_numbers(keys: ConfigKeys) -> str:
    """What numbers are quantized to that are not weights, such as `float of 8 bits`."""
    kind, bits = keys.take("type", str, "int"), keys.take("num_bits", int, 8)
    keys.ignore(
        "actorder",
        "block_structure",
        "dynamic",
        "group_size",
        "strategy",
        "symmetric",
    )
    _finish_numbers(keys)
    return f"{kind} of {bits} bits"


def _finish_numbers(keys: ConfigKeys) -> None:
    # How scales were found, and how they are stored, which their tensors say.
    keys.ignore("observer", "observer_kwargs", "scale_dtype", "zp_dtype")
    keys.finish()


def _strings(keys: ConfigKeys, key: str) -> tuple[str, ...]:
    value = cast("list[Any]", keys.take(key, list, []))
    if not all(isinstance(entry, str) for entry in value):
        raise CheckpointError(f"{keys.source} has {key}: {value!r}; it must be a list of names")
    for entry in value:
        try:
            re.compile(entry.removeprefix("re:"))
        except re.error as error:
            raise CheckpointError(
                f"{keys.source} has {key}: {entry!r}, which is no pattern ({error})"
            ) from error
    return tuple(value)
