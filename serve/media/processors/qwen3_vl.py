"""Qwen3-VL's way with pictures: as they are, of as many tokens as they are large.

A picture is resized to sides that are whole tokens (32 pixels), near its own size and shape, with
its pixels in all within bounds:

| `detail` | pixels at least | pixels at most | tokens |
|---|---|---|---|
| `low` | the checkpoint's, 65,536 | 512 × 512 | 64 to 256 |
| `high` | the same | the checkpoint's, but no more than 2048 × 2048 | 64 to 4,096 |
| `auto` | as `high` | | |
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from serve.media.errors import MediaError
from serve.media.patching import Detail, PatchedImage, cut
from serve.media.picture import Picture
from serve.media.processors.settings import ProcessorError, number
from serve.media.resizing import BICUBIC, resized

_LOW_PIXELS = 512 * 512
# The most that a call of the tower takes; a checkpoint's own bound is four times as large.
_MOST_PIXELS = 2048 * 2048
_MOST_RATIO = 200


@dataclass(frozen=True)
class Qwen3VLProcessor:
    """Makes patches of pictures. They come by squares of `merge`, which become a token each.

    Attributes:
        patch: pixels along a side of a patch.
        merge: patches along a side of what becomes a token.
        frames: that a patch stacks; a picture is as many equal ones.
        min_pixels: of the resized picture.
        max_pixels: the same.
        resample: Pillow's number of the filter.
    """

    patch: int = 16
    merge: int = 2
    frames: int = 2
    min_pixels: int = 65_536
    max_pixels: int = _MOST_PIXELS
    resample: int = BICUBIC

    def __post_init__(self) -> None:
        if self.min_pixels > self.max_pixels:
            raise ProcessorError(
                f"images have {self.min_pixels:,} pixels at least and {self.max_pixels:,} at most"
            )

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Qwen3VLProcessor":
        """As a checkpoint's `preprocessor_config.json` says; see `read_settings`.

        Raises:
            ProcessorError: a setting cannot be followed.
        """
        size: Mapping[str, Any] = settings.get("size") or {}
        # Older names of the same.
        low = number(settings, "min_pixels", number(size, "shortest_edge", cls.min_pixels))
        high = number(settings, "max_pixels", number(size, "longest_edge", cls.max_pixels))
        return cls(
            patch=number(settings, "patch_size", cls.patch),
            merge=number(settings, "merge_size", cls.merge),
            frames=number(settings, "temporal_patch_size", cls.frames),
            min_pixels=low,
            max_pixels=min(high, _MOST_PIXELS),
            resample=number(settings, "resample", BICUBIC),
        )

    def __call__(self, picture: Picture, detail: Detail) -> list[PatchedImage]:
        """One.

        Raises:
            MediaError: the picture is too long and narrow.
        """
        height, width = self.size(picture.height, picture.width, detail)
        view = resized(picture.pixels, height, width, self.resample)
        # Of each colour its frames.
        patches = np.repeat(cut(view, self.patch, self.merge), self.frames, axis=4)
        rows, columns = height // self.patch, width // self.patch
        flat = patches.reshape(rows * columns, -1)
        return [PatchedImage.of(flat, (rows, columns), len(flat) // self.merge**2)]

    def size(self, height: int, width: int, detail: Detail) -> tuple[int, int]:
        """What a picture of this height and width is resized to.

        Raises:
            MediaError: it is too long and narrow.
        """
        if max(height, width) > _MOST_RATIO * min(height, width):
            raise MediaError(
                f"this image has {width:,} × {height:,} pixels; its longer side may be "
                f"{_MOST_RATIO} times the other at most",
                "invalid_image",
            )
        most = self.max_pixels
        if detail == "low":
            most = min(most, max(_LOW_PIXELS, self.min_pixels))
        return self._fitted(height, width, most)

    def _fitted(self, height: int, width: int, most: int) -> tuple[int, int]:
        """The reference's `smart_resize`."""
        unit = self.patch * self.merge
        sides = [round(side / unit) * unit for side in (height, width)]
        if sides[0] * sides[1] > most:
            shrink = math.sqrt(height * width / most)
            sides = [max(unit, math.floor(side / shrink / unit) * unit) for side in (height, width)]
        elif sides[0] * sides[1] < self.min_pixels:
            grow = math.sqrt(self.min_pixels / (height * width))
            sides = [math.ceil(side * grow / unit) * unit for side in (height, width)]
        return sides[0], sides[1]
