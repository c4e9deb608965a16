"""Weights of ours: Orbax checkpoints in parts, each some parameters under their dotted names.

    weights/00000/         an Orbax checkpoint of up to a gigabyte, or of one larger parameter
    weights/00001/         …
    weights/manifest.json  sizes and digests of all their files, written last

Parts let a model be converted that is larger than memory, and such a conversion be resumed.
Nothing is given to Orbax before the manifest holds: a read that fails there leaves tracebacks
of its threads behind.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from jax.sharding import Mesh, NamedSharding

from model.config import CheckpointError, ModelConfig
from model.layout import Layout, layout_of
from model.mesh import sharding, spread
from model.parameters import is_small, make_held, parameter_specs
from model.small import Weight
from model.weights.groups import groups_by_size
from model.weights.manifest import check_manifest, describe, write_manifest

DIRECTORY = "weights"
PART_BYTES = 1 << 30


class OrbaxWeights:
    """A whole checkpoint of ours whose parameters are those of the model.

    Attributes:
        config: the decoder as published.
        turned: matrices are not stored as `ModelConfig.turned` has them.
        counts: parameter → how many values it has.
        dtypes: parameter → the dtype that it is stored in.
        sizes: parameter → bytes that are read for it.
    """

    turned = False

    def __init__(self, directory: Path, config: ModelConfig) -> None:
        """Check the files and what they hold.

        Raises:
            CheckpointError: no checkpoint there, an unfinished or damaged one, or parameters
                other than the config asks for.
        """
        path = (directory / DIRECTORY).absolute()
        files = check_manifest(path)
        self.config = config
        self._parts = {
            path / name: _metadata(path / name)
            for name in sorted({Path(file).parts[0] for file in files})
        }
        stored = {name: leaf for part in self._parts.values() for name, leaf in part.items()}
        shapes = {name: leaf.shape for name, leaf in stored.items()}
        self._specs = parameter_specs(config)
        expected = {name: spec.shape for name, spec in self._specs.items()}
        if shapes != expected:
            names = sorted(
                name for name in shapes | expected if shapes.get(name) != expected.get(name)
            )
            name = names[0]
            raise CheckpointError(
                f"{path} does not fit config.json: {name} is "
                f"{shapes.get(name, 'missing')} there and {expected.get(name, 'unknown')} by the "
                f"config ({len(names)} parameters differ)"
            )
        self.dtypes = {name: leaf.dtype for name, leaf in stored.items()}
        self.counts = {name: leaf.size for name, leaf in stored.items()}
        self.sizes = {name: leaf.size * leaf.dtype.itemsize for name, leaf in stored.items()}

    def groups(self, limit: int) -> list[list[str]]:  # noqa: ARG002  (parts are what can be read)
        """The parameters of each part."""
        return [list(part) for part in self._parts.values()]

    def load(
        self, names: Sequence[str], dtype: jnp.dtype | None, mesh: Mesh, held: ModelConfig
    ) -> Iterator[tuple[str, Weight]]:
        """Parameters of the decoder `held` on the mesh, as `dtype` or else as they are stored.

        Raises:
            CheckpointError: a part cannot be read.
        """
        wanted, specs = set(names), parameter_specs(held)
        for path, part in self._parts.items():
            if wanted.isdisjoint(part):
                continue
            restored = self._restore(path, part, mesh, held)
            for name in part:
                # Not kept beside what is made of it.
                value = restored.pop(name)
                if name not in wanted:
                    continue
                spec, small = specs[name], is_small(held, specs[name])
                layout, place = layout_of(held, self._specs[name]), sharding(mesh, spec.axes)
                kept = value.dtype if small or dtype is None else dtype
                whole = _finish(value, kept, layout, place)
                del value
                yield name, make_held(held, spec, dtype or kept, mesh, whole) if small else whole

    def _restore(
        self,
        path: Path,
        part: Mapping[str, jax.ShapeDtypeStruct],
        mesh: Mesh,
        held: ModelConfig,
    ) -> dict[str, jax.Array]:
        target = {
            name: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=self._first_place(name, mesh, held)
            )
            for name, leaf in part.items()
        }
        return restore_part(path, target)

    def _first_place(self, name: str, mesh: Mesh, held: ModelConfig) -> NamedSharding:
        """Where a parameter is read to: where it stays, unless its layout is another."""
        spec = self._specs[name]
        if layout_of(held, spec).changes:
            return spread(mesh, spec.shape)
        return sharding(mesh, spec.axes)


def save_weights(directory: Path, parameters: Mapping[str, jax.Array]) -> None:
    """Write `directory/weights`, replacing what is there."""
    path = directory / DIRECTORY
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    sizes = {name: value.nbytes for name, value in parameters.items()}
    for number, names in enumerate(groups_by_size(sizes, PART_BYTES)):
        save_part(path / part_name(number), {name: parameters[name] for name in names})
    write_manifest(path, describe(path))


def save_part(path: Path, parameters: Mapping[str, jax.Array]) -> None:
    """Write some parameters as an Orbax checkpoint, which is there whole or not at all.

    Raises:
        CheckpointError: it cannot be written.
    """
    with ocp.StandardCheckpointer() as checkpointer:
        try:
            checkpointer.save(path.absolute(), dict(parameters))
            checkpointer.wait_until_finished()
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} cannot be written: {error}") from error


def restore_part(path: Path, wanted: Mapping[str, jax.ShapeDtypeStruct]) -> dict[str, jax.Array]:
    """Read a part, all of whose parameters must be wanted, with the shardings given.

    Raises:
        CheckpointError: it cannot be read.
    """
    with ocp.StandardCheckpointer() as checkpointer:
        try:
            restored: dict[str, jax.Array] = checkpointer.restore(path.absolute(), dict(wanted))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error
    return restored


def part_name(number: int) -> str:
    """The name of a part's directory."""
    return f"{number:05d}"


def _metadata(path: Path) -> dict[str, jax.ShapeDtypeStruct]:
    with ocp.StandardCheckpointer() as checkpointer:
        try:
            stored = checkpointer.metadata(path).item_metadata
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} is not an Orbax checkpoint ({error})") from error
    if stored is None:
        raise CheckpointError(f"{path} is not an Orbax checkpoint; write it anew")
    return {
        name: jax.ShapeDtypeStruct(tuple(leaf.shape), leaf.dtype)
        for name, leaf in stored.tree.items()
    }


@partial(jax.jit, static_argnums=(1, 2, 3))
def _finish(value: jax.Array, dtype: jnp.dtype, layout: Layout, place: NamedSharding) -> jax.Array:
    # Orbax would cast value by value, several times slower than XLA does.
    return jax.lax.with_sharding_constraint(layout(value.astype(dtype)), place)
