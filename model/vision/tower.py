"""A tower that is loaded, and its programs: one for each size of a call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.stages import Lowered

from model.mesh import replicated
from model.parameters import Arrays
from model.steps import lower_step
from model.vision.config import AnyVisionConfig
from model.vision.inputs import (
    Grid,
    TowerInputs,
    TowerOutput,
    abstract_inputs,
    call_size,
    tower_inputs,
)
from model.vision.parameters import abstract_tower_parameters, tower_with


def look(
    config: AnyVisionConfig, parameters: Mapping[str, jax.Array], inputs: TowerInputs
) -> TowerOutput:
    """The vectors of the images of a call; a pure function of arrays."""
    return tower_with(config, parameters)(inputs)


def lower_tower(config: AnyVisionConfig, dtype: jnp.dtype, mesh: Mesh, size: int) -> Lowered:
    """Trace a call of `size` patches for devices that need not be there.

    Patches come to every device and vectors go to every one, as the decoder takes them.
    """
    whole = replicated(mesh)
    parameters = abstract_tower_parameters(config, dtype, mesh)
    inputs = abstract_inputs(config, size, whole)
    return lower_step(partial(look, config), mesh, (), whole, parameters, inputs)


@dataclass(frozen=True, slots=True)
class LoadedTower:
    """A tower ready to run.

    Attributes:
        config: its shape.
        parameters: its weights on the mesh.
        mesh: the devices.
        dtype: of weights and vectors.
    """

    config: AnyVisionConfig
    parameters: Arrays
    mesh: Mesh
    dtype: jnp.dtype
    _programs: dict[int, Any] = field(default_factory=dict[int, Any])

    def compile(self, size: int) -> None:
        """Have the program for calls of `size` patches, one of the config's `sizes`."""
        if size not in self._programs:
            lowered = lower_tower(self.config, self.dtype, self.mesh, size)
            self._programs[size] = lowered.compile()

    def __call__(self, images: Sequence[tuple[np.ndarray, Grid]]) -> TowerOutput:
        """The vectors of images in one call; does not wait for the devices.

        Args:
            images: patches [T, X] of each, and its rows and columns of them. `inputs.calls` says
                which should come together.

        Raises:
            ValueError: they are not patches of images that the tower takes, or do not fit a call.
        """
        size = call_size(self.config, sum(len(patches) for patches, _ in images))
        self.compile(size)
        inputs = tower_inputs(self.config, images, size)
        return self._programs[size](self.parameters, inputs)
