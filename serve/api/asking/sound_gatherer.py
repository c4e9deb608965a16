"""Makes of a request's recordings what the model is shown: what is said in them.

    messages[0].content[0]  alone in its message → "How high is it?"
    messages[2].content[1]  beside others        → "Recording (3.2 s, en):\\n```\\nHow …\\n```\\n"

Whoever sends one recording alone speaks to the model, and what is said stands there as if it was
written. Otherwise it is told what it is, between fences that nothing in it can end.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float32

from serve.api.asking.media import AskedMedia
from serve.api.asking.waiting_room import MOST_WAITING_BODIES, WaitingRoom
from serve.api.wire.audio import AudioPart, InputAudio, InputFormat
from serve.api.wire.errors import ApiError, invalid
from serve.engine.hearing import SAMPLE_RATE, HearingError, Hears, Transcript
from serve.fences import fence_around
from serve.media.data_url import decoded, decoded_bytes
from serve.media.errors import MediaError

_LOG = logging.getLogger("parlance.api")

# Of a request.
MOST_RECORDINGS = 32
# Requests whose recordings are worked at; the others wait for their turn.
PLACES = 8

Samples = Float32[np.ndarray, "samples"]


class Reader(Protocol):
    """Decodes recordings."""

    async def read(self, data: bytes, form: InputFormat) -> Samples:
        """One channel, 16,000 samples a second.

        Raises:
            MediaError: it is broken, or over a limit.
            OSError: the process that decodes it does not start.
        """
        ...


@dataclass(frozen=True, slots=True)
class Heard:
    """A recording that was heard.

    Attributes:
        words: that were recognized.
        shown: what stands for it in the prompt.
    """

    words: str
    shown: str


@dataclass(frozen=True, slots=True)
class SoundGatherer:
    """Hears what requests bring; belongs to one event loop.

    Attributes:
        reader: decodes.
        hearing: recognizes.
        most_bytes: of a recording's file.
        most_seconds: of a request's recordings together.
        retry_after: seconds, for whoever could not be heard.
        on_heard: told of the seconds of a recording that was heard; None if it was not.
        waiting_room: requests wait there.
    """

    reader: Reader
    hearing: Hears
    most_bytes: int
    most_seconds: float
    retry_after: int
    on_heard: Callable[[float | None], None]
    waiting_room: WaitingRoom

    @classmethod
    def of(
        cls,
        reader: Reader,
        hearing: Hears,
        *,
        most_bytes: int,
        most_seconds: float,
        most_body_bytes: int,
        retry_after: int,
        on_heard: Callable[[float | None], None],
    ) -> "SoundGatherer":
        """One with its room.

        Args:
            reader: as above.
            hearing: as above.
            most_bytes: as above.
            most_seconds: as above.
            most_body_bytes: of a request.
            retry_after: as above.
            on_heard: as above.
        """
        room = WaitingRoom(PLACES, MOST_WAITING_BODIES * most_body_bytes)
        return cls(reader, hearing, most_bytes, most_seconds, retry_after, on_heard, room)

    async def gather(self, parts: Sequence[AskedMedia], caller: str) -> Mapping[str, Heard]:
        """What is said in each part, by its place, when it is the caller's turn.

        Args:
            parts: of a request, in their order; recordings alone.
            caller: whose request it is.

        Raises:
            ApiError: 400, one of them cannot be taken; 413, one is too large or they are too long;
                429, too many requests wait; 503, nobody hears.
        """
        if len(parts) > MOST_RECORDINGS:
            raise invalid(
                "array_above_max_length",
                f"Invalid '{parts[MOST_RECORDINGS].place}': a request may have {MOST_RECORDINGS} "
                f"recordings.",
                parts[MOST_RECORDINGS].place,
            )
        weight = sum(len(_sent(each).data) for each in parts)
        await self.waiting_room.take(caller, weight, large=False)
        try:
            return await self._gathered(parts)
        finally:
            self.waiting_room.release(large=False)

    async def _gathered(self, parts: Sequence[AskedMedia]) -> Mapping[str, Heard]:
        heard: dict[str, Heard] = {}
        left = self.most_seconds
        for each in parts:
            try:
                samples = await self._read(_sent(each))
            except MediaError as error:
                raise _refused(each.place, error) from error
            except OSError as error:
                _LOG.error("recordings cannot be decoded: %s", error)
                raise self._unheard(each.place, "nothing decodes it at present") from error
            seconds = len(samples) / SAMPLE_RATE
            left -= seconds
            if left < 0:
                reason = f"recordings of a request may last {self.most_seconds:g} s together"
                raise _refused(each.place, MediaError(reason, "audio_too_large"))
            try:
                transcript = await self.hearing.transcribe(samples)
            except HearingError as error:
                self.on_heard(None)
                raise self._unheard(each.place, str(error)) from error
            self.on_heard(seconds)
            heard[each.place] = Heard(
                transcript.text, _shown(transcript, seconds, alone=each.alone)
            )
        return heard

    async def _read(self, sent: InputAudio) -> Samples:
        # A data URL is no base64; some clients send one all the same, and are told.
        if decoded_bytes(sent.data) > self.most_bytes + 2:
            raise MediaError(f"it has more than {self.most_bytes:,} bytes", "audio_too_large")
        try:
            data = await asyncio.to_thread(decoded, sent.data)
        except ValueError as error:
            reason = "its data is no base64; send that of the file, without 'data:' before it"
            raise MediaError(reason, "invalid_base64_audio") from error
        return await self.reader.read(data, sent.format)

    def _unheard(self, place: str, why: str) -> ApiError:
        return ApiError(
            503,
            f"Nobody could listen to '{place}': {why}. Try again in {self.retry_after} s.",
            type="server_error",
            code="hearing_failed",
            headers={"Retry-After": str(self.retry_after)},
        )


def _sent(asked: AskedMedia) -> InputAudio:
    if not isinstance(asked.part, AudioPart):
        raise TypeError(f"{asked.place} is no recording")
    return asked.part.input_audio


def _shown(transcript: Transcript, seconds: float, *, alone: bool) -> str:
    if not transcript.text:
        return f"Recording ({seconds:.1f} s): nothing in it was understood.\n"
    if alone:
        return transcript.text
    fence = fence_around([transcript.text])
    title = f"Recording ({seconds:.1f} s, {transcript.language}):"
    return f"{title}\n{fence}\n{transcript.text}\n{fence}\n"


def _refused(place: str, error: MediaError) -> ApiError:
    return ApiError(
        413 if error.code.endswith("too_large") else 400,
        f"Invalid '{place}': {error.reason.removesuffix('.')}.",
        code=error.code.replace("file_too_large", "audio_too_large"),
        param=place,
    )
