"""Adapters as PEFT saves them: `adapter_config.json`, and A and B of each module that is changed.

A directory is opened by its configuration and its file's header; which modules it changes is told
by the tensors, so that every way to choose them is read alike. What an adapter could hold that is
not B·A of a projection is refused by name. Knows nothing of requests, nor of how adapters run.
"""

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Float

from model.adapters import RANKS, adapter_rank
from model.config import AdapterShape, CheckpointError, ModelConfig, read_json
from model.families.keys import ConfigKeys
from model.families.registry import Family
from model.foreign import ADAPTER_CONFIG
from model.layout import Layout, layout_of
from model.mesh import sharding, spread
from model.parameters import Parameters, ParameterSpec, adapter_specs
from model.weights.safetensors import FileTensor, MappedTensors, read_header

logger = logging.getLogger(__name__)

WEIGHTS = "adapter_model.safetensors"
_TENSOR = re.compile(r"base_model\.model\.(.+)\.lora_(A|B)\.weight")
# What our products are, in the order in which a fused module has them.
_PROJECTIONS: Mapping[str, tuple[str, ...]] = {
    "attention.qkv": ("q", "k", "v"),
    "attention.out": ("o",),
    "mlp.gate_up": ("gate", "up"),
    "mlp.down": ("down",),
}
# Of training, or of choosing modules, which the tensors tell.
_IDLE = (
    *("auto_mapping", "inference_mode", "peft_version", "revision", "task_type"),
    *("exclude_modules", "layers_pattern", "layers_to_transform", "target_modules"),
    *("ensure_weight_tying", "eva_config", "lora_dropout", "megatron_core", "qalora_group_size"),
    # A linear module stores its matrix one way only; PEFT takes it back for those.
    "fan_in_fan_out",
)
_REQUIRED: Mapping[str, list[Any]] = {
    "peft_type": ["LORA"],
    "use_dora": [False, None],
    "bias": ["none", None],
    "lora_bias": [False, None],
    "modules_to_save": [None, []],
    "trainable_token_indices": [None, []],
    "target_parameters": [None, []],
    "layer_replication": [None, []],
    "loftq_config": [{}, None],
}
_Number = TypeVar("_Number", int, float)
# Ways to begin that take something out of the model's own weights.
_CHANGES_THE_MODEL = re.compile(r"pissa.*|corda.*|olora|loftq|lora_ga", re.IGNORECASE)


class AdapterConfig(NamedTuple):
    """What an adapter's configuration says of the numbers.

    Attributes:
        base: the model that it was made for; empty if it does not say.
        rank: of modules that no pattern names.
        alpha: of modules that no pattern names.
        ranks: pattern of a module's name → its rank.
        alphas: pattern of a module's name → its alpha.
        by_root: factors are alpha/√rank, not alpha/rank (Kalajdzievski 2023).
    """

    base: str
    rank: int
    alpha: float
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    by_root: bool

    def rank_of(self, module: str) -> int:
        """The rank that a module is said to have."""
        return _by_pattern(self.ranks, module, self.rank)

    def factor_of(self, module: str) -> float:
        """What B·A of a module is multiplied with."""
        rank = self.rank_of(module)
        divisor = math.sqrt(rank) if self.by_root else rank
        return _by_pattern(self.alphas, module, self.alpha) / divisor


def _by_pattern(values: Mapping[str, _Number], module: str, default: _Number) -> _Number:
    # As PEFT finds them: the first that matches the end of the name, from a dot on.
    found = (value for key, value in values.items() if re.match(rf"(.*\.)?({key})$", module))
    return next(found, default)


def read_adapter_config(path: Path) -> AdapterConfig:
    """The configuration in a file.

    Raises:
        CheckpointError: it cannot be read, or asks for something that is not supported.
    """
    keys = ConfigKeys(read_json(path), str(path))
    for key, allowed in _REQUIRED.items():
        keys.require(key, allowed)
    keys.ignore(*_IDLE)
    begun = keys.take("init_lora_weights", object, None)
    if isinstance(begun, str) and _CHANGES_THE_MODEL.fullmatch(begun):
        raise CheckpointError(
            f"{path} has init_lora_weights: {begun!r}, which changes the model's own weights "
            "besides; save the adapter for the unchanged model (PEFT's save_pretrained with "
            "path_initial_model_for_weight_conversion)"
        )
    config = AdapterConfig(
        keys.take("base_model_name_or_path", str, ""),
        keys.positive("r", int),
        keys.take("lora_alpha", float),
        _patterns(keys, path, "rank_pattern", int),
        _patterns(keys, path, "alpha_pattern", float),
        keys.take("use_rslora", bool, False),
    )
    keys.finish()
    return config


def _patterns(keys: ConfigKeys, path: Path, key: str, kind: type) -> dict[str, Any]:
    given: Mapping[str, Any] = keys.take(key, dict, {})
    within = ConfigKeys(given, f"{path} {key}")
    values: dict[str, Any] = {}
    for pattern in given:
        try:
            re.compile(pattern)
        except re.error as error:
            raise CheckpointError(
                f"{path} has {key} for {pattern!r}, which is no regular expression ({error})"
            ) from error
        positive = kind is int
        values[pattern] = (within.positive if positive else within.take)(pattern, kind)
    return values


