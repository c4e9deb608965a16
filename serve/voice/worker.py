"""The process that speaks, so that only it can crash, hang or grow.

`process.py` starts one with `main`. Takes the voices that there are and the threads that it may
have, then sentences one at a time, each answered with its sound in pieces. What comes meanwhile
stops the sentence.
"""

import gc
import json
import subprocess
import sys
from collections.abc import Iterable
from contextlib import closing
from typing import Any

from serve.helper import settle_in
from serve.voice import transfer
from serve.voice.transfer import Job, Link
from serve.voice.types import Engine, EngineName, Voice, VoiceError


def main() -> None:
    """Serve until the other end is closed."""
    link = settle_in()
    told = json.loads(link.recv_bytes())
    voices = [Voice(**each) for each in told["voices"]]
    try:
        engines = {name: _engine(name, told["threads"]) for name in _engines(voices)}
        for voice in voices:
            engines[voice.engine].prepare(voice)
    except (ImportError, VoiceError) as error:
        sys.exit(str(error))
    gc.freeze()
    link.send("")
    while True:
        try:
            if job := transfer.receive_job(link):
                transfer.send_end(link, _spoken(link, engines[job.voice.engine], job))
        except (EOFError, ConnectionError):
            return


def _engines(voices: Iterable[Voice]) -> set[EngineName]:
    return {voice.engine for voice in voices}


def _engine(name: EngineName, threads: int) -> Engine:
    # Each where it is wanted: the packages of the other one may be missing.
    if name == "piper":
        from serve.voice.piper import Piper

        return Piper(threads)
    from serve.voice.espeak import Espeak

    return Espeak()


def _spoken(link: Link, engine: Engine, job: Job) -> str:
    """Sends the sound; returns what is wrong, or ""."""
    sound: Any = engine.speak(job.text, job.voice, link.poll)
    try:
        with closing(sound) as pieces:
            for piece in pieces:
                if link.poll():
                    break
                if len(piece):
                    transfer.send_sound(link, piece)
    except VoiceError as error:
        return str(error)
    except ConnectionError:
        raise
    except (OSError, subprocess.SubprocessError) as error:
        return f"a sentence could not be spoken: {error}"
    return ""
