"""The device mesh, and the one table that maps logical axes onto it.

Parameters, caches and activations name logical axes (`axes.py`); nothing else in the house
spells a mesh axis. A step is traced under its mesh (`steps.compile_step`), which is where
`constrain` and `shards` find it; traced without one, everything lies on one device.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from model.axes import (
    COLUMNS,
    EMBED,
    EXPERT_FFN,
    EXPERTS,
    FFN,
    GATE_UP,
    HEAD_DIM,
    HEAD_GROUP,
    IMAGES,
    KEYS_VALUES,
    KV_HEADS,
    LAYERS,
    MELS,
    MERGED,
    PAGE,
    PAGES,
    PATCHES,
    PIXELS,
    POSITIONS,
    QKV_GROUP,
    ROUTES,
    ROWS,
    SCORES,
    TAPS,
    TOKENS,
    VOCAB,
    WITHIN_GROUP,
)
from model.config import ModelConfig

DATA = "data"
MODEL = "model"

RULES: dict[str, str | None] = {
    ROWS: DATA,
    VOCAB: MODEL,
    KV_HEADS: MODEL,
    FFN: MODEL,
    EXPERTS: MODEL,
    EXPERT_FFN: None,
    ROUTES: None,
    EMBED: None,
    GATE_UP: None,
    HEAD_GROUP: None,
    QKV_GROUP: None,
    HEAD_DIM: None,
    TOKENS: None,
    # Sampling goes by thresholds over the whole vocabulary.
    SCORES: None,
    # Any row may hold any page, so a pool cut by pages would be exchanged on every step.
    PAGES: None,
    PAGE: None,
    LAYERS: None,
    KEYS_VALUES: None,
    COLUMNS: None,
    WITHIN_GROUP: None,
    # An image is divided, for there is often one alone.
    IMAGES: None,
    PATCHES: DATA,
    PIXELS: None,
    POSITIONS: None,
    MERGED: None,
    MELS: None,
    TAPS: None,
}


class MeshError(ValueError):
    """A mesh that cannot be; the message says why, and which nearest ones can."""


class MeshShape(NamedTuple):
    """How many devices a mesh has along each of its axes."""

    data: int = 1
    model: int = 1

    @property
    def devices(self) -> int:
        """Devices in all."""
        return self.data * self.model

    def __str__(self) -> str:
        """As `--mesh` takes it."""
        return f"{DATA}={self.data},{MODEL}={self.model}"


def parse_mesh(text: str) -> MeshShape:
    """The shape that `data=2,model=4` stands for; an axis that is not named has one device.

    Raises:
        MeshError: the text does not name sizes of these axes.
    """
    sizes: dict[str, int] = {}
    for part in text.split(","):
        name, _, size = (piece.strip() for piece in part.partition("="))
        if name not in (DATA, MODEL) or name in sizes or not size.isdecimal() or int(size) < 1:
            raise MeshError(
                f"mesh is {text!r}; it must give how many devices each axis has, "
                f"like {MeshShape(2, 4)}"
            )
        sizes[name] = int(size)
    return MeshShape(sizes.get(DATA, 1), sizes.get(MODEL, 1))


def choose_mesh(config: ModelConfig, devices: int, wanted: MeshShape | None = None) -> MeshShape:
    """The wanted mesh if the decoder and the devices allow it; without one, the best of all.

    The best uses every device, as many of them on `model` as the decoder allows.

    Raises:
        MeshError: there are too few devices, or the decoder cannot be divided so.
    """
    if wanted is None:
        model = max(
            size
            for size in range(1, devices + 1)
            if devices % size == 0 and not obstacles(config, size)
        )
        return MeshShape(devices // model, model)
    reasons = obstacles(config, wanted.model)
    if wanted.devices > devices:
        reasons = (f"it needs {wanted.devices} devices and there are {devices}", *reasons)
    if reasons:
        raise MeshError(
            f"mesh is {wanted}, which cannot be: {'; '.join(reasons)}; "
            f"nearest ones that can: {' or '.join(_nearest(config, devices, wanted))}"
        )
    return wanted


def obstacles(config: ModelConfig, model: int) -> tuple[str, ...]:
    """Why this decoder cannot be divided among so many shards: a reason each, or none."""
    experts = [layer.experts for layer in config.layers]
    divided = [
        (config.num_heads, "query heads", True),
        (config.ffn_dim, "feed-forward units", not all(experts)),
        (0 if config.experts is None else config.experts.count, "experts", any(experts)),
    ]
    return tuple(
        f"model={model} does not divide {count} {noun}"
        for count, noun, used in divided
        if used and count % model
    )


def _nearest(config: ModelConfig, devices: int, wanted: MeshShape) -> list[str]:
    """Shapes that can be: with the next smaller and the next larger number of shards."""
    sizes = [size for size in range(1, devices + 1) if not obstacles(config, size)]
    smaller = [size for size in sizes if size <= wanted.model][-1:]
    larger = [size for size in sizes if size > wanted.model][:1]
    return [
        str(MeshShape(min(max(wanted.devices // size, 1), devices // size), size))
        for size in smaller + larger
    ]


def make_mesh(data: int = 1, model: int = 1, *, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh of the first `data` × `model` devices, of those there are or of those given.

    Raises:
        MeshError: there are fewer devices.
    """
    shape = MeshShape(data, model)
    available = jax.devices() if devices is None else list(devices)
    if shape.devices > len(available):
        raise MeshError(
            f"a mesh of {shape} needs {shape.devices} devices and there are "
            f"{len(available)}; choose sizes whose product is at most that"
        )
    return jax.make_mesh(
        shape, (DATA, MODEL), (AxisType.Auto,) * 2, devices=available[: shape.devices]
    )


