"""Uploaded files that a request names. Knows nothing of what is made of them."""

from serve.api.http.keeping import store_errors
from serve.api.settings import ApiSettings
from serve.api.wire.names import FILE_ID
from serve.store.files import Files


class UploadedFiles:
    """As `serve.api.asking.media_gatherer.FileSource`.

    Args:
        files: the store's.
        settings: of the HTTP side.
    """

    def __init__(self, files: Files, settings: ApiSettings) -> None:
        self._files = files
        self._settings = settings

    async def size(self, owner: str, file_id: str) -> tuple[str, int] | None:
        """The name of one of an owner's files, and its bytes; None where there is none.

        Raises:
            ApiError: 503; it cannot be found out.
        """
        if not FILE_ID.fullmatch(file_id):
            return None
        with store_errors(self._settings):
            file = await self._files.get(owner, file_id)
        return None if file is None else (file.filename, file.size)

    async def content(self, file_id: str) -> bytes:
        """The content of a file that `size` has told of; less of it where it is gone.

        Raises:
            ApiError: 503; it cannot be read.
        """
        with store_errors(self._settings):
            return b"".join([piece async for piece in self._files.content(file_id)])
