"""Requests to speak something else than HTTP: WebSocket, tunnels. There is nothing of the kind."""

from quart import Request

from serve.api.wire.errors import ApiError

_WEBSOCKET = (
    "Nothing here speaks WebSocket. With 'stream': true an answer comes as server-sent events over "
    "plain HTTP. See /docs."
)


def refuse_other_protocols(request: Request) -> None:
    """Let a request pass that wants an answer over HTTP.

    A WebSocket handshake (RFC 6455, 4.1) is a GET with two headers. Its refusal names the protocol
    that is spoken, as a 426 must (RFC 9110, 15.5.22). In HTTP/2 the handshake is a CONNECT
    (RFC 8441), and no answer can have an `Upgrade` (RFC 9113, 8.2.2): there it gets what a
    protocol that is not supported gets (RFC 9220, 3).

    Raises:
        ApiError: 426, a WebSocket handshake over HTTP/1.1; 501, a CONNECT.
    """
    if request.method == "CONNECT":
        if request.http_version == "2":
            message = f"CONNECT is not supported. {_WEBSOCKET}"
        else:
            message = "CONNECT is not supported: this server is no proxy."
        raise ApiError(501, message, code="unsupported_method")
    if request.method == "GET" and _tokens(request, "Upgrade", "websocket"):
        if not _tokens(request, "Connection", "upgrade"):
            return
        raise ApiError(
            426,
            _WEBSOCKET,
            code="websocket_not_supported",
            headers={"Upgrade": "HTTP/1.1", "Connection": "Upgrade"},
        )


def _tokens(request: Request, header: str, wanted: str) -> bool:
    given = ",".join(request.headers.getlist(header)).lower().split(",")
    return wanted in (token.strip() for token in given)
