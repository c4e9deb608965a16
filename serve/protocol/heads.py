"""Whether a request's head is one that this server takes. Knows neither HTTP/1.1 nor HTTP/2."""

import re
from collections.abc import Sequence

from serve.protocol.fault import Fault, malformed

_METHOD = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# Any absolute form names this server: it has one (RFC 9112, 3.2.2).
_ABSOLUTE = re.compile(rb"(?i:https?)://[^/?#]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_PRINTABLE = re.compile(rb"[\x21-\x7e]+")


def head_fault(
    method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]], most_bytes: int
) -> Fault | None:
    """What is wrong with a head, if anything is.

    Args:
        method: of the request.
        target: its path, or what stands in its place.
        headers: names and values.
        most_bytes: of all of it.
    """
    # Of a header's line: colon, space, and its end.
    size = len(method) + len(target) + sum(len(name) + len(value) + 4 for name, value in headers)
    if size > most_bytes:
        return too_large(most_bytes)
    if any(_CONTROL.search(value) for _, value in headers):
        return malformed("The value of a header has control characters.")
    if not _METHOD.fullmatch(method):
        return malformed("The request's method is not a name.")
    if not _PRINTABLE.fullmatch(target):
        return malformed("The request's target has characters that must be percent-encoded.")
    if method in (b"CONNECT", b"OPTIONS") or origin_form(target).startswith(b"/"):
        return None
    return malformed("The request's target is neither a path nor an http address.")


def too_large(most_bytes: int) -> Fault:
    """431."""
    return Fault(
        431, "headers_too_large", f"The request's line and headers exceed {most_bytes} bytes."
    )


def origin_form(target: bytes) -> bytes:
    """The path and query of a target; of `http://host/path?query` too."""
    absolute = _ABSOLUTE.match(target)
    if absolute is None:
        return target
    rest = target[absolute.end() :]
    return rest if rest.startswith(b"/") else b"/" + rest


def path_of(method: bytes, target: bytes) -> bytes:
    """What the application is told: where a target is no path (CONNECT), the root."""
    path = origin_form(target)
    return path if path.startswith(b"/") or method == b"OPTIONS" else b"/"
