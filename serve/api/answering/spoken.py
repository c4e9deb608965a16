"""The sound of a completion's choices, spoken while they are written.

Knows nothing of who speaks, nor of how the sound is told.
"""

import asyncio
import time
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from jaxtyping import Int16

from serve.api.answering.choices import ChoiceDelta
from serve.api.answering.json_text import compact
from serve.api.wire.audio import AudioOutput, OutputFormat
from serve.api.wire.errors import ApiError, invalid
from serve.api.wire.names import new_id
from serve.engine.types import TokenEvent
from serve.voice.types import SAMPLE_RATE, VoiceError

Samples = Int16[np.ndarray, "samples"]
# Three bytes are four characters: so what is told in pieces is, joined, what is told at once.
_WHOLE_BYTES = 3


class Speech(Protocol):
    """Text in, sound out, in order."""

    def feed(self, text: str) -> None:
        """More text."""
        ...

    def flush(self) -> None:
        """The text has ended."""
        ...

    def __aiter__(self) -> "Speech":
        """The sound, in pieces. Raises VoiceError."""
        ...

    async def __anext__(self) -> Samples:
        """The next piece."""
        ...

    async def aclose(self) -> None:
        """Stop it."""
        ...


@dataclass(frozen=True, slots=True)
class SpeakingSettings:
    """How answers are spoken here.

    Attributes:
        begin: a speech in the voice of that name.
        encoded: a file of that format, of sound in pieces; takes a while.
        keep: has an owner's answer of that id, and what it says, known until a time in seconds
            since 1970; raises ApiError where that cannot be.
        seconds: for which answers are known.
        most_seconds: of sound that is held until it is told at once.
        retry_after: seconds, for whoever got no sound.
        on_spoken: told of the seconds of a piece of sound; None where it cannot go on.
    """

    begin: Callable[[str], Speech]
    encoded: Callable[[OutputFormat, Sequence[Samples]], bytes]
    keep: Callable[[str, str, str, int], Awaitable[None]]
    seconds: int
    most_seconds: int
    retry_after: int
    on_spoken: Callable[[float | None], None]


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A piece of a choice's sound.

    Attributes:
        index: of the choice.
        samples: 24,000 a second; None at its end.
        taken: to be set when the next may come.
    """

    index: int
    samples: Samples | None
    taken: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Over:
    """The generation has ended; what it said may still be spoken."""


Item = Sequence[TokenEvent] | Sound | Over


@dataclass(slots=True, eq=False)
class _Choice:
    """What is known of one choice's sound.

    Attributes:
        speech: of it.
        id: its name.
        pump: gets the sound.
        said: what is spoken, in pieces.
        rest: bytes that are not yet told.
        pieces: of the sound, where it is told at once.
        expires: when its name is forgotten; 0 before its end.
    """

    speech: Speech
    id: str
    pump: asyncio.Task[None]
    said: list[str] = field(default_factory=list[str])
    rest: bytes = b""
    pieces: list[Samples] = field(default_factory=list[Samples])
    expires: int = 0

    async def stop(self) -> None:
        """Nobody listens any more."""
        self.pump.cancel()
        await asyncio.wait({self.pump})
        await self.speech.aclose()


class Spoken:
    """The sound of one completion.

    Args:
        settings: of the server.
        asked: how it is to be spoken.
        owner: who may name its answers later.
        whole: whether its pieces are wanted together at the end.
    """

    def __init__(
        self, settings: SpeakingSettings, asked: AudioOutput, owner: str, *, whole: bool
    ) -> None:
        self._settings = settings
        self._asked = asked
        self._owner = owner
        self._whole = whole
        self._held = 0
        self._choices: dict[int, _Choice] = {}
        self._items: asyncio.Queue[Item | Exception] = asyncio.Queue()
        self._reader: asyncio.Task[None] | None = None

    @property
    def finished(self) -> bool:
        """Whether all that was said has been spoken."""
        return all(each.expires for each in self._choices.values())

    def say(self, delta: ChoiceDelta) -> None:
        """Have a delta's text spoken. A refusal is not."""
        choice = self._choices.get(delta.index)
        if delta.text and not delta.refused:
            if choice is None:
                choice = self._choices[delta.index] = self._begun(delta.index)
            choice.said.append(delta.text)
            choice.speech.feed(delta.text)
        if choice is not None and delta.finish_reason is not None:
            choice.speech.flush()

    async def drop(self, index: int) -> None:
        """Nothing of a choice is told."""
        choice = self._choices.pop(index, None)
        if choice is not None:
            await choice.stop()

    def name(self, index: int) -> str:
        """The name of a choice's sound; "" where it has none."""
        choice = self._choices.get(index)
        return "" if choice is None else choice.id

    def expires(self, index: int) -> int:
        """When the name of a choice's sound, which has ended, is forgotten."""
        return self._choices[index].expires

    async def source(self, generation: AsyncIterable[Sequence[TokenEvent]]) -> AsyncGenerator[Item]:
        """The batches of a generation, and between them what is spoken, as both come; without end.

        Raises:
            ApiError: 503; something cannot be spoken.
        """
        self._reader = asyncio.create_task(self._read(generation))
        while True:
            item = await self._items.get()
            if isinstance(item, VoiceError):
                raise self._failed(item) from item
            if isinstance(item, Exception):
                raise item
            yield item

    async def take(self, sound: Sound) -> None:
        """More of a choice's sound.

        Raises:
            ApiError: 400, there is too much to be told at once; 503, its name cannot be kept.
        """
        sound.taken.set()
        choice = self._choices.get(sound.index)
        if choice is None:
            return
        if sound.samples is None:
            expires = int(time.time()) + self._settings.seconds
            await self._settings.keep(self._owner, choice.id, "".join(choice.said), expires)
            choice.expires = expires
            return
        self._settings.on_spoken(len(sound.samples) / SAMPLE_RATE)
        if self._whole:
            self._hold(choice, sound.samples)

    def told(self, sound: Sound) -> str:
        """What of a choice's sound may be told in a stream now, in base64."""
        choice = self._choices[sound.index]
        if sound.samples is None:
            rest, choice.rest = choice.rest, b""
            return b64encode(rest).decode()
        data = choice.rest + sound.samples.astype("<i2").tobytes()
        whole = len(data) - len(data) % _WHOLE_BYTES
        choice.rest = data[whole:]
        return b64encode(data[:whole]).decode()

    async def audio(self, index: int) -> str:
        """The sound of a choice that has ended, as JSON of a message's member; null for none."""
        choice = self._choices.get(index)
        return "null" if choice is None else await asyncio.to_thread(self._member, choice)

    async def aclose(self) -> None:
        """Stop what is still spoken."""
        # A client that leaves ends its exchange and its handler: the second amid the first.
        await asyncio.shield(asyncio.create_task(self._stop()))

    async def _stop(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait({self._reader})
        for each in self._choices.values():
            await each.stop()

    def _member(self, choice: _Choice) -> str:
        data = self._settings.encoded(self._asked.format, choice.pieces)
        member = {
            "id": choice.id,
            "data": b64encode(data).decode(),
            "expires_at": choice.expires,
            "transcript": "".join(choice.said),
        }
        return compact(member)

    def _hold(self, choice: _Choice, samples: Samples) -> None:
        self._held += len(samples)
        if self._held > self._settings.most_seconds * SAMPLE_RATE:
            raise invalid(
                "audio_too_large",
                f"The sound of these answers lasts more than {self._settings.most_seconds} s: ask "
                f"for fewer choices, for fewer tokens, or for a stream.",
                "audio",
            )
        choice.pieces.append(samples)

    def _begun(self, index: int) -> _Choice:
        speech = self._settings.begin(self._asked.voice_name)
        return _Choice(speech, new_id("audio"), asyncio.create_task(self._pump(index, speech)))

    async def _pump(self, index: int, speech: Speech) -> None:
        try:
            async for samples in speech:
                sound = Sound(index, samples)
                self._items.put_nowait(sound)
                # Who listens slowly is spoken to slowly.
                await sound.taken.wait()
        except Exception as error:  # noqa: BLE001  (whoever takes the items raises it)
            self._items.put_nowait(error)
        else:
            self._items.put_nowait(Sound(index, None))

    async def _read(self, generation: AsyncIterable[Sequence[TokenEvent]]) -> None:
        try:
            async for batch in generation:
                self._items.put_nowait(batch)
        except Exception as error:  # noqa: BLE001  (likewise)
            self._items.put_nowait(error)
        else:
            self._items.put_nowait(Over())

    def _failed(self, error: VoiceError) -> ApiError:
        self._settings.on_spoken(None)
        return ApiError(
            503,
            f"The answer could not be spoken: {error} Try again in {self._settings.retry_after} s.",
            type="server_error",
            code="voice_failed",
            headers={"Retry-After": str(self._settings.retry_after)},
        )
