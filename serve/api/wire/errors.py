"""The one shape of every error: `{"error": {"message", "type", "param", "code"}}`.

Knows nothing of what can go wrong.
"""

from typing import Literal

# The API's original calls a rate limit that is reached by what there is too much of.
ErrorType = Literal[
    "invalid_request_error", "rate_limit_error", "requests", "tokens", "server_error"
]


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

    def __reduce__(self) -> tuple[object, ...]:
        """Pickled whole; an exception is made again of its arguments, which here have names."""
        return ApiError.__new__, (type(self), *self.args), self.__dict__

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
