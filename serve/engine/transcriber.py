"""The speech model's thread: sounds of many callers, a window of each in turn, to texts.

Windows of several callers share a call. The thread waits for the device, and nobody for the thread.
It runs on one device, so that its programs and those that several devices share cannot wait for
each other.
"""

import asyncio
import contextlib
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from pathlib import Path

import numpy as np

from model.speech.loading import load_speech
from model.speech.recognizer import LoadedSpeech
from model.speech.windows import windows
from serve.engine.hearing import HearingError, Transcript, UnknownLanguageError
from serve.engine.memory import refused_if_exhausted

logger = logging.getLogger(__name__)

# Windows that share a call, unless a person says otherwise. A CPU gains nothing by that.
_ROWS, _ROWS_ON_CPU = 4, 1
# Languages that put no spaces between words.
_UNSPACED = frozenset({"zh", "yue", "ja", "th", "lo", "my"})
# Models of one language are English.
_ONLY_LANGUAGE = "en"


class _Sound:
    """A sound that is being recognized."""

    def __init__(self, parts: Iterator[np.ndarray], language: str | None) -> None:
        self.future: Future[Transcript] = Future()
        self.window: np.ndarray | None = None
        # As it was asked for or found out, which then holds for the rest.
        self.language = language
        self._parts = parts
        self._texts: list[str] = []

    def advance(self) -> bool:
        """Whether there is a window to be heard, `window`; if not, the caller is told the text."""
        if self.future.cancelled():
            return False
        self.window = next(self._parts, None)
        if self.window is None:
            separator = "" if self.language in _UNSPACED else " "
            spoken = separator.join(text for text in self._texts if text)
            language = (self.language or _ONLY_LANGUAGE) if self._texts else None
            with contextlib.suppress(InvalidStateError):
                self.future.set_result(Transcript(spoken, language))
        return self.window is not None

    def hear(self, text: str, language: str | None) -> None:
        """Take what the window says."""
        self._texts.append(text)
        self.language = language

    def fail(self, error: HearingError) -> None:
        """Tell the caller, if it still waits."""
        with contextlib.suppress(InvalidStateError):
            self.future.set_exception(error)


class Transcriber:
    """A speech model that runs on a thread of its own; see `hearing.Hears`.

    Args:
        speech: the model.
        rows: windows that share a call at most; 0 for what suits the device.

    Attributes:
        rows: the same, resolved.
    """

    def __init__(self, speech: LoadedSpeech, rows: int = 0) -> None:
        cpu = speech.mesh.devices.flat[0].platform == "cpu"
        self._speech, self.rows = speech, rows or (_ROWS_ON_CPU if cpu else _ROWS)
        # None to end.
        self._arriving: queue.SimpleQueue[_Sound | None] = queue.SimpleQueue()
        self._closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="speech", daemon=True)

    # --- for other threads -------------------------------------------------------------

    def start(self, on_progress: Callable[[int, int, str], None]) -> None:
        """Have the programs ready, then take sounds. Meant to be called on a thread.

        Args:
            on_progress: called with (programs ready, programs in all, what is being done).
        """
        sizes = sorted({1, self.rows})
        for done, size in enumerate(sizes):
            on_progress(done, len(sizes), f"compiling speech {size}")
            self._speech.compile(size)
        on_progress(len(sizes), len(sizes), "")
        self._thread.start()

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of those that the model knows."""
        return tuple(sorted(self._speech.tokens.languages)) or (_ONLY_LANGUAGE,)

    async def transcribe(self, samples: np.ndarray, language: str | None = None) -> Transcript:
        """See `Hears.transcribe`."""
        if samples.dtype != np.float32 or samples.ndim != 1 or not np.isfinite(samples).all():
            raise ValueError(
                f"samples are {samples.dtype} of shape {samples.shape}; they must be finite "
                "float32 numbers of one channel"
            )
        if language is not None and language not in self.languages:
            raise UnknownLanguageError(language, self.languages)
        sound = _Sound(windows(samples, self._speech.config.window), language)
        with self._lock:
            if self._closed:
                raise _going_down()
            self._arriving.put(sound)
        return await asyncio.wrap_future(sound.future)

    def close(self) -> None:
        """End the thread, after the call that runs; those who wait are told. Can be repeated."""
        with self._lock:
            self._closed = True
            self._arriving.put(None)
        if self._thread.is_alive():
            self._thread.join()
        while not self._arriving.empty():
            if sound := self._arriving.get():
                sound.fail(_going_down())

    # --- on the thread -----------------------------------------------------------------

    def _run(self) -> None:
        waiting: deque[_Sound] = deque()
        while self._take(waiting):
            batch: list[_Sound] = []
            while waiting and len(batch) < self.rows:
                sound = waiting.popleft()
                try:
                    if sound.advance():
                        batch.append(sound)
                except Exception as error:  # noqa: BLE001  (it is logged, and the caller's alone)
                    self._fail(sound, error)
            if batch:
                waiting += self._hear(batch)
        for sound in waiting:
            sound.fail(_going_down())

    def _take(self, waiting: deque[_Sound]) -> bool:
        """Put those who have come last in the line; waits for one if it is empty.

        Returns:
            Whether to go on; nobody comes after the end.
        """
        while not waiting or not self._arriving.empty():
            sound = self._arriving.get()
            if sound is None:
                return False
            waiting.append(sound)
        return True

    def _hear(self, batch: list[_Sound]) -> list[_Sound]:
        """Those whose window was heard; the others are told."""
        calls = [(sound.window, sound.language) for sound in batch if sound.window is not None]
        try:
            heard = self._speech(calls, rows=1 if len(calls) == 1 else self.rows)
        except Exception as error:  # noqa: BLE001  (as above)
            if len(batch) > 1:
                # It may be one's alone.
                return [each for sound in batch for each in self._hear([sound])]
            self._fail(batch[0], error)
            return []
        for sound, each in zip(batch, heard, strict=True):
            sound.hear(*each)
        return batch

    def _fail(self, sound: _Sound, error: Exception) -> None:
        logger.error("a sound could not be recognized", exc_info=error)
        sound.fail(HearingError(f"the speech model failed: {error}"))


def load_transcriber(directory: Path, dtype: str = "auto", rows: int = 0) -> Transcriber:
    """A transcriber that has not been started.

    Args:
        directory: of a Whisper model, as the hub has it.
        dtype: `auto`, `float32` or `bfloat16`.
        rows: windows that share a call at most; 0 for what suits the device.

    Raises:
        CheckpointError: the directory has none that can be run.
        TokenizerError: its tokenizer cannot be read.
        EngineConfigError: there is not enough memory for it.
    """
    with refused_if_exhausted("the speech model", "take a smaller one, or bfloat16 as its dtype"):
        return Transcriber(load_speech(directory, dtype), rows)


def _going_down() -> HearingError:
    return HearingError("the server is going down")
