"""Cross-origin calls from browsers: off unless origins are configured (Fetch standard, CORS)."""

from collections.abc import Sequence

Headers = list[tuple[bytes, bytes]]

_STAINLESS = (
    "arch",
    "async",
    "custom-poll-interval",
    "helper-method",
    "lang",
    "os",
    "package-version",
    "poll-helper",
    "read-timeout",
    "retry-count",
    "runtime",
    "runtime-version",
    "timeout",
)
_ALLOWED_HEADERS = ", ".join(
    [
        "Authorization",
        "Content-Encoding",
        "Content-Type",
        "X-Request-ID",
        "OpenAI-Organization",
        "OpenAI-Project",
        "OpenAI-Beta",
        "User-Agent",
        *(f"x-stainless-{name}" for name in _STAINLESS),
    ]
).encode()
_EXPOSED_HEADERS = ", ".join(
    [
        "x-request-id",
        "openai-processing-ms",
        "openai-version",
        "retry-after",
        "x-parlance-no-effect",
        "x-parlance-no-search",
        *(
            f"x-ratelimit-{what}-{kind}"
            for kind in ("requests", "tokens")
            for what in ("limit", "remaining", "reset")
        ),
    ]
).encode()


class CrossOrigin:
    """The headers that let pages of given origins read responses.

    Args:
        origins: such as `https://chat.example`; `*` allows every page.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        self._any = "*" in origins
        self._origins = {origin.rstrip("/").encode() for origin in origins}

    @property
    def enabled(self) -> bool:
        """Whether any origin is allowed."""
        return bool(self._origins)

    def response_headers(self, origin: bytes | None) -> Headers:
        """Headers for a response to a page of `origin`."""
        if not self.enabled:
            return []
        if self._any:
            return self._allow(b"*")
        vary = (b"vary", b"Origin")
        if origin is None or origin not in self._origins:
            return [vary]
        return [*self._allow(origin), vary]

    def preflight_headers(self, origin: bytes | None) -> Headers:
        """Headers for the browser's question before a call."""
        headers = self.response_headers(origin)
        if not any(name == b"access-control-allow-origin" for name, _ in headers):
            return headers
        return [
            *headers,
            (b"access-control-allow-methods", b"GET, POST, DELETE, OPTIONS"),
            (b"access-control-allow-headers", _ALLOWED_HEADERS),
            (b"access-control-max-age", b"600"),
        ]

    def _allow(self, origin: bytes) -> Headers:
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED_HEADERS),
        ]
