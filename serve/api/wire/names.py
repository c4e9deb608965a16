"""The names that this server gives to what it keeps.

Whatever looks otherwise is nobody's, and need not be looked for.
"""

import re
import secrets
import string

_BASE62 = string.digits + string.ascii_letters
_DIGITS = 22
COMPLETION_ID = re.compile(rf"chatcmpl-[0-9A-Za-z]{{{_DIGITS}}}")
AUDIO_ID = re.compile(rf"audio-[0-9A-Za-z]{{{_DIGITS}}}")
FILE_ID = re.compile(rf"file-[0-9A-Za-z]{{{_DIGITS}}}")


def new_id(kind: str) -> str:
    """`kind`, a dash, and 128 random bits in base 62."""
    number, digits = secrets.randbits(128), ""
    for _ in range(_DIGITS):
        number, digit = divmod(number, 62)
        digits += _BASE62[digit]
    return f"{kind}-{digits}"


def message_id(completion_id: str, place: int) -> str:
    """The name of a stored completion's message."""
    return f"{completion_id}-{place}"


def message_place(completion_id: str, name: str) -> int:
    """Which message of a completion `name` is; -1 for none."""
    found = re.fullmatch(rf"{re.escape(completion_id)}-(0|[1-9][0-9]{{0,5}})", name)
    return -1 if found is None else int(found[1])
