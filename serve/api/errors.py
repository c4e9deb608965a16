"""The one shape of every error: `{"error": {"message", "type", "param", "code"}}`.

Knows nothing of how a request is validated; `faults.py` turns pydantic's findings into these.
"""

from typing import Literal

from serve.engine.types import (
    ConstraintError,
    EngineState,
    EngineUnavailableError,
    QueueFullError,
)

ErrorType = Literal["invalid_request_error", "rate_limit_error", "server_error"]

_UNAVAILABLE = {
    EngineState.STARTING: ("not_ready", "The model is still being loaded and compiled."),
    EngineState.READY: ("not_ready", "The engine takes no request at the moment."),
    EngineState.DRAINING: ("draining", "The server is shutting down and takes no new requests."),
    EngineState.DEAD: ("engine_dead", "The engine has failed and the server must be restarted."),
}


class ApiError(Exception):
    """An answer other than success.

    Attributes:
        status: the HTTP status.
        message: what was given, what is allowed, what to do.
        type: one of the API's error types.
        param: path of the request's field at fault (`messages[2].content[0].type`), or None.
        code: a short name that programs can test, or None.
        headers: to send besides the usual ones.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None,
        param: str | None = None,
        type: ErrorType = "invalid_request_error",  # noqa: A002  the API's own name
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type: ErrorType = type
        self.param = param
        self.code = code
        self.headers = headers or {}

    def body(self) -> dict[str, dict[str, str | None]]:
        """The error as JSON carries it; all four members are always there."""
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }


def invalid(code: str, message: str, param: str | None = None) -> ApiError:
    """A request that is wrong in itself: 400."""
    return ApiError(400, message, code=code, param=param)


def queue_full(error: QueueFullError) -> ApiError:
    """No room in the engine's queue: 429."""
    return ApiError(
        429,
        f"The server is at its limit: {error}. Try again in {error.retry_after} s.",
        type="rate_limit_error",
        code="queue_full",
        headers={"Retry-After": str(error.retry_after)},
    )


def unavailable(error: EngineUnavailableError, retry_after: int) -> ApiError:
    """The engine is not there, or no longer: 503."""
    code, reason = _UNAVAILABLE[error.state]
    return ApiError(
        503,
        f"{reason} Try again in {retry_after} s.",
        type="server_error",
        code=code,
        headers={"Retry-After": str(retry_after)},
    )


def unforeseen(request_id: str) -> ApiError:
    """A fault of ours: 500. Says nothing of its cause; the log does, under the request's id."""
    return ApiError(
        500,
        f"The server had an error while processing your request. Tell whoever runs it the "
        f"request id {request_id}.",
        type="server_error",
        code="internal_error",
    )


def constraint_failed(error: ConstraintError, field: str) -> ApiError:
    """An answer that could not go on as the request's `field` asks."""
    return invalid("invalid_value", f"The answer was given up: {error}.", field)
