"""Long sound → windows that a speech model takes, cut where it is quiet."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float32

from model.speech.config import SAMPLE_RATE

# A cut goes through the quietest tenth of a second of a window's last sixth.
_PLACE = 6
_BLOCK, _BLOCKS = SAMPLE_RATE // 100, 10
# A window whose loudest tenth of a second is below -60 dB of full scale has nothing to hear.
_SILENCE = 1e-3


def windows(
    samples: Float32[np.ndarray, " N"], size: int
) -> Iterator[Float32[np.ndarray, " window"]]:
    """The windows of a sound in their order, of `size` samples at most, without silent ones."""
    while len(samples):
        end = len(samples) if len(samples) <= size else _quietest(samples[:size])
        window, samples = samples[:end], samples[end:]
        if np.sqrt(_power(window).max()) >= _SILENCE:
            yield window


def _quietest(window: Float32[np.ndarray, " N"]) -> int:
    begin = len(window) - len(window) // _PLACE
    return begin + int(np.argmin(_power(window[begin:]))) * _BLOCK + _BLOCK * _BLOCKS // 2


def _power(samples: Float32[np.ndarray, " N"]) -> Float[np.ndarray, " places"]:
    """The mean power of each tenth of a second, one beginning every hundredth."""
    padded = np.pad(samples, (0, -len(samples) % _BLOCK)).astype(np.float64)
    blocks = np.square(padded).reshape(-1, _BLOCK).mean(axis=1)
    width = min(_BLOCKS, len(blocks))
    return np.convolve(blocks, np.full(width, 1 / width), "valid")
