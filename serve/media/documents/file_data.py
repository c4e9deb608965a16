"""What a request has as `file_data`: a data URL, or base64 alone."""

import base64
import binascii
import re

from serve.media.documents import faults

_DATA_URL = re.compile(r"data:([^,]{0,1000}),", re.IGNORECASE)
_ENCODED = ";base64"


def unpacked(file_data: str, most: int) -> tuple[str, bytes]:
    """The media type that a file is declared as, and its content.

    Args:
        file_data: `data:TYPE;base64,CONTENT`, or its content in base64.
        most: bytes that it may have.

    Returns:
        the type with its parameters, "" if there is none; and the bytes.

    Raises:
        MediaError: it is neither, or of more bytes; without the file's name.
    """
    head = _DATA_URL.match(file_data)
    declared = head[1] if head else ""
    if head and not declared.lower().endswith(_ENCODED):
        raise faults.broken("is a data URL without base64. Send data:TYPE;base64,CONTENT.")
    encoded = memoryview(_ascii(file_data))[head.end() if head else 0 :]
    if len(encoded) // 4 * 3 > most + 2:
        raise faults.too_large(f"has more than {most:,} bytes.")
    try:
        data = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise _no_base64() from error
    return declared[: -len(_ENCODED)] if head else "", data


def _ascii(text: str) -> bytes:
    try:
        return text.encode("ascii")
    except UnicodeEncodeError as error:
        raise _no_base64() from error


def _no_base64() -> Exception:
    return faults.broken(
        "is neither base64 nor a data URL. Send data:TYPE;base64,CONTENT, or CONTENT alone."
    )
