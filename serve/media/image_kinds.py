"""Which kind of picture bytes are, by their beginning alone."""

from typing import Literal

ImageKind = Literal["png", "jpeg", "webp", "gif"]

MEDIA_TYPES: dict[str, ImageKind] = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    # No registered name, but what many clients say.
    "image/jpg": "jpeg",
    "image/webp": "webp",
    "image/gif": "gif",
}
ALLOWED = "PNG, JPEG, WebP and GIF without animation are taken"


def kind_of(data: bytes) -> ImageKind | None:
    """The kind, if it is one that is taken."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    return None
