"""What crosses between the server and the process that reads sound. No pickles."""

import json
from dataclasses import asdict
from typing import Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from serve.media.file_process import Link, Refused, received
from serve.media.sound.limits import SoundLimits

SoundFormat: TypeAlias = Literal["wav", "mp3"]
Sound: TypeAlias = npt.NDArray[np.float32]
"""`[samples]`, one channel, 16,000 a second, within ±1."""

_LINK_BYTES = 64 * 2**10


def send_file(link: Link, form: SoundFormat, data: bytes) -> None:
    """To the process."""
    link.send_bytes(form.encode())
    link.send_bytes(data)


def receive_file(link: Link, limits: SoundLimits) -> tuple[SoundFormat, bytes]:
    """From the server.

    Raises:
        EOFError: it has closed its end.
    """
    form = cast("SoundFormat", link.recv_bytes(_LINK_BYTES).decode())
    return form, link.recv_bytes(limits.bytes)


def send_answer(link: Link, answer: Sound | Refused) -> None:
    """To the server: what is wrong, as JSON; or nothing, and the samples."""
    if isinstance(answer, Refused):
        link.send_bytes(json.dumps(asdict(answer)).encode())
        return
    link.send_bytes(b"")
    link.send_bytes(answer.astype("<f4").tobytes())


def receive_answer(link: Link, limits: SoundLimits) -> Sound | Refused:
    """From the process.

    Raises:
        EOFError: it has ended.
        OSError: likewise.
        TypeError, ValueError: what it says is no answer, or longer than any.
    """
    if told := received(link, _LINK_BYTES):
        return Refused(**json.loads(told))
    samples = np.frombuffer(received(link, 4 * limits.samples), "<f4").astype(np.float32)
    if not np.isfinite(samples).all():
        raise ValueError("sound that is no number")
    return samples
