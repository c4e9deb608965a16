"""One process that speaks, from this side.

Knows nothing of who listens.
"""

import json
import logging
import signal
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from serve.helper import Helper
from serve.kept_helper import AbandonedError, KeptHelper
from serve.voice import transfer
from serve.voice.settings import VoiceSettings
from serve.voice.transfer import Job
from serve.voice.types import Samples, Voice, VoiceError

logger = logging.getLogger(__name__)

_AGAIN = "Another takes its place: ask again."


@dataclass(eq=False, slots=True)
class Errand:
    """A sentence that is to be spoken, and whether anybody still listens.

    Attributes:
        job: the sentence.
        tell: is called with each piece of its sound, on the thread that has it spoken.
        begun: whether the process has it.
        given_up: whether nobody listens.
    """

    job: Job
    tell: Callable[[Samples], object]
    begun: bool = False
    given_up: bool = False


class SpeakingProcess(KeptHelper):
    """One process.

    Args:
        voices: that it is to be ready for.
        settings: see there.
    """

    def __init__(self, voices: Iterable[Voice], settings: VoiceSettings) -> None:
        told = {"voices": [asdict(voice) for voice in voices], "threads": settings.threads}
        parts = json.dumps(told).encode()
        super().__init__("serve.voice.worker", "speaks", lambda: parts)
        self._silence = settings.silence_seconds
        self._errand: Errand | None = None

    def speak(self, errand: Errand) -> None:
        """Have a sentence spoken. For one thread at a time; blocks.

        Raises:
            VoiceError: it cannot be spoken, or the process has hung, or ended amid it.
            AbandonedError: it was given up, or the process is closed.
        """
        with self._lock:
            self._errand = errand
        try:
            # One that ended before it said anything may have ended for another reason.
            while not self._spoken(errand):
                pass
        except OSError as error:
            raise VoiceError(str(error)) from error
        finally:
            with self._lock:
                self._errand = None

    def give_up(self, errand: Errand) -> None:
        """Have the process stop, if it still speaks that. For any thread."""
        with self._lock:
            errand.given_up = True
            if self._errand is errand and errand.begun and self._helper is not None:
                self._tell(self._helper, transfer.STOP)

    def _spoken(self, errand: Errand) -> bool:
        """Returns False where it is to be tried again, by another process."""
        helper, fresh = self.start()
        self._begin(helper, errand)
        told = False
        try:
            while helper.connection.poll(self._silence):
                piece = transfer.receive_sound(helper.connection)
                if piece is None:
                    return True
                told = True
                if not errand.given_up:
                    errand.tell(piece)
        except (EOFError, OSError):
            why = self._why_ended(helper)
        else:
            helper.kill()
            told, why = True, f"gave no sound for {self._silence:g} seconds"
        self._forget()
        if self._closed or errand.given_up:
            raise AbandonedError
        logger.warning("a process that speaks %s", why)
        if told or fresh:
            raise VoiceError(f"The process that speaks {why.partition(':')[0]}. {_AGAIN}")
        return False

    def _begin(self, helper: Helper, errand: Errand) -> None:
        with self._lock:
            if errand.given_up:
                raise AbandonedError
            errand.begun = True
            self._tell(helper, transfer.job_bytes(errand.job))

    def _why_ended(self, helper: Helper) -> str:
        status, said = helper.why_ended()
        how = signal.Signals(-status).name if status < 0 else f"exit code {status}"
        return f"ended with {how}: {said or 'no word'}"

    @staticmethod
    def _tell(helper: Helper, message: bytes) -> None:
        try:
            helper.connection.send_bytes(message)
        except OSError:
            # Whoever reads its answer learns why.
            helper.kill()
