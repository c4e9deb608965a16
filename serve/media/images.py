"""Files of pictures → pictures, under limits. Blocks: `serve.media.reader` has threads for it.

Whoever sends a file may mean it to do harm. What Pillow gets has a size that its header tells
first, and it reads it from a source that ends its patience: every loop of Pillow's that a file can
make long asks for more of the file.
"""

import io
import time
from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8

from serve.media.containers import gif_is_animated, jpeg_apart
from serve.media.errors import MediaError
from serve.media.image_kinds import ALLOWED, ImageKind, kind_of
from serve.media.limits import PictureLimits
from serve.media.orientation import orientation
from serve.media.picture import Picture
from serve.media.pillow import (
    GifImageFile,
    Image,
    ImageFile,
    JpegImageFile,
    PngImageFile,
    WebPImageFile,
)

_FILES: dict[ImageKind, Callable[[io.BytesIO], ImageFile]] = {
    "gif": GifImageFile,
    "jpeg": JpegImageFile,
    "png": PngImageFile,
    "webp": WebPImageFile,
}
# Reads of a file that is not made to do harm: some for each part of the header, three for each
# of the parts that the pixels are in, which have hundreds of bytes at least.
_READS_OF_A_HEADER = 4_000
_BYTES_TO_A_READ = 64
# Pillow decodes this much between two looks at the clock.
_BLOCK_BYTES = 4_096
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_picture(
    data: bytes, limits: PictureLimits, *, stopped: Callable[[], bool] = lambda: False
) -> Picture:
    """The picture of a file.

    Args:
        data: the file.
        limits: of what it may cost.
        stopped: whether nobody waits for it any more.

    Raises:
        MediaError: it is none that can be taken, it is broken, or it is over a limit.
    """
    kind = _checked_kind(data, limits)
    exif = b""
    if kind == "jpeg":
        data, exif = jpeg_apart(data)
    try:
        source = _Source(data, limits.seconds, stopped)
        image = _FILES[kind](source)
        _check(image, data, kind, limits)
        source.go_on()
        image.decodermaxblock = _BLOCK_BYTES
        image.load()
        source.check()
        upright = _UPRIGHT.get(orientation(exif or image.info.get("exif")))
        return Picture(_colours(image if upright is None else image.transpose(upright)))
    except MediaError:
        raise
    except Exception as error:
        raise MediaError(
            f"this {_name(kind)} file is broken: it cannot be decoded", "image_parse_error"
        ) from error


class _Source(io.BytesIO):
    """A file that is read for so long and so many times, and then ends whoever reads it.

    The time is the thread's own on a core: how busy the machine is, is not the file's fault.
    """

    def __init__(self, data: bytes, seconds: float, stopped: Callable[[], bool]) -> None:
        super().__init__(data)
        self._until = time.thread_time() + seconds
        self._stopped = stopped
        self._reads = _READS_OF_A_HEADER
        self._more = len(data) // _BYTES_TO_A_READ

    def go_on(self) -> None:
        """From the header to the pixels."""
        self._reads += self._more

    def check(self) -> None:
        """Raises MediaError when the time is over."""
        if time.thread_time() > self._until or self._stopped():
            raise _fault("takes too long to decode; send a simpler file")

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file."""
        self._reads -= 1
        if self._reads < 0:
            raise _fault("is in too many pieces; save it anew, without metadata")
        self.check()
        return super().read(size)


def _fault(why: str) -> MediaError:
    return MediaError(f"this image file {why}", "image_parse_error")


def _checked_kind(data: bytes, limits: PictureLimits) -> ImageKind:
    if not data:
        raise MediaError("this image file is empty", "empty_image_file")
    check_file_bytes(len(data), limits)
    kind = kind_of(data)
    if kind is None:
        raise MediaError(
            f"this is no image that can be read: {ALLOWED}", "unsupported_image_media_type"
        )
    return kind


def check_file_bytes(count: int, limits: PictureLimits) -> None:
    """Raises MediaError for a file with too many bytes."""
    if count > limits.file_bytes:
        raise MediaError(
            f"this image file has more than {limits.file_bytes:,} bytes, the most that one may",
            "image_file_too_large",
        )


def _check(image: ImageFile, data: bytes, kind: ImageKind, limits: PictureLimits) -> None:
    """What the header tells."""
    width, height = image.size
    if width * height > limits.pixels or max(width, height) > limits.side:
        raise MediaError(
            f"this image has {width:,} × {height:,} pixels; up to {limits.pixels:,} in all "
            f"are taken, and up to {limits.side:,} to a side",
            "image_too_large",
        )
    animated = gif_is_animated(data) if kind == "gif" else getattr(image, "is_animated", False)
    if animated:
        raise MediaError(
            f"this {_name(kind)} file is animated; send one frame of it. {ALLOWED}",
            "unsupported_image_media_type",
        )


def _colours(image: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    if image.mode == "I;16":
        # Of each 16 bits the upper 8, as Pillow takes them of colours. It converts these wrongly.
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        image = white
    # Of what is of this mode already it would be a copy.
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _name(kind: ImageKind) -> str:
    return {"png": "PNG", "jpeg": "JPEG", "webp": "WebP", "gif": "GIF"}[kind]
