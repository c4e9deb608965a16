"""Bodies that are read as they come, of any length: their sender waits for whoever reads.

The framework takes a body as fast as it arrives; here the middleware asks first.
"""

import asyncio
from typing import Any

from quart import Request
from quart.wrappers.request import Body
from werkzeug.datastructures import Headers

from serve.api.exchange import exchange_of

UPLOAD_PATHS = ("/v1/files", "/files")

# So much of a body waits to be read.
_HELD_BYTES = 256 * 2**10


class PacedBody(Body):
    """A body of which little is held at a time."""

    def __init__(self) -> None:
        super().__init__(None, None)
        self._room = asyncio.Event()
        self._room.set()
        self._dropped = False

    def append(self, data: bytes) -> None:
        """More has come."""
        if self._dropped:
            return
        super().append(data)
        if len(self._data) >= _HELD_BYTES:
            self._room.clear()

    async def __anext__(self) -> bytes:
        """What has come, when something has."""
        data = await super().__anext__()
        self._room.set()
        return data

    async def wanted(self) -> None:
        """Wait until there is room for more."""
        await self._room.wait()

    def drop(self) -> None:
        """Nobody reads the rest."""
        self._dropped = True
        self._data.clear()
        self._room.set()


class UploadRequest(Request):
    """A request whose body is paced where files are uploaded."""

    def __init__(
        self,
        method: str,
        scheme: str,
        path: str,
        query_string: bytes,
        headers: Headers,
        *others: Any,
        **more: Any,
    ) -> None:
        super().__init__(method, scheme, path, query_string, headers, *others, **more)
        if method == "POST" and path in UPLOAD_PATHS:
            self.body = PacedBody()
            exchange_of(self.scope).intake = self.body
