"""The program espeak-ng: speaks by itself, and says for Piper how words are pronounced.

Texts go through its standard input, so that none is taken for an option, and have nothing in them
that it would take for a command.
"""

import contextlib
import functools
import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from typing import IO

import numpy as np

from serve.voice.resampling import Resampler
from serve.voice.types import Samples, Voice, VoiceError

_PROGRAM = "espeak-ng"
_WORDS_PER_MINUTE = 175
# What the program takes.
_SLOWEST, _FASTEST = 80, 450
_HEADER_BYTES = 44
_RATE_AT = 24
_PIECE_BYTES = 16_384
# It takes a few milliseconds for a sentence, and is not to leave a process without an answer.
_SECONDS = 10.0
# Control characters give it commands, as two brackets do.
_COMMANDS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]|(?<=\[)(?=\[)")


class Espeak:
    """Speaks by espeak-ng."""

    def prepare(self, voice: Voice) -> None:
        """See `Engine`."""
        check_voice(voice.voice)

    def speak(self, text: str, voice: Voice, stopped: Callable[[], bool]) -> Iterator[Samples]:
        """See `Engine`."""
        del stopped
        words = round(_WORDS_PER_MINUTE * voice.speed)
        speed = str(min(max(words, _SLOWEST), _FASTEST))
        command = _command(voice.voice, "--stdout", "-s", speed, "-p", str(voice.pitch))
        with subprocess.Popen(  # noqa: S603  (its arguments are ours, or were looked at)
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as program:
            try:
                yield from _sound(program, text)
            finally:
                program.kill()


def check_voice(voice: str) -> None:
    """See whether there is a voice of that name, such as `de` or `en-us+f3`.

    Raises:
        VoiceError: there is none, or espeak-ng is not installed.
    """
    language, _, variant = voice.partition("+")
    try:
        plain = _run(_command(language, "--stdout"), "a")
    except subprocess.CalledProcessError as error:
        raise _unknown(voice) from error
    if not variant:
        return
    if variant not in _variants():
        raise _unknown(voice)
    # It takes a variant of `en`, and none of `en-gb`, which is another name for that.
    if _run(_command(voice, "--stdout"), "a") == plain:
        raise VoiceError(f"espeak-ng speaks {voice!r} no other than {language!r}: leave that out")


def pronounced(text: str, voice: str) -> str:
    """A text's phonemes in IPA, words with spaces between them.

    Raises:
        VoiceError: espeak-ng does not tell them.
    """
    try:
        told = _run(_command(voice, "-q", "--ipa"), text).decode()
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise VoiceError(f"espeak-ng does not say how a sentence is pronounced: {error}") from error
    return " ".join(told.split())


def _sound(program: "subprocess.Popen[bytes]", text: str) -> Iterator[Samples]:
    written, read = program.stdin, program.stdout
    assert written is not None  # noqa: S101  (for the types)
    assert read is not None  # noqa: S101
    # A sentence fits into the pipe.
    with contextlib.suppress(BrokenPipeError):
        written.write(_plain(text))
        written.close()
    header = read.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES:
        raise VoiceError(f"espeak-ng gives no sound; it ended with {program.wait(_SECONDS)}")
    resampler = Resampler(struct.unpack_from("<I", header, _RATE_AT)[0])
    for piece in _pieces(read):
        yield from resampler.feed(piece)
    yield from resampler.flush()


def _pieces(read: IO[bytes]) -> Iterator[Samples]:
    while data := read.read(_PIECE_BYTES):
        yield np.frombuffer(data, "<i2", len(data) // 2).astype(np.int16)


def _plain(text: str) -> bytes:
    return _COMMANDS.sub(" ", text).encode()


def _command(voice: str, *options: str) -> list[str]:
    # The text is UTF-8; with an option's value in one argument, no voice is an option.
    return [_PROGRAM, "--stdin", "-b1", f"-v{voice}", *options]


@functools.cache
def _variants() -> frozenset[str]:
    lines = _run([_PROGRAM, "--voices=variant"]).decode().splitlines()
    return frozenset(
        match[1] for line in lines if (match := re.search(r"!v/(.+?)\s*(?:\(|$)", line))
    )


def _run(command: list[str], text: str = "") -> bytes:
    try:
        return subprocess.run(  # noqa: S603  (its arguments are ours, or were looked at)
            command,
            input=_plain(text),
            capture_output=True,
            check=True,
            timeout=_SECONDS,
        ).stdout
    except FileNotFoundError as error:
        raise VoiceError("espeak-ng is not installed; run apt-get install espeak-ng") from error


def _unknown(voice: str) -> VoiceError:
    return VoiceError(
        f"espeak-ng has no voice {voice!r}; espeak-ng --voices and --voices=variant list them"
    )
