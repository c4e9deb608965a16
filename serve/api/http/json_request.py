"""The body of a request that says it is JSON. Knows nothing of what is in it."""

import asyncio

from quart import Request

from serve.api.asking.content_coding import codings_of, decoded
from serve.api.wire.errors import ApiError


async def json_bytes(request: Request, most_bytes: int) -> bytes:
    """The body of `request`, decompressed, of at most `most_bytes`.

    Raises:
        ApiError: 415, it is said to be something else than JSON in UTF-8, or compressed in a way
            that is not supported; 400, what is compressed is damaged; 413, it is too long.
    """
    _check_content_type(request)
    codings = codings_of(", ".join(request.headers.getlist("Content-Encoding")))
    body = await request.get_data(False, False, False)
    if codings:
        # A few bytes may unfold to many: that must not hold up running streams.
        body = await asyncio.to_thread(decoded, body, codings, most_bytes)
    return body


def _check_content_type(request: Request) -> None:
    kind = request.mimetype
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    is_json = kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )
    if not is_json or charset not in ("utf-8", "utf8"):
        raise ApiError(
            415,
            f"The body must be JSON in UTF-8, but its Content-Type is "
            f"'{request.content_type or 'missing'}'. Send 'Content-Type: application/json'.",
            code="unsupported_media_type",
        )
