"""The forms in which sound is sent: six, each one channel of 24,000 samples a second.

The same samples give the same bytes.
"""

import io
import wave
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import numpy as np

from serve.pyav import AudioFrame, AudioStream, av
from serve.voice.types import SAMPLE_RATE, Samples

Format: TypeAlias = Literal["wav", "mp3", "flac", "opus", "aac", "pcm16"]

_SAMPLE_BYTES = 2
# Without versions, dates and random numbers of streams.
_OPTIONS = {"fflags": "+bitexact"}
_FRAME_SAMPLES = SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class _Form:
    """How FFmpeg calls a format, and its bits a second; 0 is without loss."""

    container: str
    codec: str
    bit_rate: int


_FORMS: Mapping[Format, _Form] = {
    "mp3": _Form("mp3", "libmp3lame", 96_000),
    "flac": _Form("flac", "flac", 0),
    "opus": _Form("ogg", "libopus", 48_000),
    "aac": _Form("adts", "aac", 96_000),
}


def encode(form: Format, pieces: Iterable[Samples]) -> bytes:
    """A whole file; takes up to a fortieth of the sound's own time.

    Args:
        form: of which.
        pieces: of one sound.
    """
    if form == "pcm16":
        return b"".join(pcm16(piece) for piece in pieces)
    file = io.BytesIO()
    if form == "wav":
        with wave.open(file, "wb") as written:
            written.setnchannels(1)
            written.setsampwidth(_SAMPLE_BYTES)
            written.setframerate(SAMPLE_RATE)
            for piece in pieces:
                written.writeframesraw(pcm16(piece))
    else:
        _encode(file, _FORMS[form], pieces)
    return file.getvalue()


def pcm16(piece: Samples) -> bytes:
    """Samples of 16 bits, the lower byte first, without a header: pieces may be joined."""
    return piece.astype("<i2").tobytes()


def _encode(file: io.BytesIO, form: _Form, pieces: Iterable[Samples]) -> None:
    with av.open(file, "w", format=form.container, options=_OPTIONS) as container:
        added = container.add_stream(form.codec, rate=SAMPLE_RATE, layout="mono")
        stream = cast("AudioStream", added)
        if form.bit_rate:
            stream.bit_rate = form.bit_rate
        for frame in _frames(pieces):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _frames(pieces: Iterable[Samples]) -> Iterator[AudioFrame]:
    # Coders ask for something: no sound is one sample of silence.
    sound = np.concatenate([np.zeros(0, np.int16), *pieces])
    sound = sound if len(sound) else np.zeros(1, np.int16)
    start = 0
    for piece in np.split(sound, range(_FRAME_SAMPLES, len(sound), _FRAME_SAMPLES)):
        frame = AudioFrame.from_ndarray(piece[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        frame.pts = start
        start += len(piece)
        yield frame
