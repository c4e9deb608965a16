"""What a picture may cost."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PictureLimits:
    """Bounds of one picture.

    Attributes:
        file_bytes: of the file.
        pixels: in all, before it is made smaller. A picture takes up to 14 bytes of memory for
            each while it is decoded.
        side: pixels of the longer side.
        seconds: of a core that decoding may take.
    """

    file_bytes: int = 20 * 2**20
    pixels: int = 50_000_000
    side: int = 32_768
    seconds: float = 3.0
