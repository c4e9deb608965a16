"""Tiny speech models and spoken clips that `tools/make_speech_fixtures.py` wrote."""

import wave
from functools import cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from model.speech.loading import load_speech
from model.speech.recognizer import LoadedSpeech

FIXTURES = Path(__file__).parents[1] / "fixtures" / "speech"
CLIPS = sorted(path.stem for path in (FIXTURES / "clips").glob("*.wav"))


@cache
def clip(name: str) -> np.ndarray:
    """Samples [N] of 16 kHz, float32 within ±1."""
    return read_wav(FIXTURES / "clips" / f"{name}.wav")


def read_wav(path: Path) -> np.ndarray:
    """Samples of a mono file of 16 bits."""
    with wave.open(str(path)) as file:
        data = file.readframes(file.getnframes())
    return np.frombuffer(data, "<i2").astype(np.float32) / 32768


@cache
def speech_model(fixture: str) -> LoadedSpeech:
    """A fixture in float32."""
    return load_speech(FIXTURES / fixture, "float32")


@cache
def expected(fixture: str) -> dict[str, np.ndarray]:
    """What the reference made of clips with a fixture."""
    return load_file(FIXTURES / fixture / "expected.safetensors")


def read_out(fixture: str, clip: str, key: str = "tokens") -> str:
    """The text of what the reference wrote."""
    model = speech_model(fixture)
    tokens, whole = model.tokens, expected(fixture)[f"{clip}.{key}"].tolist()
    text = [token for token in whole if token < tokens.end]
    pieces = [model.tokenizer.token_bytes(token) or b"" for token in text]
    return b"".join(pieces).decode(errors="replace").strip()
