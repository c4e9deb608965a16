"""Pictures, and what the reference library's processors make of them, for the tests.

    python -m tools.make_image_fixtures tests/fixtures/images

Needs transformers and Pillow, without torch: a developer runs it when a family is added, and
commits what it writes: `NAME.png` for each picture, and for each family a file of arrays, uint8,
named by picture and by case. Of large ones it keeps every 499th value in their order.
"""

from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image, ImageDraw
from safetensors.numpy import save_file
from tqdm import tqdm
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

SPARSE = 499
# Width and height.
PICTURES = {
    "square": (300, 300),
    "wide": (1000, 300),
    "high": (270, 700),
    "nearly-square": (301, 280),
    "tiny": (5, 3),
    "odd": (537, 411),
    "large": (1231, 813),
}
BYTES = {"do_rescale": False, "do_normalize": False, "return_tensors": "np"}
SCAN = {
    "do_pan_and_scan": True,
    "pan_and_scan_min_crop_size": 256,
    "pan_and_scan_max_num_crops": 4,
    "pan_and_scan_min_ratio_to_activate": 1.2,
}
GEMMA3 = {
    "small": {"size": {"height": 56, "width": 56}},
    "small-scanned": {"size": {"height": 56, "width": 56}} | SCAN,
    "published": {"size": {"height": 896, "width": 896}},
    "published-scanned": {"size": {"height": 896, "width": 896}} | SCAN,
}
QWEN3_VL = {
    "small": {"shortest_edge": 4_096, "longest_edge": 16_384},
    "published": {"shortest_edge": 65_536, "longest_edge": 16_777_216},
}


def drawn(width: int, height: int) -> Image.Image:
    """Edges, slopes and fine lines, in few bytes of PNG."""
    rows, columns = np.mgrid[:height, :width]
    colours = [columns * 255 // width, rows * 255 // height, (rows + 2 * columns) // 3 % 256]
    image = Image.fromarray(np.stack(colours, axis=2).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    pen.ellipse((width // 4, height // 5, width // 2, height // 2), fill=(250, 20, 60))
    for x in range(0, width // 3, 3):
        pen.line((x, height // 2, x + width // 5, height), fill=(0, x % 256, 90))
    return image


def kept(values: Any) -> np.ndarray:
    """As bytes, and of many every 499th."""
    found = np.asarray(values)
    whole = found.astype(np.uint8)
    if not np.array_equal(whole, found):
        raise ValueError("the reference did not give bytes")
    return whole if whole.size < 100_000 else whole.reshape(-1)[::SPARSE].copy()


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def main(directory: Path) -> None:
    """Write the pictures and what is made of them into DIRECTORY."""
    directory.mkdir(parents=True, exist_ok=True)
    gemma3: dict[str, np.ndarray] = {}
    qwen3_vl: dict[str, np.ndarray] = {}
    for name, size in tqdm(PICTURES.items(), unit="picture", disable=None):
        image = drawn(*size)
        image.save(directory / f"{name}.png", optimize=True)
        for case, settings in GEMMA3.items():
            made = Gemma3ImageProcessorPil(**settings)(images=[image], **BYTES)
            gemma3[f"{name}/{case}"] = kept(made["pixel_values"])
        for case, bounds in QWEN3_VL.items():
            processor = Qwen2VLImageProcessorPil(
                size=bounds, patch_size=16, temporal_patch_size=2, merge_size=2
            )
            made = processor(images=[image], **BYTES)
            qwen3_vl[f"{name}/{case}"] = kept(made["pixel_values"])
            qwen3_vl[f"{name}/{case}/grid"] = np.asarray(made["image_grid_thw"][0], np.int32)
    save_file(gemma3, directory / "gemma3.safetensors")
    save_file(qwen3_vl, directory / "qwen3_vl.safetensors")


if __name__ == "__main__":
    main()
