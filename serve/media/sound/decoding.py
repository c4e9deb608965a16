"""Reads a wav or an mp3, with FFmpeg's libraries, within limits.

FFmpeg is told which of both it is, so that it tries none of its other formats; of what a file may
hold, only these codecs are decoded: plain samples in a wav, and mp3.
"""

import io
from collections.abc import Iterator

import numpy as np

from serve.media.errors import MediaError
from serve.media.sound.limits import RATE, SoundLimits
from serve.media.sound.transfer import Sound, SoundFormat
from serve.media.sound.wave_header import is_cut_off, is_wave
from serve.pyav import (
    AudioFrame,
    AudioResampler,
    AudioStream,
    FFmpegError,
    InputContainer,
    InvalidDataError,
    av,
)

_CODECS: dict[SoundFormat, str] = {
    "wav": "pcm_u8,pcm_s16le,pcm_s24le,pcm_s32le,pcm_f32le,pcm_f64le,pcm_alaw,pcm_mulaw",
    "mp3": "mp3float,mp3",
}
_SLOWEST, _FASTEST = 4_000, 192_000
_MOST_CHANNELS = 8
# Files in the wild have a bad frame here and there, and a player's notes at their end.
_BAD_PACKETS = 0.1
_LEAST_OF_TOLD = 0.9
# Where an mp3 tells its length, it does so in its first frame.
_LENGTH_WITHIN = 4096
_TOLD = (b"Xing", b"Info")


def decode(data: bytes, form: SoundFormat, limits: SoundLimits) -> Sound:
    """The samples of a file.

    Raises:
        MediaError: it is of another format, damaged, empty, or over a limit.
    """
    if is_wave(data) != (form == "wav"):
        raise MediaError(f"is no {form} file.", "invalid_file")
    if form == "wav" and is_cut_off(data):
        raise _damaged("has less sound than it says: it is cut off.")
    try:
        sound = _read(data, form, limits)
    except FFmpegError as error:
        raise _damaged(f"cannot be read as {form}: it is damaged.") from error
    if not len(sound):
        raise _damaged("has no sound in it.")
    return np.nan_to_num(sound, copy=False).clip(-1, 1, out=sound)


def _read(data: bytes, form: SoundFormat, limits: SoundLimits) -> Sound:
    options = {"codec_whitelist": _CODECS[form], "format_whitelist": form}
    with av.open(io.BytesIO(data), "r", format=form, options=options) as container:
        # An mp3 may have pictures beside its sound.
        if len(container.streams.audio) != 1:
            raise _damaged("has no sound in it.")
        stream = container.streams.audio[0]
        _check(stream, form)
        pieces: list[Sound] = []
        samples = 0
        for piece in _resampled(_frames(container, stream)):
            samples += len(piece)
            if samples > limits.samples:
                raise MediaError(
                    f"lasts more than {limits.sound_seconds:g} seconds, which are allowed. Send a "
                    f"part of it.",
                    "file_too_large",
                )
            pieces.append(piece)
        told = (stream.duration or 0) * float(stream.time_base or 0) * RATE
        if form == "mp3" and samples < _LEAST_OF_TOLD * told and _tells_its_length(data):
            raise _damaged("has less sound than it says: it is cut off.")
        return np.concatenate([np.zeros(0, np.float32), *pieces])


def _check(stream: AudioStream, form: SoundFormat) -> None:
    codec = stream.codec_context.name
    if codec not in _CODECS[form].split(","):
        raise MediaError(
            f"holds {codec}: in a wav plain samples are read, in an mp3 nothing but that.",
            "unsupported_file",
        )
    if not stream.rate or not stream.channels:
        raise _damaged(f"cannot be read as {form}: it is damaged.")
    if not _SLOWEST <= stream.rate <= _FASTEST or stream.channels > _MOST_CHANNELS:
        raise MediaError(
            f"has {stream.rate:,} samples a second in {stream.channels} channels; {_SLOWEST:,} to "
            f"{_FASTEST:,} in up to {_MOST_CHANNELS} are read.",
            "unsupported_file",
        )


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    packets = bad = 0
    for packet in container.demux(stream):
        packets += 1
        try:
            yield from packet.decode()  # pyright: ignore[reportReturnType]
        except InvalidDataError:
            bad += 1
    if bad > _BAD_PACKETS * packets:
        raise _damaged("is damaged.")


def _resampled(frames: Iterator[AudioFrame]) -> Iterator[Sound]:
    resampler, known = _resampler(), None
    for frame in frames:
        form = frame.format.name, frame.layout.name, frame.sample_rate
        if known not in (None, form):
            yield from _samples(resampler, None)
            resampler = _resampler()
        known = form
        # Times in a file may be anything.
        frame.pts = None
        yield from _samples(resampler, frame)
    if known:
        yield from _samples(resampler, None)


def _resampler() -> AudioResampler:
    return AudioResampler("fltp", rate=RATE)


def _samples(resampler: AudioResampler, frame: AudioFrame | None) -> Iterator[Sound]:
    for each in resampler.resample(frame):
        # FFmpeg's own mixture of two channels is louder than both.
        yield np.asarray(each.to_ndarray().mean(0), np.float32)


def _tells_its_length(data: bytes) -> bool:
    return any(mark in data[:_LENGTH_WITHIN] for mark in _TOLD)


def _damaged(reason: str) -> MediaError:
    return MediaError(reason, "invalid_file")
