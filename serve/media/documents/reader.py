"""Reads files of strangers without harm: in processes that may fail, while the event loop goes on.

Knows nothing of requests, nor of how a kind is read.
"""

import json
from dataclasses import asdict

from serve.media.documents import transfer
from serve.media.documents.document import Document
from serve.media.documents.limits import DocumentLimits
from serve.media.documents.names import shown_name
from serve.media.documents.transfer import Asked, error_of
from serve.media.file_process import FileProcesses, Link, Reading, Refused

_NAME_CHARACTERS = 1000


class DocumentReader(FileProcesses[Asked, Document]):
    """Processes that read files, one file each at a time. Belongs to one event loop.

    Args:
        limits: of each file.
        count: how many processes there are.
    """

    def __init__(self, limits: DocumentLimits | None = None, count: int = 1) -> None:
        self.limits = limits or DocumentLimits()
        parts = json.dumps(asdict(self.limits)).encode()
        reading = Reading(
            "serve.media.documents.worker", parts, self.limits.seconds, self._exchange
        )
        super().__init__(reading, count)

    async def read(
        self, name: str, data: bytes, *, declared: str = "", pictures: bool = False
    ) -> Document:
        """Read a file. Whoever is cancelled frees the process at once.

        Args:
            name: that it was sent with, or "".
            data: its content.
            declared: media type that it came with, with its parameters; or "".
            pictures: whether pages without text are wanted as pictures.

        Raises:
            MediaError: it is of no kind that is read, broken, or over a limit.
            OSError: the process that reads it does not start.
        """
        name = name[-_NAME_CHARACTERS:]
        if not data:
            raise error_of(shown_name(name), Refused("is empty.", "invalid_file"))
        if len(data) > self.limits.bytes:
            reason = f"has {len(data):,} bytes; {self.limits.bytes:,} are allowed."
            raise error_of(shown_name(name), Refused(reason, "file_too_large"))
        asked = Asked(name, declared[:_NAME_CHARACTERS], pictures)
        answer = await self.ask(asked, data)
        if isinstance(answer, Refused):
            raise error_of(shown_name(name), answer)
        return answer

    def _exchange(self, link: Link, asked: Asked, data: bytes) -> Document | Refused:
        transfer.send_file(link, asked, data)
        return transfer.receive_answer(link, self.limits)
