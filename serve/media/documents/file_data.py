"""What a request has as `file_data`: a data URL, or base64 alone."""

from serve.media.data_url import decoded, decoded_bytes, head_of
from serve.media.documents import faults


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
    head = head_of(file_data)
    if head and not head.is_base64:
        raise faults.broken("is a data URL without base64. Send data:TYPE;base64,CONTENT.")
    start = head.end if head else 0
    if decoded_bytes(file_data, start) > most + 2:
        raise faults.too_large(f"has more than {most:,} bytes.")
    try:
        data = decoded(file_data, start)
    except ValueError as error:
        raise faults.broken(
            "is neither base64 nor a data URL. Send data:TYPE;base64,CONTENT, or CONTENT alone."
        ) from error
    return head.declared if head else "", data
