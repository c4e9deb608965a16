"""Stands for what hears, speaks and searches: what it says follows from what it is given."""

import asyncio
from collections.abc import Sequence

import numpy as np

from serve.engine.hearing import HearingError, Transcript
from serve.search.types import SearchError, Source, UserLocation
from serve.voice.types import Voice, VoiceError

# Of each character of what is said: an odd number, so that no piece is whole groups of base64.
SAMPLES = 101


def sound_of(text: str) -> np.ndarray:
    """The sound of a text: of each character so many equal samples."""
    return np.repeat(np.frombuffer(text.encode("utf-16-le"), np.int16), SAMPLES)


class FakeSpeech:
    """Speaks each word as soon as the next one has begun.

    Args:
        fault: raised when this word is to be spoken.
    """

    def __init__(self, voice: str, fault: str = "") -> None:
        self.voice, self.said, self.closed = voice, "", False
        self._fault, self._rest = fault, ""
        self._words: asyncio.Queue[str | None] = asyncio.Queue()

    def feed(self, text: str) -> None:
        self.said += text
        *words, self._rest = (self._rest + text).split(" ")
        for word in words:
            self._words.put_nowait(word + " ")

    def flush(self) -> None:
        self._words.put_nowait(self._rest)
        self._words.put_nowait(None)

    def __aiter__(self) -> "FakeSpeech":
        return self

    async def __anext__(self) -> np.ndarray:
        word = await self._words.get()
        if word is None:
            raise StopAsyncIteration
        if self._fault and self._fault in word:
            raise VoiceError("The voice has broken.")
        return sound_of(word)

    async def aclose(self) -> None:
        self.closed = True


class FakeSpeaker:
    """Has two voices, each a name of itself."""

    def __init__(self, fault: str = "") -> None:
        self.voices = {
            "alloy": Voice("espeak-ng", "alloy"),
            "own_1": Voice("espeak-ng", "own"),
        }
        self.speeches: list[FakeSpeech] = []
        self._fault = fault

    def begin(self, voice: Voice) -> FakeSpeech:
        self.speeches.append(FakeSpeech(voice.voice, self._fault))
        return self.speeches[-1]

    async def start(self) -> None: ...

    def close(self) -> None: ...


class FakeHearing:
    """Hears the same in every recording.

    Args:
        text: that it hears.
        fails: whether it cannot hear.
    """

    languages = ("en",)

    def __init__(self, text: str, *, fails: bool = False) -> None:
        self.text, self.fails = text, fails
        self.heard: list[np.ndarray] = []

    async def transcribe(self, samples: np.ndarray, language: str | None = None) -> Transcript:
        assert language is None
        self.heard.append(samples)
        if self.fails:
            raise HearingError("the speech model failed")
        return Transcript(self.text, "en" if self.text else None)


class FakeSearch:
    """Finds these sources, whatever is searched.

    Args:
        sources: or why there are none.
    """

    def __init__(self, sources: Sequence[Source] | SearchError) -> None:
        self.sources = sources
        self.asked: list[tuple[str, int, UserLocation | None]] = []

    async def check(self) -> None: ...

    async def search(
        self, query: str, most: int, location: UserLocation | None = None
    ) -> Sequence[Source]:
        self.asked.append((query, most, location))
        if isinstance(self.sources, SearchError):
            raise self.sources
        return self.sources[:most]

    async def close(self) -> None: ...
