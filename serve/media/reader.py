"""Decodes pictures on threads of its own, off the event loop."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from serve.media.images import read_picture
from serve.media.limits import PictureLimits
from serve.media.picture import Picture

Made = TypeVar("Made")


class PictureReader:
    """Threads that decode; as many pictures as there are threads are in memory at a time.

    Args:
        limits: of each picture.
        threads: that decode side by side. Pillow lets go of Python's lock while it works.
    """

    def __init__(self, limits: PictureLimits, threads: int) -> None:
        self.limits = limits
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="pictures")

    async def read(
        self, data: bytes | Callable[[], bytes], make: Callable[[Picture], Made]
    ) -> Made:
        """What is made of a file's picture. Who is cancelled leaves a thread that ends by itself.

        Args:
            data: the file, or what makes it on the thread.
            make: from the picture, on the thread too: pictures are large, patches are small.

        Raises:
            MediaError: see `read_picture`.
        """
        left = threading.Event()

        def work() -> Made:
            file = data() if callable(data) else data
            return make(read_picture(file, self.limits, stopped=left.is_set))

        try:
            return await self.run(work)
        finally:
            left.set()

    async def run(self, work: Callable[[], Made]) -> Made:
        """What is made on one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """End the threads, when they have done what they do."""
        self._threads.shutdown(wait=False, cancel_futures=True)
