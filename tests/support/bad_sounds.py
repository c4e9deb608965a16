"""Files that are no sound, are broken, or are meant to do harm: made when they are called."""

import io
import struct
from collections.abc import Callable

import av
import numpy as np
from support.sounds import chunk, mp3, noise, tone, wav, wav_form, wav_of

GOOD = wav()
SAMPLES = GOOD[44:]
# A frame's beginning: MPEG 1, layer III, 128,000 bits a second, 44,100 samples a second.
FRAME = b"\xff\xfb\x90\x00"
FLOATS = np.array([np.nan, np.inf, -np.inf, 1e30, -5, 0.5] * 400, "<f4").tobytes()


def other(container: str, codec: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as opened:
        stream = opened.add_stream(codec, rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(rate=48_000)[None], format="fltp", layout="mono")
        frame.sample_rate = 48_000
        for each in (frame, None):
            opened.mux(stream.encode(each))
    return file.getvalue()


def silent_frames(count: int) -> bytes:
    """Silence in frames of 72 bytes: 8,000 bits a second, MPEG 2.5."""
    return (b"\xff\xe3\x18\xc4" + bytes(68)) * count


def tagged(size: int, content: bytes = b"", flags: int = 0) -> bytes:
    """An mp3's tag that says it has so many bytes."""
    length = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00" + bytes([flags]) + length + content


def picture(kind: bytes) -> bytes:
    """A tag with a cover, which is anything but one."""
    content = b"\x00" + kind + b"\x00\x03\x00" + noise(5000)
    return tagged(len(content) + 10, b"APIC" + struct.pack(">IH", len(content), 0) + content)


def of(**form: int) -> bytes:
    return wav_of(wav_form(**form), chunk(b"data", SAMPLES))


# Of which format it is said to be, content, what the sentence says; the last is None where it is
# read.
BAD: dict[str, tuple[str, Callable[[], bytes], str | None]] = {
    "empty wav": ("wav", lambda: b"", "is empty"),
    "empty mp3": ("mp3", lambda: b"", "is empty"),
    "too many bytes": ("wav", lambda: bytes(2**20 + 1), "1,048,576 are allowed"),
    "one byte": ("mp3", lambda: b"\xff", "damaged"),
    "text as wav": ("wav", lambda: b"RIFF and more" * 100, "no wav file"),
    "text as mp3": ("mp3", lambda: b"hello there " * 1000, "damaged"),
    "zeros as wav": ("wav", lambda: bytes(100_000), "no wav file"),
    "zeros as mp3": ("mp3", lambda: bytes(1_000_000), ""),
    "noise as wav": ("wav", lambda: noise(100_000), "no wav file"),
    "noise as mp3": ("mp3", lambda: noise(1_000_000), ""),
    "ones as mp3": ("mp3", lambda: b"\xff" * 500_000, ""),
    "wav as mp3": ("mp3", wav, "no mp3 file"),
    "mp3 as wav": ("wav", mp3, "no wav file"),
    "flac as wav": ("wav", lambda: other("flac", "flac"), "no wav file"),
    "flac as mp3": ("mp3", lambda: other("flac", "flac"), ""),
    "ogg as mp3": ("mp3", lambda: other("ogg", "libopus"), ""),
    "m4a as mp3": ("mp3", lambda: other("mp4", "aac"), ""),
    "mkv as mp3": ("mp3", lambda: other("matroska", "aac"), ""),
    "aac as mp3": ("mp3", lambda: other("adts", "aac"), ""),
    "mp2 as mp3": ("mp3", lambda: other("mp2", "mp2"), "holds mp2"),
    "playlist as mp3": ("mp3", lambda: b"#EXTM3U\n#EXTINF:1\nfile:///etc/passwd\n" * 50, ""),
    "concat as mp3": ("mp3", lambda: b"ffconcat version 1.0\nfile /etc/passwd\n" * 50, ""),
    "riff alone": ("wav", lambda: GOOD[:4], "no wav file"),
    "wav's first twelve bytes": ("wav", lambda: GOOD[:12], "cut off"),
    "wav without data": ("wav", lambda: GOOD[:36], "cut off"),
    "wav of no samples": ("wav", lambda: wav(tone(0)), "no sound in it"),
    "wav cut amid its form": ("wav", lambda: GOOD[:30], "cut off"),
    "wav cut amid its samples": ("wav", lambda: GOOD[:20_000], "cut off"),
    "wav that says too much": (
        "wav",
        lambda: wav_of(wav_form(), chunk(b"data", SAMPLES, 2**30)),
        "cut off",
    ),
    "wav with data before its form": (
        "wav",
        lambda: wav_of(chunk(b"data", SAMPLES), wav_form()),
        None,
    ),
    "wav without form": ("wav", lambda: wav_of(chunk(b"data", SAMPLES)), "damaged"),
    "wav of noise": ("wav", lambda: wav_of(noise(100_000)), "cut off"),
    "wav of a noisy form": ("wav", lambda: wav_of(chunk(b"fmt ", noise(40)), GOOD[36:]), ""),
    "wav with a tiny form": ("wav", lambda: wav_of(chunk(b"fmt ", b"\1\0"), GOOD[36:]), "damaged"),
    "wav with a huge form": (
        "wav",
        lambda: wav_of(chunk(b"fmt ", b"\1\0", 2**31 - 1), GOOD[36:]),
        "cut off",
    ),
    "wav of ten thousand chunks": (
        "wav",
        lambda: wav_of(*[chunk(b"junk", b"") for _ in range(100_000)], GOOD[12:]),
        None,
    ),
    "wav of a list in a list": (
        "wav",
        lambda: wav_of(wav_form(), chunk(b"LIST", b"INFO" + b"LIST" * 20_000), GOOD[36:]),
        None,
    ),
    "wav of no rate": ("wav", lambda: of(rate=0), ""),
    "wav of 1 sample a second": ("wav", lambda: of(rate=1), "4,000"),
    "wav of 3,999 a second": ("wav", lambda: of(rate=3_999), "4,000"),
    "wav of 2,000,000,000 a second": ("wav", lambda: of(rate=2_000_000_000), ""),
    "wav of 4,294,967,295 a second": ("wav", lambda: of(rate=2**32 - 1), ""),
    "wav of no channel": ("wav", lambda: of(channels=0), ""),
    "wav of nine channels": ("wav", lambda: of(channels=9), ""),
    "wav of 65,535 channels": ("wav", lambda: of(channels=65_535), ""),
    "wav of no bits": ("wav", lambda: of(bits=0), ""),
    "wav of 7 bits": ("wav", lambda: of(bits=7), None),
    "wav of 65,535 bits": ("wav", lambda: of(bits=65_535), ""),
    "wav of mp3": ("wav", lambda: of(kind=0x55), "holds mp3float"),
    "wav of adpcm": ("wav", lambda: of(kind=0x11, bits=4), ""),
    "wav of wma": ("wav", lambda: of(kind=0x161), ""),
    "wav of aac": ("wav", lambda: of(kind=0xFF), ""),
    "wav of ac3": ("wav", lambda: of(kind=0x2000), ""),
    "wav of truespeech": ("wav", lambda: of(kind=0x22), ""),
    "wav of nothing known": ("wav", lambda: of(kind=0xABCD), ""),
    "wav of floats that are no numbers": (
        "wav",
        lambda: wav_of(wav_form(kind=3, bits=32), chunk(b"data", FLOATS)),
        None,
    ),
    "wav that lasts too long": (
        "wav",
        lambda: wav_of(wav_form(rate=4_000, bits=8), chunk(b"data", bytes(4_000 * 61))),
        "more than 60 seconds",
    ),
    "wav of a length unknown": (
        "wav",
        lambda: wav_of(wav_form(), chunk(b"data", SAMPLES, 2**32 - 1)),
        None,
    ),
    "wav with junk after it": ("wav", lambda: GOOD + noise(50_000), None),
    "mp3 cut in half": ("mp3", lambda: mp3(tone(3))[:12_000], "cut off"),
    "mp3 of one frame's beginning": ("mp3", lambda: FRAME, "damaged"),
    "mp3 of frames' beginnings": ("mp3", lambda: FRAME * 50_000, ""),
    "mp3 of noisy frames": ("mp3", lambda: (FRAME + noise(413)) * 500, ""),
    "mp3 with noise in each frame": (
        "mp3",
        lambda: b"".join(mp3()[n : n + 90] + noise(90, n) for n in range(0, 8_000, 180)),
        "",
    ),
    "mp3 of a tag alone": ("mp3", lambda: tagged(0), "damaged"),
    "mp3 with a tag too long": ("mp3", lambda: tagged(2**28 - 1, mp3()), ""),
    "mp3 with a tag of noise": ("mp3", lambda: tagged(20_000, noise(20_000)) + mp3(), None),
    "mp3 with a packed tag": ("mp3", lambda: tagged(9_000, noise(9_000), 0xFF) + mp3(), None),
    "mp3 of a thousand tags": ("mp3", lambda: tagged(10, bytes(10)) * 1000 + mp3(), None),
    "mp3 with a noisy jpeg": ("mp3", lambda: picture(b"image/jpeg") + mp3(), None),
    "mp3 with a noisy png": ("mp3", lambda: picture(b"image/png") + mp3(), None),
    "mp3 with junk after it": ("mp3", lambda: mp3(tone(9), length=False) + noise(400), None),
    "mp3 with a noisy middle": (
        "mp3",
        lambda: (lambda file: file[:30_000] + noise(700) + file[30_000:])(mp3(tone(9))),
        None,
    ),
    "mp3 whose rate changes": (
        "mp3",
        lambda: mp3(length=False) + mp3(rate=44_100, length=False, layout="stereo"),
        None,
    ),
    "mp3 of small silent frames": ("mp3", lambda: silent_frames(14_000), "more than 60 seconds"),
}
REFUSED = [case for case, (_, _, said) in BAD.items() if said is not None]
