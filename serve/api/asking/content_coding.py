"""A compressed body to the bytes that were compressed (RFC 9110, section 8.4).

Stops at the most bytes that a body may have, whatever it would unfold to. Knows nothing of what
they are.
"""

import zlib
from dataclasses import dataclass

from serve.api.wire.errors import ApiError, invalid
from serve.api.wire.faults import echo

_SUPPORTED = ("gzip", "deflate")
_ALIASES = {"x-gzip": "gzip"}
# Each is undone on its own, so what naming many of them costs is bounded too.
MOST_CODINGS = 2
# gzip data may be many short members, and what follows a member's end is copied.
_SLICE = 4096

# zlib's arguments for the three formats.
_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a request as it came.

    Attributes:
        data: its bytes.
        codings: what was applied to them, in that order.
    """

    data: bytes
    codings: tuple[str, ...] = ()


def codings_of(header: str) -> tuple[str, ...]:
    """The codings that a `Content-Encoding` names, in the order in which they were applied.

    Raises:
        ApiError: 415; one that is not supported, or too many.
    """
    named = (name.strip().lower() for name in header.split(","))
    codings = tuple(_ALIASES.get(name, name) for name in named if name not in ("", "identity"))
    if len(codings) > MOST_CODINGS or not set(codings).issubset(_SUPPORTED):
        raise ApiError(
            415,
            f"The body's Content-Encoding is {echo(header)}. Send the body as it is, or compressed "
            f"with {' or '.join(_SUPPORTED)}, at most {MOST_CODINGS} times.",
            code="unsupported_media_type",
            headers={"Accept-Encoding": ", ".join(_SUPPORTED)},
        )
    return codings


def decoded(body: Body, most_bytes: int) -> bytes:
    """`body` as it was before its codings were applied.

    Raises:
        ApiError: 400, it is damaged or cut off; 413, it has more than `most_bytes`.
    """
    data = body.data
    for coding in reversed(body.codings):
        data = _undone(coding, data, most_bytes)
    return data


def _undone(coding: str, body: bytes, most_bytes: int) -> bytes:
    window = _GZIP if coding == "gzip" else _deflate_window(body)
    whole = bytearray()
    stream = zlib.decompressobj(window)
    for start in range(0, len(body), _SLICE):
        rest = body[start : start + _SLICE]
        while rest:
            if stream.eof:
                if window != _GZIP:
                    raise _damaged(coding, "something follows its end")
                stream = zlib.decompressobj(window)
            try:
                whole += stream.decompress(rest, most_bytes + 1 - len(whole))
            except zlib.error as error:
                # Before that stands zlib's own number of the error.
                raise _damaged(coding, str(error).rpartition(": ")[2]) from error
            if len(whole) > most_bytes:
                raise ApiError(
                    413,
                    f"The request's body, decompressed, is longer than the {most_bytes} bytes "
                    f"allowed.",
                    code="request_too_large",
                )
            rest = stream.unused_data
    if not stream.eof:
        raise _damaged(coding, "it ends too early")
    return bytes(whole)


def _deflate_window(body: bytes) -> int:
    """By the name of deflate, some clients send its data without the zlib format around them."""
    wrapped = (
        len(body) > 1 and body[0] & 0x0F == zlib.DEFLATED and not (body[0] << 8 | body[1]) % 31
    )
    return _ZLIB if wrapped or not body else _RAW


def _damaged(coding: str, reason: str) -> ApiError:
    return invalid(
        "invalid_compression",
        f"We could not decompress the body of your request, which its Content-Encoding says is "
        f"{coding}: {reason}.",
    )
