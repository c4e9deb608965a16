"""The device mesh, and the one table that maps logical axes onto it.

Parameters and caches name logical axes (`axes.py`); nothing else in the house spells a
mesh axis.
"""

from collections.abc import Sequence

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from model.axes import (
    EMBED,
    EXPERTS,
    FFN,
    GATE_UP,
    HEAD_DIM,
    HEAD_GROUP,
    KV_HEADS,
    PAGE,
    PAGES,
    VOCAB,
)

DATA = "data"
MODEL = "model"

RULES: dict[str, str | None] = {
    VOCAB: MODEL,
    KV_HEADS: MODEL,
    FFN: MODEL,
    EMBED: None,
    EXPERTS: None,
    GATE_UP: None,
    HEAD_GROUP: None,
    HEAD_DIM: None,
    PAGES: None,
    PAGE: None,
}


def make_mesh(data: int = 1, model: int = 1) -> Mesh:
    """A mesh of the first `data` × `model` devices.

    Raises:
        ValueError: there are fewer devices.
    """
    available = jax.devices()
    if data * model > len(available):
        raise ValueError(
            f"a mesh of data={data}, model={model} needs {data * model} devices and there are "
            f"{len(available)}; choose sizes whose product is at most that"
        )
    return jax.make_mesh(
        (data, model),
        (DATA, MODEL),
        axis_types=(AxisType.Auto, AxisType.Auto),
        devices=available[: data * model],
    )


def sharding(mesh: Mesh, axes: Sequence[str]) -> NamedSharding:
    """How an array with these logical axes lies on the mesh.

    Raises:
        ValueError: two of its axes map to the same mesh axis.
    """
    spec = [RULES[axis] for axis in axes]
    used = [axis for axis in spec if axis is not None]
    if len(used) != len(set(used)):
        raise ValueError(f"axes {tuple(axes)} would use a mesh axis twice: {spec}")
    return NamedSharding(mesh, PartitionSpec(*spec))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())
