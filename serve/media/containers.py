"""What must be known of JPEG and GIF files before Pillow reads them.

Pillow spends minutes on a JPEG file that is made for it, with EXIF in many pieces, each entry of
which names all of it; and it reads all of a GIF's frames to count them.
"""

import re
from typing import NamedTuple

from serve.media.errors import MediaError

_MARKER = re.compile(rb"\xff([^\x00\xff])")
_START_OF_SCAN, _JFIF, _EXIF, _ADOBE, _COMMENT = 0xDA, 0xE0, 0xE1, 0xEE, 0xFE
# Without a length: TEM, the restarts, and the image's two ends.
_ALONE = {0x01, *range(0xD0, 0xDA)}
_MOST_SEGMENTS = 4_000


class Jpeg(NamedTuple):
    """A JPEG file, taken apart.

    Attributes:
        picture: the same file with nothing in it beside its picture.
        exif: its first record of that kind, or nothing.
    """

    picture: bytes
    exif: bytes


def jpeg_apart(data: bytes) -> Jpeg:
    """What is used of a JPEG file.

    Raises:
        MediaError: it has no picture, or too many segments.
    """
    kept, exif, at = [data[:2]], b"", 2
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None:
            break
        marker, start = found[1][0], found.end()
        if marker == _START_OF_SCAN:
            return Jpeg(b"".join([*kept, b"\xff", data[start - 1 :]]), exif)
        if marker in _ALONE:
            at = start
            continue
        at = start + max(2, int.from_bytes(data[start : start + 2]))
        if marker in {_JFIF, _ADOBE} or not _is_metadata(marker):
            kept += (b"\xff", data[start - 1 : at])
        elif marker == _EXIF and not exif and data.startswith(b"Exif\0\0", start + 2):
            exif = data[start + 2 : at]
    raise MediaError(
        "this JPEG file is broken: its picture does not begin, or only after too much else",
        "image_parse_error",
    )


def _is_metadata(marker: int) -> bool:
    return _JFIF <= marker < _JFIF + 16 or marker == _COMMENT


def gif_is_animated(data: bytes) -> bool:
    """Whether a GIF file has more than one frame. Of a broken one, up to where it is."""
    frames = 0
    at = 13 + _table(data[10:11])
    while at < len(data):
        block = data[at]
        if block == ord(","):
            frames += 1
            if frames > 1:
                return True
            at = _after_pieces(data, at + 11 + _table(data[at + 9 : at + 10]))
        elif block == ord("!"):
            at = _after_pieces(data, at + 2)
        else:
            break
    return False


def _table(flags: bytes) -> int:
    """Bytes of the table of colours that these flags announce."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def _after_pieces(data: bytes, at: int) -> int:
    """Where the data that begins here, in pieces of up to 255 bytes, has ended."""
    while at < len(data) and (length := data[at]):
        at += length + 1
    return at + 1
