"""Patches are the reference library's, byte for byte."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from serve.media.images import read_picture
from serve.media.limits import PictureLimits
from serve.media.patching import Detail, PatchedImage
from serve.media.picture import Picture
from serve.media.processors.gemma3 import Gemma3Processor
from serve.media.processors.qwen3_vl import Qwen3VLProcessor

FIXTURES = Path(__file__).parents[3] / "fixtures" / "images"
PICTURES = ("square", "wide", "high", "nearly-square", "tiny", "odd", "large")
SPARSE = 499
GEMMA3 = {"small": 56, "published": 896}
QWEN3_VL = {"small": (4_096, 16_384), "published": (65_536, 16_777_216)}


def picture(name: str) -> Picture:
    return read_picture((FIXTURES / f"{name}.png").read_bytes(), PictureLimits())


def assert_equal(values: np.ndarray, expected: np.ndarray) -> None:
    if values.shape != expected.shape:
        values = values.reshape(-1)[::SPARSE]
    np.testing.assert_array_equal(values, expected)


def put_together(image: PatchedImage) -> np.ndarray:
    """`[3, height, width]` of patches that come row by row."""
    rows, columns = image.grid
    side = round((image.patches.shape[1] // 3) ** 0.5)
    whole = np.zeros((3, rows * side, columns * side), np.uint8)
    for index, patch in enumerate(image.patches):
        y, x = index // columns * side, index % columns * side
        whole[:, y : y + side, x : x + side] = patch.reshape(3, side, side)
    return whole


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize(
    ("case", "detail"), [("", "low"), ("", "auto"), ("-scanned", "high")], ids=lambda x: x
)
@pytest.mark.parametrize("size", GEMMA3)
def test_gemma3(name: str, size: str, case: str, detail: Detail) -> None:
    side = {"height": GEMMA3[size], "width": GEMMA3[size]}
    processor = Gemma3Processor.of({"size": side}, patch=14, tokens=256)
    images = processor(picture(name), detail)
    expected = load_file(FIXTURES / "gemma3.safetensors")[f"{name}/{size}{case}"]
    assert_equal(np.stack([put_together(image) for image in images]), expected)
    assert {image.grid for image in images} == {(GEMMA3[size] // 14,) * 2}
    assert {image.tokens for image in images} == {256}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("case", QWEN3_VL)
def test_qwen3_vl(name: str, case: str) -> None:
    low, high = QWEN3_VL[case]
    processor = Qwen3VLProcessor.of({"size": {"shortest_edge": low, "longest_edge": high}})
    (image,) = processor(picture(name), "high")
    expected = load_file(FIXTURES / "qwen3_vl.safetensors")
    assert (1, *image.grid) == tuple(expected[f"{name}/{case}/grid"])
    assert_equal(image.patches, expected[f"{name}/{case}"])
    assert image.tokens == image.grid[0] * image.grid[1] / 4
