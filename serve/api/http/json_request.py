"""The body of a request that says it is JSON. Knows nothing of what is in it."""

from quart import Request

from serve.api.asking.content_coding import Body, codings_of
from serve.api.wire.errors import ApiError


async def json_body(request: Request) -> Body:
    """The body of `request`.

    Raises:
        ApiError: 415, it is said to be something else than JSON in UTF-8, or compressed in a way
            that is not supported.
    """
    _check_content_type(request)
    codings = codings_of(", ".join(request.headers.getlist("Content-Encoding")))
    return Body(await request.get_data(False, False, False), codings)


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
