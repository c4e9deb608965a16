"""Sound files, well made and other."""

import io
import struct

import av
import numpy as np
import numpy.typing as npt


def tone(seconds: float = 1.0, rate: int = 16_000, hertz: float = 440) -> npt.NDArray[np.float32]:
    """`[samples]`, a quarter as loud as can be."""
    times = np.arange(round(seconds * rate)) / rate
    return np.asarray(0.25 * np.sin(2 * np.pi * hertz * times), np.float32)


def noise(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def chunk(kind: bytes, data: bytes, size: int | None = None) -> bytes:
    """One of a wav, with its length, or another that it claims to have."""
    length = len(data) if size is None else size
    return struct.pack("<4sI", kind, length) + data + b"\0" * (len(data) % 2)


def wav_form(
    kind: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16, more: bytes = b""
) -> bytes:
    block = channels * bits // 8
    rates = struct.pack("<IIHH", rate, rate * block & 0xFFFF_FFFF, block & 0xFFFF, bits)
    return chunk(b"fmt ", struct.pack("<HH", kind, channels) + rates + more)


def wav_of(*chunks: bytes) -> bytes:
    return chunk(b"RIFF", b"WAVE" + b"".join(chunks))


def wav(sound: npt.NDArray[np.float32] | None = None, rate: int = 16_000) -> bytes:
    """16 bits, one channel."""
    samples = (32_767 * (tone() if sound is None else sound)).astype("<i2").tobytes()
    return wav_of(wav_form(rate=rate), chunk(b"data", samples))


def mp3(
    sound: npt.NDArray[np.float32] | None = None,
    rate: int = 16_000,
    *,
    layout: str = "mono",
    length: bool = True,
    bits: int = 64_000,
) -> bytes:
    """An mp3; without `length` it does not tell how long it is."""
    file = io.BytesIO()
    samples = tone(rate=rate) if sound is None else sound
    options = {"write_xing": str(int(length)), "fflags": "+bitexact"}
    with av.open(file, "w", format="mp3", options=options) as container:
        stream = container.add_stream("libmp3lame", rate=rate, layout=layout)
        stream.bit_rate = bits
        channels = 2 if layout == "stereo" else 1
        frame = av.AudioFrame.from_ndarray(
            np.repeat(samples[None], channels, 0), format="fltp", layout=layout
        )
        frame.sample_rate = rate
        for each in (frame, None):
            container.mux(stream.encode(each))
    return file.getvalue()
