"""What espeak-ng says, as speech models hear it."""

import io
import subprocess
import wave

import numpy as np

RATE = 16_000
# Below it a sample of 16 bits is silence.
_SILENT = 100


def speak(words: str, voice: str = "en-us", speed: int = 175) -> np.ndarray:
    """Samples [N] of 16 kHz, float32 within ±1.

    Args:
        words: to be spoken.
        voice: of espeak-ng.
        speed: words a minute.

    Raises:
        OSError: there is no espeak-ng.
        CalledProcessError: it has no such voice.
    """
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "--stdout", words]
    spoken = subprocess.run(command, capture_output=True, check=True).stdout  # noqa: S603
    with wave.open(io.BytesIO(spoken)) as file:
        # The header of a stream does not know its length.
        rate, data = file.getframerate(), file.readframes(2**30)
    samples = np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float64)
    samples = samples[: np.flatnonzero(np.abs(samples) > _SILENT)[-1] + rate // 20]
    # Band-limited, by cutting the spectrum off.
    length = len(samples) * RATE // rate
    spectrum = np.fft.rfft(samples)[: length // 2 + 1]
    resampled = np.fft.irfft(spectrum, length) * length / len(samples)
    return (np.clip(np.round(resampled), -32768, 32767) / 32768).astype(np.float32)
