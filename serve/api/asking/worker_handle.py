"""One process that drafts bodies, from this side.

Knows nothing of who asks, nor of what is in a body.
"""

import logging
import pickle
import signal
from collections.abc import Callable
from typing import cast

from serve.api.asking.content_coding import Body
from serve.api.asking.draft import Prepared
from serve.api.asking.media import Shown
from serve.api.asking.wanted import Wanted
from serve.api.asking.worker import Drafted, Failed, Reply
from serve.api.wire.errors import ApiError
from serve.helper import Helper, is_of_memory
from serve.kept_helper import AbandonedError, KeptHelper

logger = logging.getLogger(__name__)


class Worker(KeptHelper):
    """One process.

    Args:
        parts: what the process is sent first: `WorkerLimits` and a `Drafter`, pickled.
    """

    def __init__(self, parts: Callable[[], bytes]) -> None:
        super().__init__("serve.api.asking.worker", "reads long requests", parts)
        self._busy_with = self._abandoned = ""
        # Killed for a body that was given up, and perhaps seen by the next one only.
        self._killed: Helper | None = None

    def draft(
        self, body: Body, completion_id: str, shown: Shown | None = None
    ) -> Prepared | Wanted:
        """As `Drafter.draft`, in the process. For one thread at a time; blocks.

        A body amid which the process ends for no reason of the body's is tried once more.

        Raises:
            ApiError: 400 or 404, the first thing that is wrong with it; 413, it takes more time or
                memory than any may.
            AbandonedError: it was given up.
            RuntimeError: the process fails.
        """
        with self._lock:
            self._busy_with = completion_id
        try:
            reply = self._ask(body, completion_id, shown)
        finally:
            with self._lock:
                self._busy_with = ""
        if isinstance(reply, ApiError):
            raise reply
        if not isinstance(reply, Failed):
            return reply.whole() if isinstance(reply, Drafted) else reply
        if not reply.reason:
            raise _too_much("memory")
        raise RuntimeError(f"a long request could not be read:\n{reply.reason}")

    def abandon(self, completion_id: str) -> None:
        """Give up a body, if it is still that; another process takes over. For any thread."""
        with self._lock:
            if self._busy_with == completion_id and self._helper is not None:
                self._abandoned, self._killed = completion_id, self._helper
                self._helper.kill()

    def _ask(self, body: Body, completion_id: str, shown: Shown | None) -> Reply:
        # Beside the one that it ends in, the process may be one that was given up before.
        for _ in range(3):
            helper, _ = self.start()
            try:
                helper.connection.send_bytes(" ".join((completion_id, *body.codings)).encode())
                helper.connection.send_bytes(body.data)
                helper.connection.send_bytes(pickle.dumps(shown))
                answer = helper.connection.recv_bytes()
            except (EOFError, OSError):
                self._ended(helper)
                continue
            return cast("Reply", pickle.loads(answer))  # noqa: S301  (our own process)
        raise RuntimeError("the process that reads long requests ends again and again")

    def _ended(self, helper: Helper) -> None:
        """Tell why the process has ended amid a body, if it is the body's fault.

        Raises:
            AbandonedError: it was given up, and nobody is to blame.
            ApiError: it takes too much.
        """
        status, said = helper.why_ended()
        self._forget()
        if self._closed or self._abandoned == self._busy_with:
            raise AbandonedError
        if helper is self._killed:
            return
        if status == -signal.SIGPROF:
            raise _too_much("time")
        how = signal.Signals(-status).name if status < 0 else f"exit code {status}"
        logger.warning(
            "the process that reads long requests ended with %s: %s", how, said or "no word"
        )
        if is_of_memory(status, said):
            raise _too_much("memory")


def _too_much(what: str) -> ApiError:
    return ApiError(
        413,
        f"The request takes too much {what} to be read. Send less at once.",
        code="request_too_large",
    )
