"""One text that is spoken while it is written. Knows nothing of processes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from serve.voice.sentences import Sentences
from serve.voice.types import SAMPLE_RATE, Samples

Tell: TypeAlias = Callable[[Samples], None]
Speak: TypeAlias = Callable[[str, Tell], Awaitable[None]]
"""Has a sentence spoken; calls back with each piece of it."""


class Speech:
    """Text in, by `feed` and `flush`; sound out, by iteration, in order. To be closed.

    It is spoken as text comes, whether anybody iterates or not, until so much is spoken ahead.
    Which pieces the text comes in changes nothing in the sound.

    Args:
        speak: has a sentence spoken.
        ahead_seconds: how much may wait for whoever iterates.
    """

    def __init__(self, speak: Speak, ahead_seconds: float) -> None:
        self._speak = speak
        self._ahead = round(ahead_seconds * SAMPLE_RATE)
        self._sentences = Sentences()
        self._wanted: asyncio.Queue[str | None] = asyncio.Queue()
        self._pieces: asyncio.Queue[Samples | None] = asyncio.Queue()
        self._unheard = 0
        self._heard = asyncio.Event()
        self._task = asyncio.create_task(self._speak_all())
        # One that is cancelled before it begins has no other end.
        self._task.add_done_callback(lambda _: self._pieces.put_nowait(None))

    def feed(self, text: str) -> None:
        """The text's next piece."""
        for sentence in self._sentences.feed(text):
            self._wanted.put_nowait(sentence)

    def flush(self) -> None:
        """The text has ended."""
        for sentence in self._sentences.flush():
            self._wanted.put_nowait(sentence)
        self._wanted.put_nowait(None)

    def __aiter__(self) -> "Speech":
        return self

    async def __anext__(self) -> Samples:
        """The next piece of the sound.

        Raises:
            VoiceError: the rest cannot be spoken.
        """
        piece = await self._pieces.get()
        if piece is not None:
            self._unheard -= len(piece)
            self._heard.set()
            return piece
        # Whoever asks again is told the same.
        self._pieces.put_nowait(None)
        if not self._task.cancelled():
            self._task.result()
        raise StopAsyncIteration

    @property
    def ended(self) -> bool:
        """Whether nothing more of it is to be spoken."""
        return self._task.done()

    async def aclose(self) -> None:
        """Stop it, wherever it is."""
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.exception()

    async def _speak_all(self) -> None:
        while (sentence := await self._wanted.get()) is not None:
            await self._speak(sentence, self._take)
            while self._unheard > self._ahead:
                self._heard.clear()
                await self._heard.wait()

    def _take(self, piece: Samples) -> None:
        self._unheard += len(piece)
        self._pieces.put_nowait(piece)
