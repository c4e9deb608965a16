"""`detail` changes the number of patches as documented."""

import numpy as np
import pytest

from serve.media.errors import MediaError
from serve.media.patching import Detail
from serve.media.picture import Picture
from serve.media.processors.gemma3 import Gemma3Processor
from serve.media.processors.qwen3_vl import Qwen3VLProcessor
from serve.media.processors.settings import ProcessorError

VIEW = {"size": {"height": 896, "width": 896}}


def blank(width: int, height: int) -> Picture:
    return Picture(np.zeros((height, width, 3), np.uint8))


@pytest.mark.parametrize(
    ("width", "height", "views"),
    [
        # Near a square; 1.2 times as wide, but of parts under 256 pixels; of two parts.
        *((1000, 900, 1), (500, 400, 1), (600, 500, 3)),
        # Half of a part is one.
        (2500, 1000, 4),
        # 3.33 to 1: three; 8 to 1: four at most; high ones alike.
        *((1000, 300, 4), (2400, 300, 5), (300, 1000, 4), (300, 2400, 5)),
    ],
)
def test_gemma3(width: int, height: int, views: int) -> None:
    processor = Gemma3Processor.of(VIEW, patch=14, tokens=256)
    picture = blank(width, height)
    assert len(processor(picture, "high")) == views
    assert len(processor(picture, "low")) == len(processor(picture, "auto")) == 1
    images = processor(picture, "high")
    assert {(image.patches.shape, image.tokens) for image in images} == {((4096, 588), 256)}


def test_gemma3_of_a_checkpoint_that_scans_always() -> None:
    settings = VIEW | {"do_pan_and_scan": True, "pan_and_scan_max_num_crops": 2}
    processor = Gemma3Processor.of(settings, patch=14, tokens=256)
    numbers = [len(processor(blank(2400, 300), detail)) for detail in ("low", "auto", "high")]
    assert numbers == [1, 3, 3]


@pytest.mark.parametrize(
    ("width", "height", "detail", "grid"),
    [
        # 32 pixels to a token; 65,536 at least are 256 × 256.
        (16, 16, "high", (16, 16)),
        (640, 480, "high", (30, 40)),
        (640, 480, "auto", (30, 40)),
        # 262,144 at most: 640 × 480 by the root of 0.853, in whole tokens.
        (640, 480, "low", (26, 36)),
        (512, 512, "low", (32, 32)),
        # 4,000 × 3,000 by the root of 0.3495: 2,364.8 × 1,773.6.
        (4000, 3000, "high", (110, 146)),
        (4000, 3000, "auto", (110, 146)),
    ],
)
def test_qwen3_vl(width: int, height: int, detail: Detail, grid: tuple[int, int]) -> None:
    processor = Qwen3VLProcessor.of(
        {"size": {"shortest_edge": 65_536, "longest_edge": 16_777_216}, "patch_size": 16}
    )
    assert processor.size(height, width, detail) == (grid[0] * 16, grid[1] * 16)


def test_qwen3_vl_makes_a_token_of_four_patches() -> None:
    (image,) = Qwen3VLProcessor()(blank(640, 480), "low")
    assert image.grid == (26, 36)
    assert image.patches.shape == (26 * 36, 3 * 2 * 16 * 16)
    assert image.tokens == 26 * 36 // 4


def test_qwen3_vl_leaves_a_side_of_one_token() -> None:
    processor = Qwen3VLProcessor(min_pixels=4_096, max_pixels=16_384)
    # By the root of 80,000 / 16,384, 2.21: 9 × 1,810 pixels.
    assert processor.size(20, 4000, "high") == (32, 1792)


def test_qwen3_vl_takes_no_stripes() -> None:
    processor = Qwen3VLProcessor()
    assert processor(blank(2000, 10), "low")[0].tokens > 0
    with pytest.raises(MediaError, match="200 times the other"):
        processor(blank(2001, 10), "low")


@pytest.mark.parametrize(
    "settings",
    [
        {"size": {"height": 900, "width": 896}},
        {"size": {"height": "896", "width": 896}},
        VIEW | {"pan_and_scan_max_num_crops": 0},
    ],
)
def test_gemma3_settings_that_cannot_be_followed(settings: dict[str, object]) -> None:
    with pytest.raises(ProcessorError):
        Gemma3Processor.of(settings, patch=14, tokens=256)


def test_qwen3_vl_settings() -> None:
    old = Qwen3VLProcessor.of({"min_pixels": 5_000, "max_pixels": 9_000, "size": {}})
    assert (old.min_pixels, old.max_pixels) == (5_000, 9_000)
    with pytest.raises(ProcessorError, match="at least"):
        Qwen3VLProcessor.of({"size": {"shortest_edge": 9_000, "longest_edge": 5_000}})
    with pytest.raises(ProcessorError, match="merge_size"):
        Qwen3VLProcessor.of({"merge_size": 0})
