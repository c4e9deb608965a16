"""What crosses between the server and a process that speaks, as bytes."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

import numpy as np

from serve.voice.types import Samples, Voice, VoiceError

Link: TypeAlias = "Connection[Any, Any]"

STOP = b""
"""Nobody wants the rest of what is being spoken."""

_SOUND, _END, _WRONG = b"s", b"e", b"w"
_MOST_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Job:
    """One sentence.

    Attributes:
        text: that is spoken.
        voice: how.
    """

    text: str
    voice: Voice


def job_bytes(job: Job) -> bytes:
    """As the process gets it."""
    return json.dumps(asdict(job)).encode()


def receive_job(link: Link) -> Job | None:
    """From the server; None where it stops what has just ended.

    Raises:
        EOFError: it has closed its end.
    """
    message = link.recv_bytes()
    return None if message == STOP else _job(json.loads(message))


def _job(told: Mapping[str, Any]) -> Job:
    return Job(told["text"], Voice(**told["voice"]))


def send_sound(link: Link, samples: Samples) -> None:
    """To the server."""
    link.send_bytes(_SOUND + samples.astype("<i2").tobytes())


def send_end(link: Link, wrong: str = "") -> None:
    """To the server: the sentence is spoken, or what is wrong."""
    link.send_bytes(_WRONG + wrong.encode(errors="replace") if wrong else _END)


def receive_sound(link: Link) -> Samples | None:
    """From the process: the sentence's next piece, or None at its end.

    Raises:
        VoiceError: it cannot be spoken.
        EOFError: the process has ended.
        OSError: likewise.
    """
    message = link.recv_bytes(_MOST_BYTES)
    kind, rest = message[:1], message[1:]
    if kind == _WRONG:
        raise VoiceError(rest.decode())
    return np.frombuffer(rest, "<i2").astype(np.int16) if kind == _SOUND else None
