"""Gemma 3's way with pictures: one square view, and square views of parts if they are wanted.

| `detail` | views, of 256 tokens each |
|---|---|
| `low` | the whole picture |
| `high` | the whole picture, and if it is long or high enough 2 to 4 parts of it side by side |
| `auto` | as `low`, but as `high` for a checkpoint whose settings say `do_pan_and_scan` |

A part is cut off (pan and scan) where the longer side is 1.2 times the other and parts are 256
pixels at least, with the checkpoint's own numbers if it has some.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from serve.media.patching import Detail, PatchedImage, cut
from serve.media.picture import Picture
from serve.media.processors.settings import ProcessorError, number
from serve.media.resizing import BILINEAR, resized


@dataclass(frozen=True)
class PanAndScan:
    """When parts of a picture are looked at beside the whole, and which.

    Attributes:
        always: of pictures too whose `detail` is `auto`.
        min_crop: pixels that the sides of a part have at least.
        max_crops: parts at most.
        min_ratio: of the longer side to the other, from which on there are parts.
    """

    always: bool = False
    min_crop: int = 256
    max_crops: int = 4
    min_ratio: float = 1.2

    def parts(
        self, pixels: UInt8[np.ndarray, "height width 3"]
    ) -> list[UInt8[np.ndarray, "part_height part_width 3"]]:
        """From the left or from above; none of a picture that is near a square, or small."""
        height, width = pixels.shape[:2]
        longer, shorter = max(height, width), min(height, width)
        if longer / shorter < self.min_ratio:
            return []
        count = min(longer // self.min_crop, math.floor(longer / shorter + 0.5))
        count = min(self.max_crops, max(2, count))
        step = math.ceil(longer / count)
        if min(step, shorter) < self.min_crop:
            return []
        starts = range(0, step * count, step)
        if width >= height:
            return [pixels[:, start : start + step] for start in starts]
        return [pixels[start : start + step] for start in starts]


@dataclass(frozen=True)
class Gemma3Processor:
    """Makes views of pictures. Their patches come row by row.

    Attributes:
        patch: pixels along a side of a patch.
        tokens: of a view.
        height: pixels of a view.
        width: the same.
        resample: Pillow's number of the filter.
        pan_and_scan: see there.
    """

    patch: int
    tokens: int
    height: int
    width: int
    resample: int = BILINEAR
    pan_and_scan: PanAndScan = PanAndScan()

    def __post_init__(self) -> None:
        if self.height % self.patch or self.width % self.patch:
            raise ProcessorError(
                f"patches of {self.patch} pixels do not divide images of {self.height} × "
                f"{self.width}"
            )

    @classmethod
    def of(cls, settings: Mapping[str, Any], *, patch: int, tokens: int) -> "Gemma3Processor":
        """As a checkpoint says.

        Args:
            settings: of its `preprocessor_config.json`; see `read_settings`.
            patch: `patch_size` of the `vision_config` in its `config.json`.
            tokens: `mm_tokens_per_image` there.

        Raises:
            ProcessorError: a setting cannot be followed.
        """
        size: Mapping[str, Any] = settings.get("size") or {}
        plain = PanAndScan()
        return cls(
            patch=patch,
            tokens=tokens,
            height=number(size, "height", 224),
            width=number(size, "width", 224),
            resample=number(settings, "resample", BILINEAR),
            pan_and_scan=PanAndScan(
                always=bool(settings.get("do_pan_and_scan")),
                min_crop=number(settings, "pan_and_scan_min_crop_size", plain.min_crop),
                max_crops=number(settings, "pan_and_scan_max_num_crops", plain.max_crops),
                min_ratio=settings.get("pan_and_scan_min_ratio_to_activate") or plain.min_ratio,
            ),
        )

    def __call__(self, picture: Picture, detail: Detail) -> list[PatchedImage]:
        """The whole picture, and then its parts in their order."""
        scanned = detail == "high" or (detail == "auto" and self.pan_and_scan.always)
        parts = self.pan_and_scan.parts(picture.pixels) if scanned else []
        return [self._view(pixels) for pixels in (picture.pixels, *parts)]

    def _view(self, pixels: UInt8[np.ndarray, "height width 3"]) -> PatchedImage:
        grid = self.height // self.patch, self.width // self.patch
        view = resized(pixels, self.height, self.width, self.resample)
        patches = cut(view, self.patch).reshape(grid[0] * grid[1], -1)
        return PatchedImage.of(patches, grid, self.tokens)
