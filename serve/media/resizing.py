"""Makes pictures larger or smaller, byte for byte as the reference's Pillow processors do."""

import numpy as np
from jaxtyping import UInt8

from serve.media.pillow import Image

# Pillow's numbers, which checkpoints have too.
BILINEAR = 2
BICUBIC = 3


def resized(
    pixels: UInt8[np.ndarray, "height width 3"], height: int, width: int, resample: int
) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """Of this height and width, by the filter of this number."""
    image = Image.fromarray(pixels)
    return np.asarray(image.resize((width, height), Image.Resampling(resample)))
