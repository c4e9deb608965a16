"""Which way up a camera says that a picture is: the one thing that is read of EXIF.

Pillow reads all of it, copies what each entry names, and writes a warning for each that is broken.
"""

from typing import Literal

_TAG, _SHORT = 0x0112, 3
_ENTRY_BYTES = 12
_ORDERS: dict[bytes, Literal["little", "big"]] = {b"II*\0": "little", b"MM\0*": "big"}


def orientation(exif: object) -> int:
    """1 to 8, as EXIF numbers them; 1, upright, where nothing or nonsense is said.

    Args:
        exif: the record, with the words that JPEG puts before it or without. A PNG file can have
            a text of that name, which is none.
    """
    if not isinstance(exif, bytes):
        return 1
    tiff = exif.removeprefix(b"Exif\0\0")
    order = _ORDERS.get(tiff[:4])
    if order is None:
        return 1
    first = int.from_bytes(tiff[4:8], order)
    entries = int.from_bytes(tiff[first : first + 2], order)
    for number in range(entries):
        at = first + 2 + number * _ENTRY_BYTES
        tag, kind = (int.from_bytes(tiff[at + i : at + i + 2], order) for i in (0, 2))
        if (tag, kind) == (_TAG, _SHORT):
            value = int.from_bytes(tiff[at + 8 : at + 10], order)
            return value if 1 <= value <= 8 else 1
    return 1
