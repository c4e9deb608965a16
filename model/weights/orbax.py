"""Weights as an Orbax checkpoint: one array per parameter, under its dotted name.

A manifest beside Orbax's files says when they are whole; nothing is given to Orbax before
it holds, because a read that fails there leaves tracebacks of its threads behind.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from jax.sharding import Mesh

from model.config import CheckpointError, ModelConfig
from model.parameters import Parameters, abstract_parameters
from model.weights.manifest import check_manifest, write_manifest

DIRECTORY = "weights"


def save_weights(directory: Path, parameters: Parameters) -> None:
    """Write `directory/weights`, replacing what is there."""
    path = (directory / DIRECTORY).absolute()
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, parameters, force=True)
    write_manifest(path)


def load_weights(directory: Path, config: ModelConfig, dtype: jnp.dtype, mesh: Mesh) -> Parameters:
    """Read `directory/weights` straight into sharded arrays of `dtype`.

    Raises:
        CheckpointError: no checkpoint there, an unfinished or damaged one, or parameters other
            than the config asks for.
    """
    path = (directory / DIRECTORY).absolute()
    if not path.is_dir():
        raise CheckpointError(
            f"{directory} has no {DIRECTORY}; give a directory with config.json, a tokenizer and "
            f"{DIRECTORY}/"
        )
    check_manifest(path)
    wanted = abstract_parameters(config, dtype, mesh)
    with ocp.StandardCheckpointer() as checkpointer:
        try:
            stored = checkpointer.metadata(path).item_metadata
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} is not an Orbax checkpoint ({error})") from error
        if stored is None:
            raise CheckpointError(f"{path} is not an Orbax checkpoint; write it anew")
        shapes = {name: tuple(leaf.shape) for name, leaf in stored.tree.items()}
        expected = {name: leaf.shape for name, leaf in wanted.items()}
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
        try:
            restored: dict[str, jax.Array] = checkpointer.restore(path, wanted)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error
    return restored
