"""Data URLs of base64, and base64: what requests bring files in.

Decoding a long one takes tens of milliseconds, all of which Python's lock would be held: it is
done in pieces, between which other threads have their turn.
"""

import binascii
import re
from dataclasses import dataclass

_HEAD = re.compile(r"data:([^,]{0,2000}),", re.IGNORECASE)
_ENCODING = ";base64"
# Characters; a quarter of a millisecond.
_PIECE = 4 * 2**16


@dataclass(frozen=True, slots=True)
class DataUrlHead:
    """How a data URL begins.

    Attributes:
        declared: the media type that its data is said to be, with parameters; or "".
        is_base64: whether it says that its data is base64.
        end: index of the first character of the data.
    """

    declared: str
    is_base64: bool
    end: int


def head_of(text: str) -> DataUrlHead | None:
    """The beginning of a data URL; None where there is none."""
    found = _HEAD.match(text)
    if found is None:
        return None
    declared, is_base64 = found[1], found[1].lower().endswith(_ENCODING)
    return DataUrlHead(
        declared[: -len(_ENCODING)] if is_base64 else declared, is_base64, found.end()
    )


def decoded_bytes(text: str, start: int = 0) -> int:
    """Bytes that base64 stands for, or up to two more.

    Args:
        text: has it from `start` on.
        start: index of its first character.
    """
    return (len(text) - start) // 4 * 3


def decoded(text: str, start: int = 0) -> bytes:
    """What base64 stands for (RFC 4648, with padding and without line breaks).

    Args:
        text: has it from `start` on.
        start: index of its first character.

    Raises:
        ValueError: it is none.
    """
    pieces: list[bytes] = []
    for begin in range(start, len(text), _PIECE):
        piece = text[begin : begin + _PIECE]
        if "=" in piece and begin + _PIECE < len(text):
            raise ValueError("padding amid the data")
        pieces.append(binascii.a2b_base64(piece, strict_mode=True))
    return b"".join(pieces)
