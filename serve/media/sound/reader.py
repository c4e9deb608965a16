"""Reads sound of strangers without harm: in processes that may fail, while the event loop goes on.

Knows nothing of requests, nor of how a file is decoded.
"""

import json
from dataclasses import asdict

from serve.media.errors import MediaError
from serve.media.file_process import FileProcesses, Link, Reading, Refused
from serve.media.sound import transfer
from serve.media.sound.limits import SoundLimits
from serve.media.sound.transfer import Sound, SoundFormat


class SoundReader(FileProcesses[SoundFormat, Sound]):
    """Processes that read sound, one file each at a time. Belongs to one event loop.

    Args:
        limits: of each file.
        count: how many processes there are.
    """

    def __init__(self, limits: SoundLimits | None = None, count: int = 1) -> None:
        self.limits = limits or SoundLimits()
        parts = json.dumps(asdict(self.limits)).encode()
        reading = Reading("serve.media.sound.worker", parts, self.limits.seconds, self._exchange)
        super().__init__(reading, count)

    async def read(self, data: bytes, form: SoundFormat) -> Sound:
        """The samples of a file. Whoever is cancelled frees the process at once.

        Args:
            data: its content.
            form: what it is said to be.

        Raises:
            MediaError: it is of another format, damaged, without sound, or over a limit.
            OSError: the process that reads it does not start.
        """
        answer = await self._answer(data, form)
        if isinstance(answer, Refused):
            raise MediaError(f"This sound {answer.reason}", answer.code)
        return answer

    async def _answer(self, data: bytes, form: SoundFormat) -> Sound | Refused:
        if not data:
            return Refused("is empty.", "invalid_file")
        if len(data) > self.limits.bytes:
            reason = f"has {len(data):,} bytes; {self.limits.bytes:,} are allowed."
            return Refused(reason, "file_too_large")
        return await self.ask(form, data)

    def _exchange(self, link: Link, form: SoundFormat, data: bytes) -> Sound | Refused:
        transfer.send_file(link, form, data)
        return transfer.receive_answer(link, self.limits)
