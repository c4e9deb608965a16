"""Speaks what is being written: who gets a process, and what waits for whoever listens."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from weakref import WeakSet

from serve.kept_helper import AbandonedError
from serve.voice.process import Errand, SpeakingProcess
from serve.voice.settings import VoiceSettings
from serve.voice.speech import Speech, Tell
from serve.voice.transfer import Job
from serve.voice.types import Voice, VoiceError

_STOPPED = "The server is being stopped."


class Speaker:
    """Processes that speak, one sentence each at a time. Belongs to one event loop.

    A speech has one sentence spoken at a time, and they take turns in the order in which they ask:
    so turns go round.

    Args:
        voices: by the names that requests give.
        settings: see there.
    """

    def __init__(self, voices: Mapping[str, Voice], settings: VoiceSettings | None = None) -> None:
        self.voices = voices
        self._settings = settings or VoiceSettings()
        # Names may share a voice.
        distinct = set(voices.values())
        count = self._settings.processes
        self._processes = [SpeakingProcess(distinct, self._settings) for _ in range(count)]
        self._closed = False
        self._speeches = WeakSet[Speech]()
        self._idle: asyncio.Queue[SpeakingProcess] = asyncio.Queue()
        for each in self._processes:
            self._idle.put_nowait(each)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="voices")

    def try_out(self) -> None:
        """Have the first process started, where there is no event loop yet; blocks.

        Raises:
            OSError: as by `start`.
        """
        self._processes[0].start()

    async def start(self) -> None:
        """Have the processes started, with all voices loaded.

        Raises:
            OSError: they do not start: an engine, a voice, or an extra is missing; says which.
        """
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(loop.run_in_executor(self._threads, each.start) for each in self._processes)
        )

    def begin(self, voice: Voice, speed: float = 1.0) -> Speech:
        """A speech, to which text is then fed.

        Args:
            voice: one of `voices`.
            speed: 1 is the voice's own.
        """
        spoken = replace(voice, speed=voice.speed * speed)
        speech = Speech(
            lambda text, tell: self._speak(Job(text, spoken), tell), self._settings.ahead_seconds
        )
        self._speeches.add(speech)
        return speech

    @property
    def open(self) -> int:
        """Speeches in progress."""
        return sum(not speech.ended for speech in self._speeches)

    def close(self) -> None:
        """End the processes, whatever they say."""
        self._closed = True
        for each in self._processes:
            each.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _speak(self, job: Job, tell: Tell) -> None:
        """Have one sentence spoken. Who is cancelled stops it."""
        loop = asyncio.get_running_loop()
        process = await self._idle.get()
        if self._closed:
            self._idle.put_nowait(process)
            raise VoiceError(_STOPPED)
        errand = Errand(job, partial(loop.call_soon_threadsafe, tell))
        spoken = loop.run_in_executor(self._threads, process.speak, errand)
        spoken.add_done_callback(partial(self._over, process))
        try:
            await asyncio.shield(spoken)
        except asyncio.CancelledError:
            process.give_up(errand)
            raise
        except AbandonedError as error:
            raise VoiceError(_STOPPED) from error

    def _over(self, process: SpeakingProcess, spoken: "asyncio.Future[None]") -> None:
        self._idle.put_nowait(process)
        if not spoken.cancelled() and spoken.exception() and not self._closed:
            # It may have ended: the next one is not to wait for another's start.
            self._threads.submit(process.start)
