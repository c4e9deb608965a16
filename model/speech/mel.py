"""Sound → log-mel frames, as Whisper was trained on them (Radford et al. 2022, section 2.2).

On the host in float64: a window of 30 seconds takes some milliseconds.
"""

from functools import cache

import numpy as np
from jaxtyping import Float, Float32

from model.speech.config import HOP, SAMPLE_RATE

# Samples of a frame.
_FRAME = 400
# Slaney's scale (Auditory Toolbox, 1998): linear up to 1 kHz, then 27 steps for a factor of 6.4.
_LINEAR_HERTZ, _BREAK_HERTZ, _STEPS, _FACTOR = 200 / 3, 1000.0, 27, 6.4


def log_mel(
    samples: Float32[np.ndarray, " N"], window: int, mels: int
) -> Float32[np.ndarray, "frames mels"]:
    """The frames of a window.

    Args:
        samples: of 16 kHz, within ±1; silence is put after them.
        window: samples of the window, at least as many.
        mels: values of a frame.

    Returns:
        (max(log10 power, its highest − 8) + 4) / 4.

    Raises:
        ValueError: there are more samples than the window has.
    """
    if len(samples) > window:
        raise ValueError(f"{len(samples)} samples do not fit a window of {window}")
    whole = np.zeros(window)
    whole[: len(samples)] = samples
    around = np.pad(whole, _FRAME // 2, "reflect")
    # The reference drops the last frame.
    frames = np.lib.stride_tricks.sliding_window_view(around, _FRAME)[:window:HOP]
    hann = np.hanning(_FRAME + 1)[:-1]
    power = np.abs(np.fft.rfft(frames * hann)) ** 2
    logs = np.log10(np.maximum(power @ mel_filters(mels), 1e-10))
    return ((np.maximum(logs, logs.max() - 8) + 4) / 4).astype(np.float32)


@cache
def mel_filters(mels: int) -> Float[np.ndarray, "bins mels"]:
    """Triangles evenly spaced on Slaney's scale from 0 to 8 kHz, each of an area of 2."""
    highest = SAMPLE_RATE / 2
    bins = np.linspace(0, highest, _FRAME // 2 + 1)
    corners = _hertz(np.linspace(0, _mel(highest), mels + 2))
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    rising = (bins[:, None] - low) / (middle - low)
    falling = (high - bins[:, None]) / (high - middle)
    return np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)


def _mel(hertz: float) -> float:
    """Above the break."""
    linear = _BREAK_HERTZ / _LINEAR_HERTZ
    return linear + _STEPS * np.log(hertz / _BREAK_HERTZ) / np.log(_FACTOR)


def _hertz(mel: Float[np.ndarray, " mels"]) -> Float[np.ndarray, " mels"]:
    above = mel - _BREAK_HERTZ / _LINEAR_HERTZ
    return np.where(
        above < 0, _LINEAR_HERTZ * mel, _BREAK_HERTZ * _FACTOR ** (np.maximum(above, 0) / _STEPS)
    )
