"""Pictures of a prompt, as they come to the engine. Imports no JAX."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class PromptImage:
    """A picture, and where in the prompt it stands.

    Attributes:
        start: index in the prompt of its first token. All of them are the model's image token.
        tokens: how many they are, side by side: the vectors that its tower makes of it.
        patches: bytes [T, X], as the tower takes them.
        grid: its rows and columns of patches.
        digest: tells pictures apart: equal for those of which the tower makes the same vectors.
    """

    start: int
    tokens: int
    patches: NDArray[np.uint8]
    grid: tuple[int, int]
    digest: bytes


def images_within(images: Sequence[PromptImage], start: int, end: int) -> Iterator[PromptImage]:
    """Those that have tokens from `start` on and before `end`."""
    return (each for each in images if each.start < end and start < each.start + each.tokens)


def image_across(images: Sequence[PromptImage], place: int) -> PromptImage | None:
    """The image that has tokens before and behind a place, if there is one."""
    return next(images_within(images, place, place), None)