# A projection of one block.
_Spot = tuple[int, str]


class _Module(NamedTuple):
    """A module of the published model that adapters may change.

    Attributes:
        inputs: columns of its matrix.
        rows: those of its matrix that are each projection's.
    """

    inputs: int
    rows: Mapping[_Spot, slice]

    @property
    def outputs(self) -> int:
        """Rows of its matrix."""
        return max(rows.stop for rows in self.rows.values())


def _modules(family: Family, config: ModelConfig) -> dict[str, _Module]:
    """The modules that adapters may change, by name; a mixture of experts has none."""
    embed, ffn = config.embed_dim, config.ffn_dim
    queries, keys = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    outputs: dict[str, int] = {"q": queries, "k": keys, "v": keys, "o": embed}
    outputs |= {"gate": ffn, "up": ffn, "down": embed}
    inputs: dict[str, int] = {"o": queries, "down": ffn}
    found: dict[str, _Module] = {}
    for name, stored in family.weights(config).items():
        match name.split(".", 2):
            case ["blocks", number, product] if product in _PROJECTIONS:
                block, projections = int(number), _PROJECTIONS[product]
            case _:
                continue
        if product.startswith("mlp.") and config.layers[block].experts:
            continue
        # Each projection has a module of its own, or one has them all.
        parts = [projections] if len(stored.tensors) == 1 else [(each,) for each in projections]
        for tensor, within in zip(stored.tensors, parts, strict=True):
            ends = list(accumulate(outputs[each] for each in within))
            rows = {
                (block, each): slice(end - outputs[each], end)
                for each, end in zip(within, ends, strict=True)
            }
            module = tensor.removesuffix(".weight")
            found[module] = _Module(inputs.get(within[0], embed), rows)
    return found


@dataclass(frozen=True, slots=True)
class OpenedAdapter:
    """One adapter, found to fit the model; no value has been read.

    Attributes:
        directory: that it is in.
        config: see `AdapterConfig`.
        tensors: by name.
        changes: the projections that it changes: the module that each is of, and its rows there.
    """

    directory: Path
    config: AdapterConfig
    tensors: Mapping[str, FileTensor]
    changes: Mapping[_Spot, tuple[str, slice]]

    @property
    def rank(self) -> int:
        """The largest of its modules' ranks."""
        return max(self.config.rank_of(module) for module, _ in self.changes.values())

    def a(self, spot: _Spot) -> Float[np.ndarray, "r i"] | None:
        """A of a projection; None where it changes nothing."""
        return self._read(self.changes[spot][0], "A") if spot in self.changes else None

    def b(self, spot: _Spot) -> Float[np.ndarray, "o r"] | None:
        """B of a projection with its factor; None where it changes nothing."""
        if spot not in self.changes:
            return None
        module, rows = self.changes[spot]
        return self._read(module, "B")[rows] * np.float32(self.config.factor_of(module))

    def _read(self, module: str, matrix: str) -> Float[np.ndarray, "rows columns"]:
        name = _tensor_name(module, matrix)
        values = MappedTensors({name: self.tensors[name]})[name].astype(np.float32)
        if not np.isfinite(values).all():
            raise CheckpointError(
                f"{self.directory / WEIGHTS} has values in {name} that are not finite; give an "
                "adapter without such values"
            )
        return values


def _tensor_name(module: str, matrix: str) -> str:
    return f"base_model.model.{module}.lora_{matrix}.weight"


def open_adapter(directory: Path, family: Family, config: ModelConfig) -> OpenedAdapter:
    """Open an adapter's directory.

    Args:
        directory: the adapter.
        family: of the model that it is to change.
        config: that model, as published.

    Raises:
        CheckpointError: it is no adapter that can be served, or none of this model.
    """
    path = directory / WEIGHTS
    if not directory.is_dir():
        raise CheckpointError(
            f"the adapter {directory} is not a directory; give one as PEFT's "
            "save_pretrained writes it"
        )
    said = read_adapter_config(directory / ADAPTER_CONFIG)
    if not path.exists() and (pickled := path.with_suffix(".bin")).exists():
        raise CheckpointError(
            f"{pickled} is of pickles, which are not read; load the adapter with PEFT and "
            "save_pretrained it as safetensors"
        )
    tensors = read_header(path)
    modules = _modules(family, config)
    changed: dict[str, None] = {}
    for name, tensor in tensors.items():
        found = _TENSOR.fullmatch(name)
        if found is None or found[1] not in modules:
            kinds = dict.fromkeys(module.rpartition(".")[2] for module in modules)
            raise CheckpointError(
                f"{path} has the tensor {name}, and adapters can only be matrices A and B of a "
                f"layer's {', '.join(kinds)}; give an adapter of these"
            )
        if not jnp.issubdtype(tensor.dtype, jnp.floating):
            raise CheckpointError(
                f"{path} has {name} as {tensor.kind}; give an adapter whose matrices are BF16, F16 "
                "or F32"
            )
        changed[found[1]] = None
    if not changed:
        raise CheckpointError(f"{path} has no tensors, so that the adapter changes nothing")
    for module in changed:
        _check_shapes(path, said, module, modules[module], tensors)
    changes = {
        spot: (module, rows) for module in changed for spot, rows in modules[module].rows.items()
    }
    return OpenedAdapter(directory, said, tensors, changes)


