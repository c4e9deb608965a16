"""Why a valid request gets no answer, or no whole one, in the API's words.

Knows nothing of where it is said: a status that is out already leaves only the stream.
"""

from serve.api.wire.errors import ApiError, invalid
from serve.engine.types import (
    ConstraintError,
    EngineState,
    EngineUnavailableError,
    QueueFullError,
)

_UNAVAILABLE = {
    EngineState.STARTING: ("not_ready", "The model is still being loaded and compiled."),
    EngineState.READY: ("not_ready", "The engine takes no request at the moment."),
    EngineState.DRAINING: ("draining", "The server is shutting down and takes no new requests."),
    EngineState.DEAD: ("engine_dead", "The engine has failed and the server must be restarted."),
}


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
