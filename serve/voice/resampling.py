"""An engine's samples at the rate of all that is spoken."""

from collections.abc import Iterator

import numpy as np

from serve.pyav import AudioFrame, AudioResampler
from serve.voice.types import SAMPLE_RATE, Samples


class Resampler:
    """One sound, piece by piece.

    Args:
        rate: samples a second that come in.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._resampler = AudioResampler("s16", "mono", SAMPLE_RATE)

    def feed(self, samples: Samples) -> Iterator[Samples]:
        """What of the sound can be told after its next piece."""
        frame = AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = self._rate
        yield from self._given(frame)

    def flush(self) -> Iterator[Samples]:
        """The rest of it."""
        yield from self._given(None)

    def _given(self, frame: AudioFrame | None) -> Iterator[Samples]:
        for each in self._resampler.resample(frame):
            yield np.asarray(each.to_ndarray()[0], np.int16)
