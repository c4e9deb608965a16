"""The body of a request that says it is JSON. Knows nothing of what is in it."""

from quart import Request

from serve.api.wire.errors import ApiError


async def json_bytes(request: Request) -> bytes:
    """The body of `request`, as long as it is allowed to be.

    Raises:
        ApiError: 415; it is said to be something else than JSON in UTF-8.
    """
    _check_content_type(request)
    return await request.get_data(False, False, False)


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
