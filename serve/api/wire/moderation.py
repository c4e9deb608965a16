"""What a request is told when nobody judged its text."""

from serve.api.wire.errors import ApiError


def not_judged(retry_after: int) -> ApiError:
    """Whoever judges texts does not answer: 503."""
    return ApiError(
        503,
        "What may be said cannot be judged at the moment: the server that does so does not "
        f"answer. Try again in {retry_after} s.",
        type="server_error",
        code="moderation_unavailable",
        headers={"Retry-After": str(retry_after)},
    )
