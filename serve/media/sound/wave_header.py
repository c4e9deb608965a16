"""What FFmpeg does not tell of a wav: whether all of it is there."""

import struct
from collections.abc import Iterator

_HEADER_BYTES, _CHUNK_BYTES = 12, 8
# Whoever streams a file writes one of these lengths, or the largest that there is.
_UNKNOWN = (0, 0x7FFF_0000)


def is_wave(data: bytes) -> bool:
    """Whether the file begins as one."""
    return data[:4] == b"RIFF" and data[8:12] == b"WAVE"


def is_cut_off(data: bytes) -> bool:
    """Whether the file has less sound than it says."""
    for kind, size, start in _chunks(data):
        if kind == b"data":
            none, least = _UNKNOWN
            return size != none and size < least and start + size > len(data)
    return True


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each one's kind, its length as it says, and where it begins."""
    place = _HEADER_BYTES
    while place + _CHUNK_BYTES <= len(data):
        kind, size = struct.unpack_from("<4sI", data, place)
        place += _CHUNK_BYTES
        yield kind, size, place
        # They begin at even places.
        place += size + size % 2
