"""Exceptions of handlers and of the web framework, answered in the API's one shape."""

import json
import logging

from quart import Quart, Response, request
from werkzeug.exceptions import HTTPException

from serve.api.answering.failures import unforeseen
from serve.api.exchange import exchange_of
from serve.api.wire.errors import ApiError

_LOG = logging.getLogger("parlance.api")

_FRAMEWORK_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "request_too_large",
}


def install(app: Quart, max_body_bytes: int) -> None:
    """Have `app` answer every exception with an error body."""

    async def from_api(error: ApiError) -> Response:
        return error_response(error)

    async def from_framework(error: HTTPException) -> Response:
        status = error.code or 500
        headers = {
            name: value
            for name, value in error.get_headers()
            if name.lower() not in ("content-type", "content-length")
        }
        message = {
            404: f"Unknown request URL: {request.method} {request.path}. See /docs.",
            405: f"Not allowed to {request.method} on {request.path}. See /docs.",
            408: "The request's body took too long to arrive.",
            413: f"The request's body is longer than the {max_body_bytes} bytes allowed.",
        }.get(status, error.description or error.name)
        code = _FRAMEWORK_CODES.get(status, "invalid_request")
        return error_response(ApiError(status, message, code=code, headers=headers))

    async def from_anything(error: Exception) -> Response:
        request_id = exchange_of(request.scope).request_id
        _LOG.error("request %s failed", request_id, exc_info=error)
        return error_response(unforeseen(request_id))

    app.register_error_handler(ApiError, from_api)
    app.register_error_handler(HTTPException, from_framework)
    app.register_error_handler(Exception, from_anything)


def error_response(error: ApiError) -> Response:
    """The response that tells of `error`."""
    return Response(
        json.dumps(error.body(), ensure_ascii=False),
        status=error.status,
        headers=error.headers,
        content_type="application/json",
    )