def _check_shapes(
    path: Path,
    said: AdapterConfig,
    name: str,
    module: _Module,
    tensors: Mapping[str, FileTensor],
) -> None:
    """Hold a module's matrices to the configuration and to the model.

    Raises:
        CheckpointError: they are of other shapes, or one is missing.
    """
    rank = said.rank_of(name)
    if rank > RANKS[-1]:
        raise CheckpointError(
            f"{path} has rank {rank} in {name}; at most {RANKS[-1]} is served: merge the adapter "
            "into its model (PEFT's merge_and_unload), and give the result as the model"
        )
    for matrix, shape in (("A", (rank, module.inputs)), ("B", (module.outputs, rank))):
        tensor = tensors.get(_tensor_name(name, matrix))
        if tensor is None:
            raise CheckpointError(
                f"{path} lacks {_tensor_name(name, matrix)}; give the whole adapter"
            )
        if tensor.shape != shape:
            base = f"; it was made for {said.base}" if said.base else ""
            raise CheckpointError(
                f"{path} has {tensor.name} of shape {tensor.shape}, and with rank {rank} this "
                f"model needs {shape}{base}: give an adapter of this model"
            )


class OpenedAdapters:
    """All adapters of a server, found to fit the model; no value has been read.

    Attributes:
        names: theirs; an adapter's number is its place here.
        shape: of what holds them.
    """

    def __init__(
        self, directories: Mapping[str, Path], model: Path, family: Family, config: ModelConfig
    ) -> None:
        """Open them.

        Args:
            directories: of the adapters by name, at least one.
            model: the model's directory.
            family: the model's.
            config: the model as published.

        Raises:
            CheckpointError: see `open_adapter`.
        """
        self.names = tuple(directories)
        self._opened = [open_adapter(each, family, config) for each in directories.values()]
        for name, opened in zip(self.names, self._opened, strict=True):
            _warn_of_another_base(name, opened.config.base, model)
        projections = {spot[1]: None for opened in self._opened for spot in opened.changes}
        rank = adapter_rank(max(opened.rank for opened in self._opened))
        self.shape = AdapterShape(len(self.names), rank, tuple(projections))
        self._published = adapter_specs(replace(config, adapters=self.shape))

    def load(self, dtype: jnp.dtype, mesh: Mesh, held: ModelConfig) -> Parameters:
        """Read them.

        Args:
            dtype: to hold them in.
            mesh: to put them on.
            held: the model as that mesh holds it.

        Raises:
            CheckpointError: a file cannot be read, or holds what is not finite.
        """
        specs = adapter_specs(replace(held, adapters=self.shape))
        parameters: Parameters = {}
        for name, spec in self._published.items():
            values = self._stacked(name, spec)
            whole = jax.make_array_from_callback(
                values.shape, spread(mesh, values.shape), partial(np.ndarray.__getitem__, values)
            )
            place = sharding(mesh, specs[name].axes)
            parameters[name] = _laid_out(layout_of(held, spec), dtype, place, whole)
        return parameters

    def _stacked(self, name: str, spec: ParameterSpec) -> Float[np.ndarray, "..."]:
        """A parameter of the decoder as published, float32."""
        _, block, _, projection, matrix = name.split(".")
        values = np.zeros(spec.shape, np.float32)
        for number, opened in enumerate(self._opened):
            spot = int(block), projection
            first = number * self.shape.rank
            if matrix == "a" and (a := opened.a(spot)) is not None:
                rank = len(a)
                values[..., first : first + rank] = a.T.reshape(*spec.shape[:-1], rank)
            if matrix == "b" and (b := opened.b(spot)) is not None:
                rank = b.shape[1]
                values[first : first + rank] = b.T.reshape(rank, *spec.shape[1:])
        return values


@partial(jax.jit, static_argnums=(0, 1, 2))
def _laid_out(
    layout: Layout, dtype: jnp.dtype, place: NamedSharding, values: Float[Array, "..."]
) -> Float[Array, "..."]:
    return jax.lax.with_sharding_constraint(layout(values).astype(dtype), place)


def _warn_of_another_base(name: str, base: str, model: Path) -> None:
    """Tell of an adapter that names another model than the one that it is to change."""
    wanted = base.rstrip("/").rpartition("/")[2].lower()
    # The hub's cache has the model's name two folders above.
    if wanted and not any(part.lower().endswith(wanted) for part in model.resolve().parts):
        logger.warning(
            "the adapter %s was made for the model %s, and is served with %s, which it fits",
            name,
            base,
            model,
        )
