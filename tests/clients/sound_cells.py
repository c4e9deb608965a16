"""What the programs for Python have in common where sound and citations are sent and told.

What is heard has no sense, as what the model of the server that sees answers, but follows from the
sound. That server also searches, in a page about the Brocken.
"""

import io
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from media_cells import MEDIA, Ask, as_base64, plain

SOUNDS = (MEDIA.parents[1] / "fixtures" / "speech" / "clips" / "en-1.wav", MEDIA / "window.mp3")

SPOKEN = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}
_RATE = 24_000

HEIGHT = "How high is the Brocken?"
SEARCHED = {"web_search_options": {"search_context_size": "low"}}
# What it answers has no sense either, unless it has no choice.
CITING = {"guided_regex": r"1,141 m \[1\]"}
CITED = {"start_index": 8, "end_index": 11, "title": "Brocken"}
CITED |= {"url": "https://harz.example/brocken.md"}


def sound_part(path: Path) -> dict[str, Any]:
    """A sound as the API takes it."""
    sound = {"data": as_base64(path), "format": path.suffix[1:]}
    return {"type": "input_audio", "input_audio": sound}


def check_sounds(ask: Ask, fields: Mapping[str, Any] = {}) -> None:
    """Sounds are heard as plain HTTP sends them, and each is answered otherwise.

    Args:
        ask: the client asks `ABOUT` one.
        fields: those of its own that a request has, once it has asked.
    """
    told = [ask(path) for path in SOUNDS]
    assert told == [plain(fields, sound_part(path)) for path in SOUNDS]
    assert told[0].text != told[1].text
    assert min(each.prompt_tokens for each in told) > plain(fields).prompt_tokens


def check_wav(data: bytes) -> None:
    """It is sound, and somebody speaks."""
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getframerate(), file.getnchannels()) == (_RATE, 1)
        samples = file.readframes(file.getnframes())
    assert len(samples) > _RATE // 2
    assert any(samples)
