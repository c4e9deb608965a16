"""One process that reads files, from this side.

Knows nothing of who asks, nor of what is in a file.
"""

import json
import logging
import signal
import threading
from dataclasses import asdict, dataclass

from serve.helper import Helper, is_of_memory
from serve.kept_helper import AbandonedError, KeptHelper
from serve.media.documents import transfer
from serve.media.documents.document import Document
from serve.media.documents.limits import DocumentLimits
from serve.media.documents.names import shown_name
from serve.media.documents.transfer import Asked, Refused

logger = logging.getLogger(__name__)

# Of the clock, for a second of a core: a busy machine may take that long.
_PATIENCE = 30.0
# What an answer raises that is none.
_NONSENSE = (LookupError, RecursionError, TypeError, ValueError)
_TOO_MUCH = "takes too much {} to be read. Send a part of it."


@dataclass(eq=False, slots=True)
class Errand:
    """A file that is to be read, and whether anybody still waits for it.

    Attributes:
        asked: what is said of it.
        data: its content.
        given_up: whether nobody does.
    """

    asked: Asked
    data: bytes
    given_up: bool = False


class ReadingProcess(KeptHelper):
    """One process.

    Args:
        limits: of each file.
    """

    def __init__(self, limits: DocumentLimits) -> None:
        parts = json.dumps(asdict(limits)).encode()
        super().__init__("serve.media.documents.worker", "reads files", lambda: parts)
        self._limits = limits
        self._errand: Errand | None = None

    def read(self, errand: Errand) -> Document:
        """Read a file. For one thread at a time; blocks.

        Raises:
            MediaError: the file cannot be taken.
            AbandonedError: it was given up, or the process is closed.
            OSError: the process does not start.
        """
        with self._lock:
            self._errand = errand
        try:
            answer = self._ask(errand)
        except OSError as error:
            if errand.given_up:
                raise AbandonedError from error
            raise
        finally:
            with self._lock:
                self._errand = None
        if isinstance(answer, Document):
            return answer
        if answer.unforeseen:
            logger.info("a file could not be read: %s", answer.unforeseen)
        raise transfer.error_of(shown_name(errand.asked.name), answer)

    def give_up(self, errand: Errand) -> None:
        """End the process, if it still reads that; another takes over. For any thread."""
        with self._lock:
            errand.given_up = True
            if self._errand is errand and self._helper is not None:
                self._helper.kill()

    def _ask(self, errand: Errand) -> Document | Refused:
        while True:
            helper, fresh = self.start()
            overdue = threading.Event()
            timer = threading.Timer(
                _PATIENCE * self._limits.seconds, _end_overdue, (helper, overdue)
            )
            timer.daemon = True
            timer.start()
            try:
                if errand.given_up:
                    raise AbandonedError
                transfer.send_file(helper.connection, errand.asked, errand.data)
                return transfer.receive_answer(helper.connection, self._limits)
            except (EOFError, OSError):
                status, said = helper.why_ended()
            except _NONSENSE as nonsense:
                helper.kill()
                status, said = helper.why_ended()[0], str(nonsense)
            finally:
                timer.cancel()
            self._forget()
            if self._closed or errand.given_up:
                raise AbandonedError
            if overdue.is_set() or status == -signal.SIGPROF:
                return Refused(_TOO_MUCH.format("time"), "file_too_large")
            # One that has read files before may have come to its end by one of those.
            if fresh:
                return _why_ended(status, said)


def _end_overdue(helper: Helper, overdue: threading.Event) -> None:
    overdue.set()
    helper.kill()


def _why_ended(status: int, said: str) -> Refused:
    how = signal.Signals(-status).name if status < 0 else f"exit code {status}"
    logger.warning("a process that read a file ended with %s: %s", how, said or "no word")
    if is_of_memory(status, said):
        return Refused(_TOO_MUCH.format("memory"), "file_too_large")
    return Refused("cannot be read: it is damaged, or takes too much memory.", "invalid_file")
