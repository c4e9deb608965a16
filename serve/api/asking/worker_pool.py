"""Long bodies are drafted in processes of their own: nothing that runs here waits for them.

Owns who gets one. Knows nothing of what is in a body, nor of how a process is talked to.
"""

import asyncio
import logging
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from serve.api.asking.content_coding import Body
from serve.api.asking.draft import Drafter, Prepared
from serve.api.asking.media import Shown, size
from serve.api.asking.waiting_room import MOST_WAITING_BODIES, WaitingRoom
from serve.api.asking.wanted import Wanted
from serve.api.asking.worker import WorkerLimits
from serve.api.asking.worker_handle import Worker
from serve.kept_helper import AbandonedError

logger = logging.getLogger(__name__)

# One process for so many cores, which are for what computes tokens; but two at least, so that the
# bodies of most conversations have one that none of the longest is in.
CORES_EACH = 8
LEAST_PROCESSES = 2
MOST_PROCESSES = 4
# Bodies longer than conversations usually have leave one process to the others, who would wait for
# seconds. So do compressed ones, which may unfold to anything.
LARGE_BODY_BYTES = 64 * 2**10
# What a process may take for a body: for each of its bytes, as the dearest of them do (a token
# each), and besides.
MEMORY_EACH_BYTE = 160
LEAST_MEMORY = 128 * 2**20
# Of a core, for a body: several times as long as the longest text takes to be cut.
MOST_SECONDS = 30.0


class WorkerPool:
    """Processes that draft bodies, and turns at them. Belongs to one event loop.

    Args:
        drafter: what they run.
        most_bytes: of a body.
        count: how many there are; 0 for as many as the machine has cores for.
        text_bytes: of a body that may be as dear as the dearest text; 0 for all.
    """

    def __init__(
        self, drafter: Drafter, most_bytes: int, count: int = 0, *, text_bytes: int = 0
    ) -> None:
        cores = os.cpu_count() or 1
        count = count or max(LEAST_PROCESSES, min(MOST_PROCESSES, cores // CORES_EACH))
        self._drafter = drafter
        memory = LEAST_MEMORY + MEMORY_EACH_BYTE * (text_bytes or most_bytes)
        self._limits = WorkerLimits(memory, MOST_SECONDS)
        self._pickled = b""
        self._pickling = threading.Lock()
        self._waiting_room = WaitingRoom(count, MOST_WAITING_BODIES * most_bytes)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="long-requests")
        self._workers = [Worker(self._parts) for _ in range(count)]
        self._idle = list(self._workers)

    async def draft(
        self, body: Body, completion_id: str, caller: str, shown: Shown | None = None
    ) -> Prepared | Wanted:
        """As `Drafter.draft`, in a process, when it is the caller's turn.

        Whoever is cancelled frees the place at once.

        Raises:
            ApiError: as `Worker.draft` and `WaitingRoom.take` tell it.
            RuntimeError: the process fails.
        """
        weight = len(body.data) + size(shown or {})
        large = weight > LARGE_BODY_BYTES or bool(body.codings)
        await self._waiting_room.take(caller, weight, large=large)
        worker = self._idle.pop()
        job = asyncio.get_running_loop().run_in_executor(
            self._threads, worker.draft, body, completion_id, shown
        )

        def free(_: object) -> None:
            # Looked at, so that nobody is warned of what an abandoned one ended with.
            _ = job.cancelled() or job.exception()
            self._idle.append(worker)
            self._waiting_room.release(large=large)

        job.add_done_callback(free)
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            worker.abandon(completion_id)
            raise

    def start(self) -> None:
        """Have the processes started, in the background, so that no body waits for that."""
        for worker in self._workers:
            self._threads.submit(_start, worker)

    def close(self) -> None:
        """End the processes, whatever they do."""
        for worker in self._workers:
            worker.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _parts(self) -> bytes:
        with self._pickling:
            if not self._pickled:
                # Keys are nothing that a body is read with.
                settings = replace(self._drafter.settings, api_keys=(), caller_hash_key=b"")
                if settings.moderation is not None:
                    moderation = replace(settings.moderation, key="")
                    settings = replace(settings, moderation=moderation)
                drafter = replace(self._drafter, settings=settings)
                self._pickled = pickle.dumps((self._limits, drafter))
            return self._pickled


def _start(worker: Worker) -> None:
    try:
        worker.start()
    except AbandonedError:
        return
    except Exception:
        logger.exception("long requests cannot be read")