def sharding(mesh: Mesh, axes: Sequence[str]) -> NamedSharding:
    """How an array with these logical axes lies on the mesh.

    Raises:
        ValueError: two of its axes map to the same mesh axis.
    """
    return NamedSharding(mesh, _spec(axes))


def _spec(axes: Sequence[str]) -> PartitionSpec:
    spec = [RULES[axis] for axis in axes]
    used = [axis for axis in spec if axis is not None]
    if len(used) != len(set(used)):
        raise ValueError(f"axes {tuple(axes)} would use a mesh axis twice: {spec}")
    return PartitionSpec(*spec)


def replicated(mesh: Mesh) -> NamedSharding:
    """The same whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def spread(mesh: Mesh, shape: Sequence[int]) -> NamedSharding:
    """An array in equal parts along the first axis that all devices divide, if there is one."""
    parts: list[Any] = [None] * len(shape)
    for axis, size in enumerate(shape):
        if size % mesh.size == 0:
            parts[axis] = mesh.axis_names
            break
    return NamedSharding(mesh, PartitionSpec(*parts))


def parts_on(mesh: Mesh | AbstractMesh, axis: str) -> int:
    """How many parts a logical axis has on a mesh."""
    name = RULES[axis]
    return 1 if mesh.empty or name is None else mesh.shape[name]


def shards(axis: str) -> int:
    """How many parts a logical axis has on the mesh that the trace runs under."""
    return parts_on(jax.sharding.get_abstract_mesh(), axis)


def partition(shape: Sequence[int], axes: Sequence[str]) -> PartitionSpec:
    """How a traced array is divided: along axes of the table whose parts are equal.

    A batch that has fewer rows than there are shards of rows is computed on all of them.
    """
    return PartitionSpec(
        *(
            RULES[axis] if shards(axis) > 1 and size % shards(axis) == 0 else None
            for size, axis in zip(shape, axes, strict=True)
        )
    )


def constrain(x: jax.Array, axes: Sequence[str]) -> jax.Array:
    """X, told how to lie on the mesh that the trace runs under."""
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, partition(x.shape, axes))
