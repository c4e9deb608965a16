"""What a tower takes and gives, and how images become calls of few sizes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from model.vision.config import AnyVisionConfig, Qwen3VLVisionConfig

# Of patches that fill a call up: they see each other, and nobody sees them.
NO_IMAGE = -1
# Rows and columns of patches.
Grid = tuple[int, int]


class TowerInputs(NamedTuple):
    """The patches of a call.

    Attributes:
        patches: their bytes after resizing; see `VisionConfig.patch_values`.
        places: of each patch its image (`NO_IMAGE` for what fills the call up), its row and column
            of that image's patches, and how many rows and columns the image has.
    """

    patches: UInt8[Any, "T X"]
    places: Int[Any, "5 T"]


class TowerOutput(NamedTuple):
    """The vectors of a call's images, one image's after another's, and some that fill it up.

    Attributes:
        vectors: stand in the prompt where image tokens are.
        deepstack: to be added to the same tokens after each of the decoder's first layers.
    """

    vectors: Float[Array, "tokens D"]
    deepstack: Float[Array, "layers tokens D"]


def call_size(config: AnyVisionConfig, patches: int) -> int:
    """The smallest size of a call that so many patches fit in.

    Raises:
        ValueError: none does.
    """
    for size in config.sizes:
        if patches <= size:
            return size
    raise ValueError(
        f"{patches} patches do not fit in a call, which has at most {config.sizes[-1]}"
    )


def sizes_for(config: AnyVisionConfig, tokens: int) -> tuple[int, ...]:
    """The sizes of calls that images of up to so many tokens each need."""
    enough = next((size for size in config.sizes if config.tokens(size) >= tokens), None)
    return tuple(size for size in config.sizes if enough is None or size <= enough)


def calls(
    config: AnyVisionConfig, patches: Sequence[int], most: int | None = None
) -> list[list[int]]:
    """Which images go through the tower together: their numbers, call by call, in order.

    Args:
        config: the tower's.
        patches: how many each image has.
        most: patches up to which images share a call, if not as many as may.
    """
    together = config.together if most is None else min(most, config.together)
    found: list[list[int]] = []
    room = 0
    for index, count in enumerate(patches):
        if count > room:
            found.append([])
            room = together
        found[-1].append(index)
        room -= count
    return found


def tower_inputs(
    config: AnyVisionConfig, images: Sequence[tuple[np.ndarray, Grid]], size: int
) -> TowerInputs:
    """The patches of images side by side, filled up to `size`.

    Args:
        config: the tower's.
        images: patches [T, X] of each, in the family's order, and their grid.
        size: patches of the call.

    Raises:
        ValueError: they are not patches of such images, or too many.
    """
    merge = config.merge if isinstance(config, Qwen3VLVisionConfig) else 1
    patches = np.zeros((size, config.patch_values), np.uint8)
    places = np.zeros((5, size), np.int32)
    places[0] = NO_IMAGE
    start = 0
    for index, (given, grid) in enumerate(images):
        check_image(config, given, grid)
        here = slice(start, start + len(given))
        start = here.stop
        if start > size:
            raise ValueError(f"images of {start} patches and more do not fit in a call of {size}")
        patches[here] = given
        places[0, here], places[1:3, here] = index, ordered_places(grid, merge)
        places[3, here], places[4, here] = grid
    return TowerInputs(patches, places)


def check_image(config: AnyVisionConfig, patches: np.ndarray, grid: Grid) -> None:
    """See that patches are those of an image that the tower takes.

    Raises:
        ValueError: they are not.
    """
    count = grid[0] * grid[1]
    if patches.dtype != np.uint8 or patches.shape != (count, config.patch_values):
        raise ValueError(
            f"patches are {patches.dtype} {patches.shape}; a grid of {grid} has uint8 "
            f"{(count, config.patch_values)}"
        )
    if isinstance(config, Qwen3VLVisionConfig):
        if not count or grid[0] % config.merge or grid[1] % config.merge:
            raise ValueError(f"a grid of {grid} is not one of squares of {config.merge} patches")
    elif grid != (config.patch_side, config.patch_side):
        raise ValueError(f"a grid is {grid}; it must be {config.patch_side} by as many")


def ordered_places(grid: Grid, merge: int) -> np.ndarray:
    """[2, T]: row and column of each patch, square of `merge` patches by square."""
    rows, columns = grid
    places = np.indices(grid).reshape(2, rows // merge, merge, columns // merge, merge)
    return places.transpose(0, 1, 3, 2, 4).reshape(2, -1)


def abstract_inputs(
    config: AnyVisionConfig, size: int, place: jax.sharding.Sharding
) -> TowerInputs:
    """Shapes of what a call of this size takes."""
    patches = jax.ShapeDtypeStruct((size, config.patch_values), jnp.uint8, sharding=place)
    return TowerInputs(patches, jax.ShapeDtypeStruct((5, size), jnp.int32, sharding=place))
