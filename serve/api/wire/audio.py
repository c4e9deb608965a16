"""Sound in requests: what is heard, how answers are to be spoken, and answers that were.

Shapes alone: whether the server hears and speaks, and which voices it has, is found out where
requests are read.
"""

from typing import Annotated, Literal, get_args

from annotated_types import MaxLen, MinLen
from pydantic import Tag

from serve.api.wire.faults import TAG
from serve.api.wire.no_effect import CacheMark, EchoedValue
from serve.api.wire.strict import Strict
from serve.api.wire.validators import one_of, string_or_object

# Ours are shorter; of a longer one nothing is looked up.
_LONGEST_ID = 256

InputFormat = Literal["wav", "mp3"]
OutputFormat = Literal["wav", "aac", "mp3", "flac", "opus", "pcm16"]
OUTPUT_FORMATS: tuple[OutputFormat, ...] = get_args(OutputFormat)
# A stream has no end yet when its first bytes are told: only what has no head can be streamed.
STREAMED_FORMAT: OutputFormat = "pcm16"

_Id = Annotated[str, MinLen(1), MaxLen(_LONGEST_ID)]


class InputAudio(Strict):
    """A recording in base64."""

    data: Annotated[str, MinLen(1)]
    format: Annotated[InputFormat, one_of(get_args(InputFormat))]


class AudioPart(Strict):
    """A recording of somebody who speaks."""

    type: Literal["input_audio"]
    input_audio: InputAudio
    cache_control: CacheMark = None


class VoiceName(Strict):
    """A voice of the server's own."""

    id: _Id


class AudioOutput(Strict):
    """How an answer is to be spoken."""

    format: Annotated[OutputFormat, one_of(OUTPUT_FORMATS)]
    voice: Annotated[
        Annotated[_Id, Tag(TAG + "string")] | Annotated[VoiceName, Tag(TAG + "object")],
        *string_or_object(),
    ]

    @property
    def voice_name(self) -> str:
        """The voice, however it is named."""
        return self.voice if isinstance(self.voice, str) else self.voice.id


class SpokenAnswer(Strict):
    """An answer that was spoken, by its id; the rest may come back as it was told."""

    id: _Id
    data: EchoedValue = None
    expires_at: EchoedValue = None
    transcript: EchoedValue = None
