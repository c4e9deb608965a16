"""API keys: whether a request carries an accepted one. Keys are never logged."""

import hashlib
import hmac
from collections.abc import Sequence

from serve.api.wire.errors import ApiError

# Open to whoever watches over the server.
_OPEN_PATHS = ("/health", "/metrics")


class ApiKeys:
    """The accepted keys; none means that no key is asked for."""

    def __init__(self, keys: Sequence[str]) -> None:
        # Digests have one length, so that comparing tells nothing of a key's.
        self._digests = [_digest(key) for key in keys]

    def check(self, path: str, authorization: str) -> str | None:
        """Let a request pass.

        Args:
            path: of the request.
            authorization: its header of that name, or an empty string.

        Returns:
            A digest of its key; None where none is asked for.

        Raises:
            ApiError: 401; the header is missing or wrong.
        """
        if not self._digests or any(path == p or path.startswith(p + "/") for p in _OPEN_PATHS):
            return None
        scheme, _, key = authorization.partition(" ")
        given = _digest(key.strip())
        # All digests are compared, whatever the first ones give.
        matches = sum([hmac.compare_digest(given, digest) for digest in self._digests])
        if scheme.lower() != "bearer" or not matches:
            raise ApiError(
                401,
                "Incorrect API key provided."
                if authorization
                else "You didn't provide an API key. Send it as 'Authorization: Bearer KEY'.",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return given.hex()


def digest_of(key: str) -> str:
    """What stands for an accepted key wherever the server remembers who has asked."""
    return _digest(key).hex()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()
